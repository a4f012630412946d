import { json } from 'node:stream/consumers';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { Clusters } from '../../src/activities/clusters.js';
import { configMapControl, readTemplate } from '../../src/activities/server.js';
import { ADOPTED_HASH, FEDERATION_HASH } from '../../src/contract/names.js';
import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import type { WantedFederation } from '../../src/contract/serverConf.js';
import type { ClusterConnection } from '../../src/kubernetes/connect.js';
import type { StatefulSet } from '../../src/kubernetes/rollout.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

const PORT = 8443;
const REQUEST = { cluster: 'fake', federation: 'demo', control: 'configMap' } as const;
const wanted = (refreshHintSeconds: number): WantedFederation => ({
  bundleEndpoint: { address: '0.0.0.0', port: PORT, refreshHintSeconds },
  federatesWith: {},
});

type Fields = Record<string, unknown>;

let api: FakeKubernetesApi;
let connection: ClusterConnection;
let live: Record<string, KubernetesObject>;
let patches: number;

beforeEach(async () => {
  patches = 0;
  api = await FakeKubernetesApi.start();
  connection = await api.connect();
  const { namespace, server: name } = connection.cluster;
  live = {
    configmaps: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name, namespace },
      data: { 'server.conf': JSON.stringify({ server: { trust_domain: 'fake.test' } }) },
    },
    statefulsets: {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name, namespace, annotations: { theirs: 'x' }, generation: 1 },
      spec: {
        template: {
          metadata: { annotations: { theirs: 'y' } },
          spec: { containers: [{ name, ports: [{ containerPort: PORT, name: 'federation' }] }] },
        },
      },
      status: { observedGeneration: 1, updateRevision: 'newest' },
    },
    pods: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `${name}-0`, namespace, labels: { 'controller-revision-hash': 'newest' } },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    },
  };
  api.server.on('request', (request, response) => {
    void (async () => {
      const kind = request.url?.split('/').at(-2) ?? '';
      if (request.method === 'PATCH') {
        patches++;
        live[kind] = merged(live[kind], await json(request)) as KubernetesObject;
      }
      response.writeHead(200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(live[kind]));
    })();
  });
});
afterEach(async () => api.stop());

/** A merge patch, as far as it touches no list. */
function merged(value: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const fields = { ...(value as Fields | undefined) };
  for (const [key, each] of Object.entries(patch)) {
    if (each === null) delete fields[key];
    else fields[key] = merged(fields[key], each);
  }
  return fields;
}

test('undoing a change on an adopted cluster leaves its StatefulSet exactly as adopted', async () => {
  const control = configMapControl({ get: async () => Promise.resolve({ connection }) } as unknown as Clusters);
  const activity = new MockActivityEnvironment();
  const set = () => live['statefulsets'] as StatefulSet;
  await control.adoptServer({ ...REQUEST, objects: [], trustDomains: [], wanted: wanted(300) });
  const adopted = structuredClone(set());
  expect(adopted.metadata.annotations).toHaveProperty([ADOPTED_HASH]);

  const rollout = { ...REQUEST, wanted: wanted(60), timeoutMs: 60_000 };
  expect(await activity.run(control.rolloutServer, rollout)).toEqual({ changed: true });
  expect(set().spec.template.metadata?.annotations).toHaveProperty([FEDERATION_HASH]);
  expect(set().metadata.annotations).not.toHaveProperty([ADOPTED_HASH]);

  const template = readTemplate(connection, adopted, PORT);
  const undo = { ...REQUEST, changeId: 'change', port: PORT, template, timeoutMs: 60_000 };
  expect(await activity.run(control.restoreServer, undo)).toEqual({ changed: true });
  expect(set()).toEqual(adopted);
  const before = patches;
  expect(await activity.run(control.restoreServer, undo)).toEqual({ changed: false });
  expect(patches).toBe(before);
});
