import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { clusterEntrySchema } from '../../src/contract/inventory.js';
import { KeyRing } from '../../src/encryption/keyRing.js';
import { argoConfig, argoKubeconfig } from '../../src/store/argoCluster.js';
import { FileStore } from '../../src/store/fileStore.js';
import { readInventory } from '../../src/store/inventory.js';
import { openStore } from '../../src/store/openStore.js';
import { open, seal } from '../../src/store/sealing.js';
import { submittedKubeconfig } from '../../src/store/submittedKubeconfig.js';

const SECRET = 'a-token-that-nobody-may-see';
const key = (id: string, byte: number) => `${id}:${Buffer.alloc(32, byte).toString('base64')}`;
const ring = (...keys: string[]) => KeyRing.parse(keys.join(), 'KEYS');

let folder: string;
beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), 'store-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function kubeconfig({ user, cluster }: { user?: object; cluster?: object } = {}): string {
  return JSON.stringify({
    'current-context': 'here',
    clusters: [
      { name: 'c', cluster: cluster ?? { server: 'https://10.0.0.1:6443', 'certificate-authority-data': 'Q0E=' } },
      { name: 'another', cluster: { server: 'https://10.0.0.2:6443' } },
    ],
    contexts: [
      { name: 'here', context: { cluster: 'c', user: 'u' } },
      { name: 'there', context: { cluster: 'another', user: 'v' } },
    ],
    users: [
      { name: 'u', user: user ?? { token: SECRET } },
      { name: 'v', user: { exec: { command: 'aws' } } },
    ],
  });
}

describe('a kubeconfig that somebody submits', () => {
  test('is kept with its one context, whatever else is in it', () => {
    const kept = parse(submittedKubeconfig(kubeconfig())) as Record<string, unknown[]>;
    expect(kept).toMatchObject({
      clusters: [{ cluster: { server: 'https://10.0.0.1:6443', 'certificate-authority-data': 'Q0E=' } }],
      users: [{ user: { token: SECRET } }],
    });
    expect([kept['clusters'], kept['users'], kept['contexts']].map((each) => each?.length)).toEqual([1, 1, 1]);
  });

  const server = 'https://10.0.0.1:6443';
  test.each<[string, string, RegExp]>([
    ['runs a program', kubeconfig({ user: { exec: { command: 'sh' } } }), /exec of its user would run a program/],
    ['asks a provider', kubeconfig({ user: { 'auth-provider': { name: 'gcp' } } }), /auth-provider of its user/],
    ['reads a token file', kubeconfig({ user: { tokenFile: '/etc/shadow' } }), /tokenFile of its user would read/],
    ['reads a key file', kubeconfig({ user: { 'client-key': '/k', 'client-certificate': '/c' } }), /client-key-data/],
    [
      'reads a CA file',
      kubeconfig({ cluster: { server, 'certificate-authority': '/ca' } }),
      /certificate-authority-data/,
    ],
    ['checks nobody', kubeconfig({ cluster: { server, 'insecure-skip-tls-verify': true } }), /whoever answers/],
    ['chooses a proxy', kubeconfig({ cluster: { server, 'proxy-url': 'http://evil' } }), /proxy-url of its cluster/],
    ['speaks in the clear', kubeconfig({ cluster: { server: 'http://10.0.0.1' } }), /must be an https URL/],
    ['has no credentials', kubeconfig({ user: {} }), /has no credentials/],
    ['is no YAML', `{"token": "${SECRET}"`, /it is not YAML/],
    ['is something else', '[]', /The kubeconfig cannot be used/],
    ['has too many aliases', 'a: &a [x]\nclusters: [*a, *a]', /it is not YAML/],
  ])('that %s is refused, and nothing of it is repeated', (_what, text, says) => {
    expect(() => submittedKubeconfig(text)).toThrow(says);
    expect(() => submittedKubeconfig(text)).not.toThrow(SECRET);
  });

  test('has all its faults told at once', () => {
    const text = kubeconfig({ user: { exec: {} }, cluster: { server: 'http://x', 'proxy-url': 'http://evil' } });
    expect(() => submittedKubeconfig(text)).toThrow(/proxy-url.*exec.*https URL/);
    expect(() => submittedKubeconfig(kubeconfig(), 'nowhere')).toThrow(/no context nowhere; its contexts: here, there/);
  });
});

describe('what is sealed', () => {
  test('can be opened with its key alone, and only as what it was sealed for', () => {
    const sealed = seal(ring(key('old', 1)), SECRET, 'x');
    expect(JSON.stringify(sealed)).not.toContain(SECRET);
    expect(open(ring(key('new', 2), key('old', 1)), sealed, 'x')).toBe(SECRET);
    expect(() => open(ring(key('new', 2)), sealed, 'x')).toThrow(/sealed with key old, which is not among new/);
    expect(() => open(ring(key('old', 3)), sealed, 'x')).toThrow(/was changed, or the key is another one/);
    expect(() => open(ring(key('old', 1)), sealed, 'y')).toThrow(/cannot be opened/);
    const text = Buffer.from(sealed.text, 'base64');
    text[0] = (text[0] ?? 0) ^ 1;
    expect(() => open(ring(key('old', 1)), { ...sealed, text: text.toString('base64') }, 'x')).toThrow(/was changed/);
  });

  test.each(['', 'k1', 'k1:c2hvcnQ=', `${key('a', 1)},${key('a', 2)}`])('refuses the keys "%s"', (text) => {
    expect(() => KeyRing.parse(text, 'KEYS')).toThrow(/of KEYS is .*openssl rand/);
  });
});

describe('a folder of clusters', () => {
  const entry = clusterEntrySchema.parse({ name: 'edge-1' });

  test('keeps candidates apart until they are promoted, and nothing in the clear', async () => {
    const store = new FileStore(path.join(folder, 'clusters'), ring(key('k', 1)));
    await store.propose({ entry, kubeconfig: SECRET, by: 'token/me' });
    expect((await readInventory(undefined, store)).clusters).toEqual([]);
    await expect(store.kubeconfig('edge-1', false)).rejects.toThrow(/There is no cluster edge-1/);
    expect(await store.kubeconfig('edge-1', true)).toBe(SECRET);
    await store.promote('edge-1');
    const { clusters, stored } = await readInventory(undefined, store);
    expect(clusters.map(({ name }) => name)).toEqual(['edge-1']);
    expect(stored.get('edge-1')).toMatchObject({ onboardedBy: 'token/me', candidate: false, foreign: false });
    expect(await store.kubeconfig('edge-1', false)).toBe(SECRET);
    const [file = ''] = readdirSync(path.join(folder, 'clusters'));
    expect(readFileSync(path.join(folder, 'clusters', file), 'utf8')).not.toContain(SECRET);
    expect(statSync(path.join(folder, 'clusters', file)).mode & 0o777).toBe(0o600);
    expect(statSync(path.join(folder, 'clusters')).mode & 0o777).toBe(0o700);
    await expect(store.promote('edge-1')).rejects.toThrow(/There is no cluster edge-1/);
    await store.remove('edge-1', false);
    await store.remove('edge-1', false);
    expect(await store.list()).toEqual([]);
  });

  test('says which file of it is not its own', async () => {
    const store = new FileStore(folder, ring(key('k', 1)));
    writeFileSync(path.join(folder, 'edge-1.cluster.json'), '{}');
    await expect(store.list()).rejects.toThrow(/edge-1\.cluster\.json is not what the cluster store wrote/);
  });

  test('and the inventory file must not both have a cluster', async () => {
    const store = new FileStore(folder, ring(key('k', 1)));
    await store.propose({ entry, kubeconfig: SECRET, by: 'token/me' });
    await store.promote('edge-1');
    const read = async () => ({ clusters: [{ ...entry, kubeconfig: { path: 'x' } }] });
    await expect(readInventory({ path: 'inventory.yaml', read }, store)).rejects.toThrow(
      /both in the inventory file.*folder/,
    );
  });

  test('says nothing of the probe image: the environment does, where no inventory file does', async () => {
    const environment = { SPIRE_FEDERATOR_PROBE_IMAGE: 'registry.example/probe:1' };
    const read = async () => ({ probeImage: 'registry.example/probe:2', clusters: [] });
    expect(await readInventory(undefined, undefined, environment)).toMatchObject({
      probeImage: 'registry.example/probe:1',
    });
    expect(await readInventory({ path: 'inventory.yaml', read }, undefined, environment)).toMatchObject({
      probeImage: 'registry.example/probe:2',
    });
    expect(await readInventory(undefined, undefined, {})).not.toHaveProperty('probeImage');
  });

  test.each([
    [{ SPIRE_FEDERATOR_STORE: 'vault:x' }, /must be file:<folder> or secrets:<namespace>/],
    [
      { SPIRE_FEDERATOR_STORE: 'file:x' },
      /SPIRE_FEDERATOR_STORE_KEYS is not set: kubeconfigs are never written unsealed/,
    ],
  ])('is refused with %j', async (environment, says) => {
    await expect(openStore(environment)).rejects.toThrow(says);
  });
});

describe("a cluster's Secret in Argo CD's form", () => {
  test('is the kubeconfig it was made of', () => {
    const text = submittedKubeconfig(kubeconfig());
    const { server, config } = argoConfig(text);
    expect(JSON.parse(config)).toEqual({ bearerToken: SECRET, tlsClientConfig: { caData: 'Q0E=' } });
    expect(parse(argoKubeconfig('edge-1', server, config))).toEqual(parse(text));
  });

  test.each([
    [{ execProviderConfig: { command: 'x' } }, /has execProviderConfig/],
    [{ tlsClientConfig: { insecure: true } }, /has tlsClientConfig\.insecure/],
  ])('with %j is refused', (config, says) => {
    expect(() => argoKubeconfig('edge-1', 'https://x', JSON.stringify(config))).toThrow(says);
  });
});
