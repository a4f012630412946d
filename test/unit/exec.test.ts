import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { WebSocketServer, type WebSocket } from 'ws';
import type { ClusterConnection } from '../../src/kubernetes/connect.js';
import { execInPod } from '../../src/kubernetes/exec.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

const TARGET = { namespace: 'spire', pod: 'spire-server-0', container: 'spire-server' };
const NAMED = 'fake: cannot run ./spire-server bundle show in pod spire-server-0: ';

let api: FakeKubernetesApi;
let connection: ClusterConnection;
let upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

beforeAll(async () => {
  api = await FakeKubernetesApi.start();
  api.server.on('upgrade', (...parameters: Parameters<typeof upgrade>) => upgrade(...parameters));
  connection = await api.connect();
});
afterAll(async () => api.stop());

const run = (options: { timeoutMs?: number; signal?: AbortSignal } = {}) =>
  execInPod(connection, TARGET, ['./spire-server', 'bundle', 'show', '-format', 'spiffe'], options);

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

async function allClosed(): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (api.open > 0 && Date.now() < deadline) await delay(5);
  expect(api.open).toBe(0);
}

/** Opens the web socket as an API server does. */
function accept(serve: (socket: WebSocket) => void): typeof upgrade {
  const server = new WebSocketServer({ noServer: true, handleProtocols: () => 'v4.channel.k8s.io' });
  return (request, socket, head) => server.handleUpgrade(request, socket, head, serve);
}

const channel = (number: number, text: string) => Buffer.concat([Buffer.from([number]), Buffer.from(text)]);

test('a command that ends gives its output and its exit code, whole, in whatever pieces they come', async () => {
  let asked = '';
  upgrade = (request, socket, head) => {
    asked = request.url ?? '';
    accept((open) => {
      for (const piece of ['{"ke', 'ys":', '[]}']) open.send(channel(1, piece));
      open.send(channel(2, 'a warning'));
      const details = { causes: [{ reason: 'ExitCode', message: '3' }] };
      open.send(channel(3, JSON.stringify({ status: 'Failure', reason: 'NonZeroExitCode', details })));
    })(request, socket, head);
  };
  await expect(run()).resolves.toEqual({ stdout: '{"keys":[]}', stderr: 'a warning', exitCode: 3 });
  expect(asked).toBe(
    '/api/v1/namespaces/spire/pods/spire-server-0/exec?stdout=true&stderr=true&stdin=false&tty=false' +
      '&command=.%2Fspire-server&command=bundle&command=show&command=-format&command=spiffe&container=spire-server',
  );
  await allClosed();
});

describe('a load balancer that accepts the connection and never opens the web socket', () => {
  beforeEach(() => (upgrade = (_request, socket) => socket.resume()));

  test('is given up in time, and leaves no connection', async () => {
    const error = await failure(run({ timeoutMs: 200 }));
    expect(error).toMatchObject({ type: 'ExecFailed', retryable: true, message: `${NAMED}no end within 0.2 s.` });
    await allClosed();
  });

  test('is left as soon as the activity is cancelled, also where it opens the web socket after all', async () => {
    const cancelled = new AbortController();
    let openLate!: () => void;
    upgrade = (request, socket, head) => {
      socket.resume();
      openLate = () => accept(() => undefined)(request, socket, head);
      cancelled.abort(new Error('the change was cancelled'));
    };
    await expect(run({ signal: cancelled.signal })).rejects.toThrow('the change was cancelled');
    openLate();
    await allClosed();
    await expect(run({ signal: cancelled.signal })).rejects.toThrow('the change was cancelled');
  });
});

test('a credential plugin that takes its time is part of the time that a command has', async () => {
  const slow = api.file('slow-plugin', '#!/bin/sh\nsleep 2\necho {}\n', 0o700);
  const plugin = { apiVersion: 'client.authentication.k8s.io/v1', command: slow };
  const slowly = await api.connect({ name: 'slow', user: { exec: plugin } });
  let asked = 0;
  upgrade = () => asked++;
  const error = await failure(execInPod(slowly, TARGET, ['true'], { timeoutMs: 100 }));
  expect(error).toMatchObject({ type: 'ExecFailed' });
  expect(asked).toBe(0);
});

test.each([
  { says: 'the connection closed before the command ended', serve: (open: WebSocket) => open.close() },
  { says: 'the connection closed before the command ended', serve: (open: WebSocket) => open.terminate() },
  { says: 'the answer cannot be read', serve: (open: WebSocket) => open.send(channel(3, 'no JSON')) },
])('a connection that ends or garbles: $says', async ({ says, serve }) => {
  upgrade = accept(serve);
  const error = await failure(run());
  expect(error).toMatchObject({ type: 'ExecFailed', retryable: true });
  expect((error as Error).message).toContain(`${NAMED}${says}`);
  await allClosed();
});

test.each([
  { status: 401, body: 'Unauthorized', type: 'Unauthorized', says: /Renew the kubeconfig/ },
  { status: 403, body: 'pods "spire-server-0" is forbidden', type: 'Forbidden', says: /is forbidden.*deploy\/rbac/ },
  // In the middle of a restart it comes back; a wait goes on over it.
  { status: 404, body: 'pods "spire-server-0" not found', type: 'ExecFailed', says: /"spire-server-0" not found/ },
  { status: 500, body: 'container not found ("spire-server")', type: 'ExecFailed', says: /container not found/ },
  { status: 502, body: '', type: 'ExecFailed', says: /HTTP 502/ },
])(
  'HTTP $status instead of a web socket is $type, in the words of the API server',
  async ({ status, body, type, says }) => {
    upgrade = (_request, socket) => {
      socket.resume();
      const text = body === '' ? '' : JSON.stringify({ kind: 'Status', status: 'Failure', message: body });
      socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`);
    };
    const error = await failure(run());
    expect(error).toMatchObject({ type });
    expect((error as Error).message).toMatch(says);
    expect((error as Error).message.startsWith(NAMED)).toBe(true);
    await allClosed();
  },
);
