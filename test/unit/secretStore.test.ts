import type { IncomingMessage } from 'node:http';
import type { V1Secret } from '@kubernetes/client-node';
import { stringify } from 'yaml';
import { clusterEntrySchema } from '../../src/contract/inventory.js';
import { SecretStore } from '../../src/store/secretStore.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

const NAMESPACE = 'engine';
const AT = `/api/v1/namespaces/${NAMESPACE}/secrets`;

let api: FakeKubernetesApi;
/** What the API server has, by name. */
let secrets: Map<string, V1Secret>;
let store: SecretStore;
const before = process.env['KUBECONFIG'];

beforeEach(async () => {
  api = await FakeKubernetesApi.start();
  secrets = new Map();
  api.server.on('request', (request, response) => {
    void bodyOf(request).then((body) => {
      const { status, answer } = answered(request.method ?? '', new URL(request.url ?? '', api.url), body);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    });
  });
  process.env['KUBECONFIG'] = api.file(
    'kubeconfig',
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'x',
      clusters: [{ name: 'x', cluster: { server: api.url, 'insecure-skip-tls-verify': true } }],
      contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
      users: [{ name: 'x', user: { token: 'token' } }],
    }),
  );
  store = SecretStore.open(NAMESPACE);
});
afterEach(async () => {
  if (before === undefined) delete process.env['KUBECONFIG'];
  else process.env['KUBECONFIG'] = before;
  await api.stop();
});

async function bodyOf(request: IncomingMessage): Promise<V1Secret> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return (text === '' ? {} : JSON.parse(text)) as V1Secret;
}

/** As an API server keeps Secrets: created once, replaced at the version that was seen. */
function answered(method: string, { pathname, searchParams }: URL, body: V1Secret): { status: number; answer: object } {
  const refused = (status: number) => ({ status, answer: { kind: 'Status', code: status } });
  const name = pathname.slice(AT.length + 1) || (body.metadata?.name ?? '');
  const known = secrets.get(name);
  if (method === 'GET' && pathname === AT) {
    const [label = '', value] = (searchParams.get('labelSelector') ?? '').split('=');
    return { status: 200, answer: { items: [...secrets.values()].filter((each) => labelOf(each, label) === value) } };
  }
  if (method === 'POST') return known === undefined ? { status: 201, answer: put(name, body) } : refused(409);
  if (known === undefined) return refused(404);
  if (method === 'GET') return { status: 200, answer: known };
  if (method === 'DELETE') {
    secrets.delete(name);
    return { status: 200, answer: { kind: 'Status' } };
  }
  const seen = body.metadata?.resourceVersion;
  if (seen !== undefined && seen !== known.metadata?.resourceVersion) return refused(409);
  return { status: 200, answer: put(name, body) };
}

function put(name: string, { stringData = {}, data = {}, ...secret }: V1Secret): V1Secret {
  const encoded = Object.entries(stringData).map(([key, text]) => [key, Buffer.from(text).toString('base64')]);
  const resourceVersion = String(Number(secrets.get(name)?.metadata?.resourceVersion ?? 0) + 1);
  const kept = {
    ...secret,
    metadata: { ...secret.metadata, resourceVersion },
    data: { ...data, ...(Object.fromEntries(encoded) as Record<string, string>) },
  };
  secrets.set(name, kept);
  return kept;
}

const labelOf = ({ metadata }: V1Secret, label: string) => metadata?.labels?.[label];

const kubeconfig = (token: string) =>
  stringify({
    'current-context': 'x',
    clusters: [{ name: 'x', cluster: { server: 'https://10.0.0.1:6443' } }],
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    users: [{ name: 'x', user: { token } }],
  });
const propose = (name: string, token: string) =>
  store.propose({ entry: clusterEntrySchema.parse({ name }), kubeconfig: kubeconfig(token), by: 'token/me' });

test('a candidate is in the way of no cluster, whatever that is called', async () => {
  await propose('edge-candidate', 'of edge-candidate');
  await store.promote('edge-candidate');
  await propose('edge', 'of edge');
  expect(await store.kubeconfig('edge-candidate', false)).toContain('of edge-candidate');
  expect(await store.kubeconfig('edge', true)).toContain('of edge');
  await store.remove('edge', true);
  expect((await store.list()).map(({ entry }) => entry.name)).toEqual(['edge-candidate']);
});

test('a candidate is replaced by another one of its cluster', async () => {
  await propose('edge', 'the first');
  await propose('edge', 'the second');
  expect(await store.kubeconfig('edge', true)).toContain('the second');
});

test.each<[string, V1Secret]>([
  ['somebody else made', { metadata: { labels: {} } }],
  [
    'is of another cluster',
    {
      metadata: {
        labels: { 'app.kubernetes.io/managed-by': 'spire-federator', 'spire-federator.io/candidate': 'true' },
        annotations: {
          'spire-federator.io/cluster': JSON.stringify({
            entry: clusterEntrySchema.parse({ name: 'another' }),
            onboardedAt: '2026-01-01T00:00:00Z',
            onboardedBy: 'token/me',
          }),
        },
      },
    },
  ],
])('a Secret that %s is left alone', async (_what, secret) => {
  const name = 'spire-federator-cluster-edge.candidate';
  const data = { kept: 'a2VwdA==' };
  put(name, { ...secret, metadata: { ...secret.metadata, name }, data });
  await expect(propose('edge', 'new')).rejects.toMatchObject({
    type: 'ForeignObject',
    message: expect.stringContaining(`Secret ${NAMESPACE}/${name} is there already`) as string,
  });
  expect(secrets.get(name)?.data).toEqual(data);
});
