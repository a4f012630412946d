import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { Authority } from '../../sandbox/authority.js';
import { webAuthority } from '../../sandbox/webPki.js';
import type { ChangeResult } from '../../src/contract/change.js';
import type { Exposure } from '../../src/contract/inventory.js';
import type { VerifyResult } from '../../src/contract/verify.js';
import { bundleKeyIds, parseBundle } from '../../src/spire/bundle.js';
import { parseBundleList } from '../support/bundleList.js';
import { handshake } from '../support/proxyHandshake.js';
import { adminApi, snapshotCluster, spireServer } from '../support/snapshot.js';
import { eventually } from '../support/spireTrustDomain.js';
import { Testbed, type CommandResult } from '../support/testbed.js';

const CLUSTERS = ['client-1', 'server-1', 'edge-1', 'edge-2'];
const NAMESPACE = 'zero-trust-workload-identity-manager';
const SERVICE = `/api/v1/namespaces/${NAMESPACE}/services/spire-server-federation`;
const INGRESS = `/apis/networking.k8s.io/v1/namespaces/${NAMESPACE}/ingresses/spire-server-federation`;
const GIVEN = 'federation.apps.edge-2.sandbox.test';
const MINUTE = 60_000;

const CFTDS = '/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains';
const SERVER_CONF = `/api/v1/namespaces/${NAMESPACE}/configmaps/spire-server`;
const SECRET = `/api/v1/namespaces/${NAMESPACE}/secrets/spire-server-web-certificate`;
const ROOTS = `/api/v1/namespaces/${NAMESPACE}/configmaps/web-roots`;

interface ClusterEntry {
  exposure?: Exposure;
  bundleEndpoint?: object;
}

interface InventoryFile {
  httpsProxy: string;
  clusters: ({ name: string } & ClusterEntry)[];
}

let testbed: Testbed;
let inventory: InventoryFile;
let before: Record<string, unknown>[];
let exposures: Record<string, Exposure>;

const trustDomain = (cluster: string) => `apps.${cluster}.sandbox.test`;
const others = (cluster: string) => CLUSTERS.filter((each) => each !== cluster);
const snapshot = (clusters = CLUSTERS) =>
  Promise.all(clusters.map((cluster) => snapshotCluster(testbed.directory, cluster)));

/** Says in the inventory how each cluster's bundle endpoint is reached. */
function expose(as: Record<string, Exposure>): void {
  describeClusters(Object.fromEntries(Object.entries(as).map(([name, exposure]) => [name, { exposure }])));
}

function describeClusters(as: Record<string, ClusterEntry>): void {
  const clusters = inventory.clusters.map((cluster) => ({ ...cluster, ...as[cluster.name] }));
  writeFileSync(path.join(testbed.directory, 'inventory.yaml'), stringify({ ...inventory, clusters }));
}

async function withAdmin<T>(cluster: string, use: (api: ReturnType<typeof adminApi>) => Promise<T>): Promise<T> {
  const api = adminApi(testbed.directory, cluster);
  try {
    return await use(api);
  } finally {
    api.close();
  }
}

function succeeded({ code, stdout, stderr }: CommandResult): ChangeResult {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as ChangeResult;
}

const setupMesh = (...args: string[]) => testbed.federator('start-workflow', 'setupMesh', ...args, '--json');

/** By the clusters' own words: each stores exactly the keys of all others, and asks for them at these addresses. */
async function expectMesh(urls: Record<string, string>): Promise<void> {
  const own = new Map(
    await Promise.all(
      CLUSTERS.map(async (cluster) => {
        const text = await spireServer(testbed.directory, cluster, 'bundle', 'show', '-format', 'spiffe');
        return [cluster, bundleKeyIds(parseBundle(text))] as const;
      }),
    ),
  );
  for (const cluster of CLUSTERS) {
    const list = await spireServer(testbed.directory, cluster, 'bundle', 'list', '-format', 'spiffe');
    const stored = parseBundleList(list);
    for (const peer of others(cluster)) {
      const bundle = stored.get(trustDomain(peer));
      expect(bundle && bundleKeyIds(bundle)).toEqual(own.get(peer));
      const relationship = await withAdmin(cluster, (api) =>
        api.get(`/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains/${trustDomain(peer)}`),
      );
      expect(relationship?.['spec']).toMatchObject({ bundleEndpointURL: urls[peer] });
    }
  }
}

async function expectHealthy(): Promise<void> {
  const { code, stdout } = await testbed.federator('verify', '--json');
  const { checks } = JSON.parse(stdout) as VerifyResult;
  expect({ code, wrong: checks.filter(({ verdict }) => verdict !== 'ok') }).toEqual({ code: 0, wrong: [] });
}

async function nodeAddress(cluster: string): Promise<string> {
  const node = await withAdmin(cluster, (api) => api.get(`/api/v1/nodes/${cluster}-node`));
  const { addresses } = node?.['status'] as { addresses: { type: string; address: string }[] };
  return addresses.find(({ type }) => type === 'ExternalIP')?.address ?? '';
}

beforeAll(async () => {
  testbed = await Testbed.start({ clusters: CLUSTERS.length });
  inventory = parse(readFileSync(path.join(testbed.directory, 'inventory.yaml'), 'utf8')) as InventoryFile;
  // Somebody else sees to it that the given address leads to the bundle endpoint.
  await withAdmin('edge-2', (api) =>
    api.apply({
      apiVersion: 'route.openshift.io/v1',
      kind: 'Route',
      metadata: { name: 'made-by-hand', namespace: NAMESPACE },
      spec: {
        host: GIVEN,
        to: { kind: 'Service', name: 'spire-server-federation' },
        port: { targetPort: 'federation' },
        tls: { termination: 'passthrough' },
      },
    }),
  );
  exposures = {
    'client-1': { type: 'ingress', host: 'federation.apps.client-1.sandbox.test' },
    'server-1': { type: 'loadBalancer' },
    'edge-1': { type: 'nodePort', host: await nodeAddress('edge-1') },
    'edge-2': { type: 'address', url: `https://${GIVEN}` },
  };
  expose(exposures);
  before = await snapshot();
  await testbed.startWorker();
}, 4 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

describe('a mesh of clusters that are reached by an Ingress, a load balancer, a node port and a given address', () => {
  let urls: Record<string, string>;

  beforeAll(async () => {
    const { members, probes } = succeeded(await setupMesh());
    urls = Object.fromEntries(members.map(({ cluster, endpointUrl }) => [cluster, endpointUrl]));
    // Wherever a test workload can be reached, it was, from everywhere else.
    const reachable = ['client-1', 'server-1', 'edge-1'];
    expect(new Set(probes.map(({ from, to }) => `${from} ${to}`))).toEqual(
      new Set(reachable.flatMap((to) => others(to).map((from) => `${from} ${to}`))),
    );
    expect(probes.filter(({ ok }) => !ok)).toEqual([]);
  }, 4 * MINUTE);

  test(
    'stores everybody’s keys everywhere, fetched at the address that each cluster assigned',
    async () => {
      const service = await withAdmin('server-1', (api) => api.get(SERVICE));
      const { ports } = (await withAdmin('edge-1', (api) => api.get(SERVICE)))?.['spec'] as {
        ports: { nodePort: number }[];
      };
      const { loadBalancer } = service?.['status'] as { loadBalancer: { ingress: { ip: string }[] } };
      expect(urls).toEqual({
        'client-1': 'https://federation.apps.client-1.sandbox.test',
        'server-1': `https://${loadBalancer.ingress[0]?.ip}:8443`,
        'edge-1': `https://${await nodeAddress('edge-1')}:${ports[0]?.nodePort}`,
        'edge-2': `https://${GIVEN}`,
      });
      await expectMesh(urls);
      await expectHealthy();
    },
    MINUTE,
  );

  test(
    'finds what somebody changed in its Services and its Ingress, and puts it back under the same addresses',
    async () => {
      const port = { name: 'federation', port: 9443, protocol: 'TCP', targetPort: 8443 };
      const annotations = { 'nginx.ingress.kubernetes.io/ssl-passthrough': null };
      await withAdmin('client-1', (api) => api.patch(INGRESS, { metadata: { annotations } }));
      await withAdmin('server-1', (api) => api.patch(SERVICE, { spec: { selector: { stranger: 'true' } } }));
      await withAdmin('edge-1', (api) => api.patch(SERVICE, { spec: { ports: [port] } }));
      await withAdmin('edge-2', (api) => api.patch(SERVICE, { spec: { type: 'NodePort' } }));
      const { code, stdout } = await testbed.federator('verify', '--json');
      const failed = (JSON.parse(stdout) as VerifyResult).checks
        .filter(({ name, verdict }) => verdict === 'failed' && name !== 'endpoint')
        .map(({ scope, name }) => `${scope} ${name}`);
      expect({ code, failed }).toEqual({
        code: 1,
        failed: ['client-1 ingress', 'server-1 service', 'edge-1 service', 'edge-2 service'],
      });
      succeeded(await setupMesh('--no-probe'));
      await expectMesh(urls);
      await expectHealthy();
    },
    2 * MINUTE,
  );

  test.each(CLUSTERS)('breaks where the link to %s breaks', async (cluster) => {
    const { hostname, port } = new URL(urls[cluster] ?? '');
    const shake = () => handshake(inventory.httpsProxy, hostname, port === '' ? 443 : Number(port));
    const link = { from: 'engine', to: cluster };
    expect(await shake()).toBe(`spiffe://${trustDomain(cluster)}/spire/server`);

    await testbed.addFault({ kind: 'cut', ...link });
    await expect(shake()).rejects.toThrow(`the link from engine to ${cluster} is cut`);
    await testbed.addFault({ kind: 'delay', ...link, delayMs: 100 });
    const startedAt = performance.now();
    await shake();
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(200);
    await testbed.addFault({ kind: 'hang', ...link });
    let answered = false;
    const hanging = shake().finally(() => (answered = true));
    // The other links do not hang, so an answer would be there by now.
    const [other = ''] = others(cluster);
    const elsewhere = new URL(urls[other] ?? '');
    await handshake(inventory.httpsProxy, elsewhere.hostname, Number(elsewhere.port || 443));
    expect(answered).toBe(false);
    await testbed.heal();
    expect(await hanging).toBe(`spiffe://${trustDomain(cluster)}/spire/server`);
  });

  test(
    'says which endpoints cannot be reached, and by which exposure',
    async () => {
      for (const cluster of CLUSTERS) await testbed.addFault({ kind: 'cut', from: 'engine', to: cluster });
      const { code, stdout } = await testbed.federator('verify', '--json');
      await testbed.heal();
      const failed = (JSON.parse(stdout) as VerifyResult).checks.filter(({ verdict }) => verdict === 'failed');
      expect({ code, failed: failed.map(({ scope, name }) => `${scope} ${name}`) }).toEqual({
        code: 1,
        failed: CLUSTERS.map((cluster) => `${cluster} endpoint`),
      });
      for (const { scope, evidence } of failed) expect(evidence).toContain(`bundle endpoint ${urls[scope]}`);
    },
    MINUTE,
  );

  test(
    'keeps a load balancer and its address when going over to something else fails',
    async () => {
      const was = await snapshot();
      expose({ ...exposures, 'server-1': { type: 'ingress', host: 'a.test', ingressClassName: 'nobody' } });
      const { code, stderr } = await setupMesh('--no-probe', '--endpoint-timeout', '3');
      expose(exposures);
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(/Ingress .* is not admitted[^]*Every cluster is as it was before\./) as string,
      });
      expect(await snapshot()).toEqual(was);
      const service = await withAdmin('server-1', (api) => api.get(SERVICE));
      expect(service?.['status']).toMatchObject({
        loadBalancer: { ingress: [{ ip: new URL(urls['server-1'] ?? '').hostname }] },
      });
      await expectHealthy();
    },
    2 * MINUTE,
  );

  test(
    'goes over to other exposures: peers learn the new addresses, and the old ways in are gone',
    async () => {
      expose({
        ...exposures,
        'client-1': { type: 'loadBalancer' },
        'server-1': { type: 'ingress', host: 'federation.apps.server-1.sandbox.test' },
        'edge-1': { type: 'route' },
      });
      const { members } = succeeded(await setupMesh('--no-probe'));
      const now = Object.fromEntries(members.map(({ cluster, endpointUrl }) => [cluster, endpointUrl]));
      expect(now).toEqual({
        'client-1': expect.stringMatching(/^https:\/\/10\.[\d.]+:8443$/) as string,
        'server-1': 'https://federation.apps.server-1.sandbox.test',
        'edge-1': `https://spire-server-federation-${NAMESPACE}.apps.edge-1.sandbox.test`,
        'edge-2': urls['edge-2'],
      });
      await expectMesh(now);
      expect(await withAdmin('client-1', (api) => api.get(INGRESS))).toBeUndefined();
      for (const cluster of ['server-1', 'edge-1']) {
        const service = await withAdmin(cluster, (api) => api.get(SERVICE));
        expect(service).toMatchObject({ spec: { type: 'ClusterIP' }, status: { loadBalancer: {} } });
        expect(service?.metadata).not.toHaveProperty('finalizers');
      }
      await expectHealthy();
      expect(succeeded(await setupMesh('--no-probe')).changed).toBe(false);
    },
    3 * MINUTE,
  );

  test(
    'is torn down and leaves nothing',
    async () => {
      succeeded(await testbed.federator('teardown', '--json'));
      expect(await snapshot()).toEqual(before);
    },
    2 * MINUTE,
  );
});

test.each<{ what: string; exposure: Exposure; says: RegExp }>([
  {
    what: 'an Ingress that no controller admits',
    exposure: { type: 'ingress', host: 'federation.apps.client-1.sandbox.test', ingressClassName: 'nobody' },
    says: /client-1: the bundle endpoint has an address\. Last seen: Ingress spire-server-federation is not admitted: no Ingress controller of class nobody/,
  },
  {
    what: 'a load balancer that never gets an address',
    exposure: { type: 'loadBalancer', loadBalancerClass: 'example.com/nobody' },
    says: /client-1: the bundle endpoint has an address\. Last seen: Service spire-server-federation has no load balancer: no controller of class example\.com\/nobody/,
  },
])(
  '$what: times out with what was seen, and all is as before',
  async ({ exposure, says }) => {
    expose({ ...exposures, 'client-1': exposure });
    const { code, stderr } = await testbed.federator(
      'start-workflow',
      'setupPair',
      '--clusters',
      'client-1,server-1',
      '--no-probe',
      '--endpoint-timeout',
      '3',
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(says);
    expect(stderr).toContain('Every cluster is as it was before.');
    expect(await snapshot(['client-1', 'server-1'])).toEqual(before.slice(0, 2));
  },
  2 * MINUTE,
);

describe('members with https_web beside one with https_spiffe', () => {
  const MEMBERS = ['client-1', 'server-1', 'edge-1'];
  const files = {
    certFilePath: '/run/spire/web-certificate/tls.crt',
    keyFilePath: '/run/spire/web-certificate/tls.key',
  };
  const ingress: Exposure = { type: 'ingress', host: 'federation.apps.client-1.sandbox.test' };
  const webPkiCA = 'web-pki/ca.crt';
  const served: ClusterEntry = {
    exposure: { type: 'route' },
    bundleEndpoint: { profile: 'https_web', servingCertFile: files, webPkiCA },
  };
  /** One serves https_web already, by somebody's hand; one is to; one keeps https_spiffe. */
  const entries: Record<string, ClusterEntry> = {
    'client-1': { exposure: ingress, bundleEndpoint: { profile: 'https_web', webPkiCA } },
    'server-1': served,
  };
  let plain: string;
  let start: Record<string, unknown>[];

  const serverConf = async (cluster: string) => {
    const map = await withAdmin(cluster, (api) => api.get(SERVER_CONF));
    return (map?.['data'] as Record<string, string>)['server.conf'] ?? '';
  };

  /** Writes a server.conf as a person would, and restarts SPIRE server with it. */
  async function writeByHand(cluster: string, text: string): Promise<void> {
    await withAdmin(cluster, async (api) => {
      const pod = `/api/v1/namespaces/${NAMESPACE}/pods/spire-server-0`;
      const old = (await api.get(pod))?.metadata.uid;
      await api.patch(SERVER_CONF, { data: { 'server.conf': text } });
      await api.delete(pod);
      await eventually(async () => {
        const found = await api.get(pod);
        const { conditions = [] } = (found?.['status'] ?? {}) as { conditions?: { type: string; status: string }[] };
        expect(found?.metadata.uid).not.toBe(old);
        expect(conditions).toContainEqual(expect.objectContaining({ type: 'Ready', status: 'True' }));
      }, MINUTE);
    });
  }

  beforeAll(async () => {
    plain = await serverConf('client-1');
    const conf = JSON.parse(plain) as { server: object };
    const file = { cert_file_path: files.certFilePath, key_file_path: files.keyFilePath, file_sync_interval: '1h' };
    const bundle_endpoint = { address: '0.0.0.0', port: 8443, profile: { https_web: { serving_cert_file: file } } };
    const byHand = { ...conf, server: { ...conf.server, federation: { bundle_endpoint } } };
    await writeByHand('client-1', JSON.stringify(byHand, undefined, 4));
    start = await snapshot(MEMBERS);
  }, 2 * MINUTE);

  afterAll(async () => writeByHand('client-1', plain), 2 * MINUTE);

  test(
    'federate, are verified by the Web PKI where they serve it, and speak mTLS with each other',
    async () => {
      describeClusters(entries);
      const { members, probes } = succeeded(await setupMesh('--clusters', MEMBERS.join()));
      expect(probes).toHaveLength(12);
      expect(probes.filter(({ ok }) => !ok)).toEqual([]);
      for (const { cluster, endpointUrl } of members) {
        const { hostname } = new URL(endpointUrl);
        const presented = await handshake(inventory.httpsProxy, hostname, 443);
        const isWeb = cluster !== 'edge-1';
        expect(presented).toMatch(
          isWeb ? `DNS:*.${trustDomain(cluster)}` : `spiffe://${trustDomain(cluster)}/spire/server`,
        );
        for (const peer of MEMBERS.filter((each) => each !== cluster)) {
          const relationship = await withAdmin(peer, (api) => api.get(`${CFTDS}/${trustDomain(cluster)}`));
          expect(relationship?.['spec']).toMatchObject({
            bundleEndpointProfile: isWeb ? { type: 'https_web' } : { type: 'https_spiffe' },
          });
          const refreshed = await spireServer(
            testbed.directory,
            peer,
            'federation',
            'refresh',
            '-id',
            `spiffe://${trustDomain(cluster)}`,
          );
          expect(refreshed).toMatch(/Bundle refreshed/);
        }
      }
      await expectHealthy();
      expect(succeeded(await setupMesh('--no-probe')).changed).toBe(false);
    },
    4 * MINUTE,
  );

  test(
    'are found with a certificate that has expired since, by verify, before a change, and named',
    async () => {
      const { data } = (await withAdmin('server-1', (api) => api.get(SECRET))) as unknown as { data: object };
      await withAdmin('server-1', async (api) => api.patch(SECRET, { data: await expiredCertificate('server-1') }));
      await writeByHand('server-1', await serverConf('server-1'));
      const verified = await testbed.federator('verify', '--json');
      const failed = (JSON.parse(verified.stdout) as VerifyResult).checks.filter(({ verdict }) => verdict === 'failed');
      expect(failed).toMatchObject([
        {
          scope: 'server-1',
          name: 'endpoint',
          evidence: expect.stringMatching(/certificate that expired on/) as string,
        },
      ]);
      const { code, stderr } = await setupMesh('--no-probe');
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(
          /server-1: bundle endpoint .* presents a certificate that expired.*Renew it/,
        ) as string,
      });
      await withAdmin('server-1', (api) => api.patch(SECRET, { data }));
      await writeByHand('server-1', await serverConf('server-1'));
      await expectHealthy();
    },
    3 * MINUTE,
  );

  test(
    'are torn down to what they were, the one that served https_web before still serving it',
    async () => {
      succeeded(await testbed.federator('teardown', '--json'));
      expect(await snapshot(MEMBERS)).toEqual(start);
    },
    2 * MINUTE,
  );

  test(
    'leave no bundle behind that a server fetched by itself when a change is cancelled before its relationships',
    async () => {
      describeClusters(entries);
      const was = await snapshot(MEMBERS);
      // Its endpoint is never proven, so no relationship is made; SPIRE needs none to fetch by https_web.
      await testbed.addFault({ kind: 'cut', from: 'engine', to: 'client-1' });
      const args = ['--federation', 'web', '--clusters', MEMBERS.join(), '--no-probe', '--endpoint-timeout', '300'];
      const change = testbed.startFederator('start-workflow', 'setupMesh', ...args);
      const ended = new Promise((resolve) => change.once('exit', resolve));
      await eventually(async () => {
        const stored = await spireServer(testbed.directory, 'edge-1', 'bundle', 'list', '-format', 'spiffe');
        expect([...parseBundleList(stored).keys()]).toContain(trustDomain('server-1'));
      }, 2 * MINUTE);
      expect((await testbed.federator('cancel', 'web')).code).toBe(0);
      expect(await ended).toBe(1);
      await testbed.heal();
      expect(await snapshot(MEMBERS)).toEqual(was);
    },
    4 * MINUTE,
  );

  test.each<{ what: string; prepare?: () => Promise<() => Promise<unknown>>; entry?: ClusterEntry; says: RegExp }>([
    {
      what: 'a certificate that is not for the host of the endpoint',
      entry: { ...served, exposure: { type: 'loadBalancer' } },
      says: /server-1: bundle endpoint https:\/\/10\.[\d.]+:8443 presents a certificate for \*\.apps\.server-1\.sandbox\.test, .*and not for 10\..*Issue it for that host/,
    },
    {
      what: 'an authority that the system of a peer does not know',
      prepare: async () => {
        const { data } = (await withAdmin('edge-1', (api) => api.get(ROOTS))) as unknown as { data: object };
        const { certificate } = await (await Authority.create('somebody else')).pem();
        await withAdmin('edge-1', (api) => api.patch(ROOTS, { data: { 'ca.crt': certificate } }));
        return () => withAdmin('edge-1', (api) => api.patch(ROOTS, { data }));
      },
      says: /edge-1: SPIRE server cannot fetch the bundle of apps\.server-1\.sandbox\.test: .*unknown authority.*spire#5331.*SSL_CERT_FILE/,
    },
    {
      what: 'a ClusterFederatedTrustDomain of somebody else with the other profile',
      prepare: async () => {
        const domain = trustDomain('server-1');
        await withAdmin('edge-1', (api) =>
          api.apply({
            apiVersion: 'spire.spiffe.io/v1alpha1',
            kind: 'ClusterFederatedTrustDomain',
            metadata: { name: 'by-hand' },
            spec: {
              className: 'zero-trust-workload-identity-manager-spire',
              trustDomain: domain,
              bundleEndpointURL: `https://spire-server-federation-${NAMESPACE}.${domain}`,
              bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: `spiffe://${domain}/spire/server` },
            },
          }),
        );
        return () => withAdmin('edge-1', (api) => api.delete(`${CFTDS}/by-hand`));
      },
      says: /edge-1: ClusterFederatedTrustDomain by-hand .* profileType is https_spiffe instead of https_web/,
    },
    {
      what: 'a certificate in no volume',
      entry: {
        bundleEndpoint: {
          profile: 'https_web',
          servingCertFile: { certFilePath: '/elsewhere/tls.crt', keyFilePath: files.keyFilePath },
          webPkiCA,
        },
      },
      says: /server-1: \/elsewhere\/tls\.crt .* is in no volume of container spire-server: mount the Secret/,
    },
    {
      what: 'a file of authorities that is not there',
      entry: { bundleEndpoint: { profile: 'https_web', servingCertFile: files, webPkiCA: 'nowhere.crt' } },
      says: /server-1: webPkiCA .*nowhere\.crt does not exist/,
    },
  ])(
    '$what: a clear message, and all is as before',
    async ({ prepare, entry = served, says }) => {
      describeClusters({ ...entries, 'server-1': entry });
      const restore = await prepare?.();
      const pair = ['server-1', 'edge-1'];
      const was = await snapshot(pair);
      const { code, stderr } = await setupMesh('--clusters', pair.join(), '--no-probe');
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(says) as string });
      expect(stderr).toMatch(/Every cluster is as it was before|nothing was changed/);
      expect(await snapshot(pair)).toEqual(was);
      await restore?.();
    },
    3 * MINUTE,
  );
});

/** What a Secret holds when nobody renewed its certificate. */
async function expiredCertificate(cluster: string): Promise<Record<string, string>> {
  const authority = await webAuthority(path.join(testbed.directory, 'web-pki'));
  const { key, certificate } = await authority.issue({
    subject: `CN=*.${trustDomain(cluster)}`,
    names: [`*.${trustDomain(cluster)}`],
    notAfter: new Date(Date.now() - 3_600_000),
  });
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return { 'tls.crt': base64(certificate), 'tls.key': base64(key) };
}
