import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { clusterSchema } from '../../src/contract/inventory.js';
import { connectCluster, type ClusterConnection } from '../../src/kubernetes/connect.js';
import { applyObject, deleteObject, kindExists, listObjects, readObject } from '../../src/kubernetes/objects.js';
import { waitFor } from '../../src/kubernetes/wait.js';

/** A Kubernetes API for the faults that a real one does not make on demand. */
let answer: { status: number; body: string };
let server: http.Server;
let folder: string;
let connection: ClusterConnection;

const OBJECT = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'federation', namespace: 'spire' } };

function status(code: number, message: string): { status: number; body: string } {
  return { status: code, body: JSON.stringify({ kind: 'Status', status: 'Failure', message, code }) };
}

beforeAll(async () => {
  server = http.createServer((_request, response) => {
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  folder = mkdtempSync(path.join(os.tmpdir(), 'federator-unit-'));
  const file = path.join(folder, 'kubeconfig');
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'fake', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'admin', user: { token: 'token' } }],
    contexts: [{ name: 'fake', context: { cluster: 'fake', user: 'admin' } }],
    'current-context': 'fake',
  };
  writeFileSync(file, JSON.stringify(kubeconfig));
  connection = await connectCluster(clusterSchema.parse({ name: 'fake', kubeconfig: { path: file } }));
});

afterAll(async () => {
  connection.close();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

test.each([
  { given: status(401, 'Unauthorized'), type: 'Unauthorized', retryable: false, says: /Renew the kubeconfig/ },
  { given: status(403, 'services is forbidden'), type: 'Forbidden', retryable: false, says: /deploy\/rbac\.yaml/ },
  { given: status(409, 'modified'), type: 'Conflict', retryable: false, says: /modified/ },
  { given: status(422, 'field is immutable'), type: 'InvalidObject', retryable: false, says: /immutable/ },
  {
    given: status(429, 'too many requests'),
    type: 'KubernetesUnavailable',
    retryable: true,
    says: /too many requests/,
  },
  { given: status(500, 'etcd is away'), type: 'KubernetesUnavailable', retryable: true, says: /etcd is away/ },
  {
    given: { status: 503, body: 'upstream connect error' },
    type: 'KubernetesUnavailable',
    retryable: true,
    says: /upstream connect error/,
  },
  { given: { status: 502, body: '' }, type: 'KubernetesUnavailable', retryable: true, says: /HTTP 502/ },
])('HTTP $given.status is $type, and names cluster, attempt and cause', async ({ given, type, retryable, says }) => {
  answer = given;
  const error: unknown = await applyObject(connection, OBJECT).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ type, retryable });
  expect((error as Error).message).toMatch(/^fake: cannot apply Service federation: /);
  expect((error as Error).message).toMatch(says);
});

test('what is not there is undefined, not an error; so is a kind that the cluster does not know', async () => {
  answer = status(404, 'not found');
  expect(await readObject(connection, OBJECT)).toBeUndefined();
  expect(await listObjects(connection, { apiVersion: 'v1', kind: 'Service' })).toEqual([]);
  expect(await deleteObject(connection, OBJECT)).toBe(false);
  expect(await kindExists(connection, 'route.openshift.io/v1', 'Route')).toBe(false);
});

test('an answer that is no JSON is a failure of the connection, not of the program', async () => {
  answer = { status: 200, body: '<html>a login page</html>' };
  await expect(readObject(connection, OBJECT)).rejects.toMatchObject({
    type: 'KubernetesUnavailable',
    message: expect.stringContaining('a login page') as string,
  });
});

test('an API server that is not there is unreachable, and worth a retry', async () => {
  const file = path.join(folder, 'nowhere');
  writeFileSync(
    file,
    JSON.stringify({
      clusters: [{ name: 'x', cluster: { server: 'https://127.0.0.1:1' } }],
      users: [{ name: 'x', user: { token: 't' } }],
      contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
      'current-context': 'x',
    }),
  );
  const nowhere = await connectCluster(clusterSchema.parse({ name: 'nowhere', kubeconfig: { path: file } }));
  await expect(readObject(nowhere, OBJECT)).rejects.toMatchObject({ type: 'ClusterUnreachable', retryable: true });
  nowhere.close();
});

test('a file that is no kubeconfig is named', async () => {
  const file = path.join(folder, 'garbage');
  writeFileSync(file, 'clusters: [');
  const opened = connectCluster(clusterSchema.parse({ name: 'garbage', kubeconfig: { path: file } }));
  await expect(opened).rejects.toMatchObject({ type: 'InvalidKubeconfig' });
});

test('waiting goes on over what a retry may mend, and ends with what was seen last', async () => {
  answer = status(503, 'starting');
  let looks = 0;
  const value = waitFor(
    async () => {
      looks++;
      if (looks === 3) return { done: true as const, value: 'there' };
      await applyObject(connection, OBJECT);
      return { done: false as const, seen: 'applied' };
    },
    { what: 'it is there', timeoutMs: 10_000, intervalMs: 1 },
  );
  await expect(value).resolves.toBe('there');
  const never = waitFor(() => Promise.resolve({ done: false as const, seen: 'nothing yet' }), {
    what: 'it is there',
    timeoutMs: 20,
    intervalMs: 1,
  });
  await expect(never).rejects.toMatchObject({
    type: 'TimedOut',
    message: expect.stringContaining('nothing yet') as string,
  });
  answer = status(403, 'no');
  const forbidden = waitFor(() => applyObject(connection, OBJECT).then(() => ({ done: true as const, value: 1 })), {
    what: 'it is applied',
    timeoutMs: 10_000,
  });
  await expect(forbidden).rejects.toMatchObject({ type: 'Forbidden' });
});
