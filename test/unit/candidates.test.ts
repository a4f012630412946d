import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import { Clusters } from '../../src/activities/clusters.js';
import { clusterEntrySchema } from '../../src/contract/inventory.js';
import { candidateName } from '../../src/contract/names.js';
import { KeyRing } from '../../src/encryption/keyRing.js';
import { kubernetesRequestSeconds } from '../../src/kubernetes/latency.js';
import { requestText } from '../../src/kubernetes/request.js';
import { FileStore } from '../../src/store/fileStore.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), 'candidates-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('whatever candidates are called, they are one cluster to the metrics', async () => {
  const kubeconfig = stringify({
    'current-context': 'x',
    clusters: [{ name: 'x', cluster: { server: 'https://127.0.0.1:1' } }],
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    users: [{ name: 'x', user: { token: 'token' } }],
  });
  const keys = KeyRing.parse(`k1:${Buffer.alloc(32, 7).toString('base64')}`, 'keys');
  const store = new FileStore(folder, keys);
  const clusters = new Clusters(undefined, store);
  const ask = async (name: string) => {
    const { connection } = await clusters.get(name);
    const asked = requestText(connection, { method: 'GET', path: '/', attempt: 'read it' });
    await expect(asked).rejects.toMatchObject({ type: 'ClusterUnreachable' });
  };
  for (const name of ['test-1', 'test-2', 'edge-1']) {
    await store.propose({ entry: clusterEntrySchema.parse({ name }), kubeconfig, by: 'token/me' });
    await ask(candidateName(name));
  }
  await store.promote('edge-1');
  await ask('edge-1');
  await clusters.close();
  const { values } = await kubernetesRequestSeconds.get();
  expect(new Set(values.map(({ labels }) => labels.cluster))).toEqual(new Set(['(candidates)', 'edge-1']));
});
