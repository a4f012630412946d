import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { closeWithin } from '../../src/api/server.js';
import type { FederatorClient } from '../../src/client.js';
import { ApiServer } from '../support/apiServer.js';

let server: ApiServer;
/** Lets the request to cancel be answered. */
let answer: () => void;
/** It was asked. */
let asked: Promise<unknown>;
let url: string;

const running = {
  federation: 'f',
  workflowId: 'federation/f/change',
  runId: '00000000-0000-4000-8000-000000000000',
  link: '',
  type: 'probe',
  status: 'RUNNING',
  startedAt: '',
};

beforeEach(async () => {
  const events = new EventTarget();
  asked = once(events, 'asked');
  const client: Partial<FederatorClient> = {
    describeChange: async () => running,
    progress: async () => ({ steps: [] }) as never,
    cancel: () => {
      events.dispatchEvent(new Event('asked'));
      return new Promise((resolve) => (answer = resolve));
    },
  };
  server = await ApiServer.start({ client });
  await server.app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(server.app.server.address() as AddressInfo).port}`;
});
afterEach(async () => server.stop());

const authorization = () => `Bearer ${server.tokens.get('admin')}`;
const at = () => `${url}/v1/federations/f/changes/${running.runId}`;
const cancel = () => fetch(`${at()}/cancel`, { method: 'POST', headers: { authorization: authorization() } });
const follow = () => fetch(`${at()}/events`, { headers: { authorization: authorization() } });

test('what runs when the API ends is answered, and its connection let go', async () => {
  const answered = cancel();
  await asked;
  const closed = closeWithin(server.app, 60_000);
  answer();
  const { status, headers } = await answered;
  expect([status, headers.get('connection')]).toEqual([202, 'close']);
  await closed;
});

test('what takes too long is cut off', async () => {
  const answered = cancel();
  const cut = expect(answered).rejects.toThrow(/fetch failed/);
  await asked;
  await closeWithin(server.app, 10);
  await cut;
});

test('streams end with the API', async () => {
  const stream = await follow();
  const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
  expect((await reader?.read())?.value).toMatch(/^event: progress\n/);
  await closeWithin(server.app, 60_000);
  expect(await reader?.read()).toMatchObject({ done: true });
});

test('nobody follows more than so many at the same time', async () => {
  const streams = await Promise.all(Array.from({ length: 100 }, follow));
  expect(new Set(streams.map(({ status }) => status))).toEqual(new Set([200]));
  const refused = await follow();
  expect([refused.status, await refused.json()]).toMatchObject([429, { title: 'TooManyRequests' }]);
  await streams[0]?.body?.cancel();
  let again: Response;
  do again = await follow();
  while (again.status === 429);
  expect(again.status).toBe(200);
});
