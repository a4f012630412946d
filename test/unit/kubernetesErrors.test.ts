import type { ServerResponse } from 'node:http';
import { clusterSchema } from '../../src/contract/inventory.js';
import { connectCluster, type ClusterConnection } from '../../src/kubernetes/connect.js';
import { kubernetesRequestSeconds } from '../../src/kubernetes/latency.js';
import { readLog } from '../../src/kubernetes/log.js';
import { applyObject, deleteObject, kindExists, listObjects, readObject } from '../../src/kubernetes/objects.js';
import { waitFor } from '../../src/kubernetes/wait.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

let api: FakeKubernetesApi;
let answer: { status: number; body: string };
let connection: ClusterConnection;

const OBJECT = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'federation', namespace: 'spire' } };

function status(code: number, message: string): { status: number; body: string } {
  return { status: code, body: JSON.stringify({ kind: 'Status', status: 'Failure', message, code }) };
}

beforeAll(async () => {
  api = await FakeKubernetesApi.start();
  api.server.on('request', (_request, response: ServerResponse) => {
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
  });
  connection = await api.connect();
});
afterAll(async () => api.stop());

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

test.each([
  status(400, 'container "spire-server" in pod "spire-server-0" is waiting to start: ContainerCreating'),
  status(404, 'no logs found for container "spire-server"'),
])('a container that has no log just now may have one soon: HTTP $status', async (given) => {
  answer = given;
  const target = { namespace: 'spire', pod: 'spire-server-0', container: 'spire-server' };
  await expect(readLog(connection, target)).rejects.toMatchObject({
    type: 'NotReady',
    retryable: true,
    message: expect.stringMatching(/^fake: cannot read the log of pod spire-server-0: .*container/) as string,
  });
  answer = status(400, 'container spire-server is not valid for pod spire-server-0');
  await expect(readLog(connection, target)).rejects.toMatchObject({ type: 'InvalidObject' });
  answer = status(403, 'pods/log is forbidden');
  await expect(readLog(connection, target)).rejects.toMatchObject({ type: 'Forbidden' });
});

test('what is not there is undefined, not an error; so is a kind that the cluster does not know', async () => {
  answer = status(404, 'not found');
  expect(await readObject(connection, OBJECT)).toBeUndefined();
  expect(await listObjects(connection, { apiVersion: 'v1', kind: 'Service' })).toEqual([]);
  expect(await deleteObject(connection, OBJECT)).toBe(false);
  expect(await kindExists(connection, 'route.openshift.io/v1', 'Route')).toBe(false);
});

test('every request is counted, by cluster, method and outcome', async () => {
  kubernetesRequestSeconds.reset();
  answer = { status: 200, body: '{}' };
  await readObject(connection, OBJECT);
  await readObject(connection, OBJECT);
  answer = status(404, 'not found');
  await readObject(connection, OBJECT);
  answer = status(409, 'modified');
  await applyObject(connection, OBJECT).catch((error: unknown) => error);
  const { values } = await kubernetesRequestSeconds.get();
  const counts = values.filter(({ metricName }) => metricName?.endsWith('_count'));
  expect(counts.map(({ labels, value }) => ({ ...labels, value }))).toEqual([
    { cluster: 'fake', method: 'GET', outcome: 'ok', value: 2 },
    { cluster: 'fake', method: 'GET', outcome: 'NotFound', value: 1 },
    { cluster: 'fake', method: 'PATCH', outcome: 'Conflict', value: 1 },
  ]);
});

test('an answer that is no JSON is a failure of the connection, not of the program', async () => {
  answer = { status: 200, body: '<html>a login page</html>' };
  await expect(readObject(connection, OBJECT)).rejects.toMatchObject({
    type: 'KubernetesUnavailable',
    message: expect.stringContaining('a login page') as string,
  });
});

test('an API server that is not there is unreachable, worth a retry, and named with where it was looked for', async () => {
  const nowhere = await api.connect({ name: 'nowhere', server: 'https://127.0.0.1:1' });
  await expect(readObject(nowhere, OBJECT)).rejects.toMatchObject({
    type: 'ClusterUnreachable',
    retryable: true,
    message: expect.stringMatching(
      /^nowhere: cannot read Service federation: the API server cannot be reached \(ECONNREFUSED\)\. Check that it is up, and that the worker can reach https:\/\/127\.0\.0\.1:1, its address in .*\/nowhere\.$/,
    ) as string,
  });
});

test('a file that is no kubeconfig is named', async () => {
  const file = api.file('garbage', 'clusters: [');
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
