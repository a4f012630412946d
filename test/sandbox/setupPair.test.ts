import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { rotateCa } from '../../sandbox/client.js';
import type { Resource } from '../../sandbox/kubernetes.js';
import type { ChangeResult } from '../../src/contract/change.js';
import type { VerifyResult } from '../../src/contract/verify.js';
import { parseBundle } from '../../src/spire/bundle.js';
import { parseBundleList } from '../support/bundleList.js';
import { adminApi, snapshotCluster, spireServer } from '../support/snapshot.js';
import { eventually } from '../support/spireTrustDomain.js';
import { Testbed } from '../support/testbed.js';

const CLUSTERS = ['client-1', 'server-1'];
const NAMESPACE = 'zero-trust-workload-identity-manager';
const MINUTE = 60_000;

let testbed: Testbed;
let worker: ChildProcess;
let before: Record<string, unknown>[];

async function snapshot(): Promise<Record<string, unknown>[]> {
  return Promise.all(CLUSTERS.map((cluster) => snapshotCluster(testbed.directory, cluster)));
}

function withoutBundles(snapshots: Record<string, unknown>[]): unknown[] {
  return snapshots.map(({ 'spire bundle list': _bundles, ...rest }) => rest);
}

async function read(cluster: string, at: string): Promise<Resource | undefined> {
  const api = adminApi(testbed.directory, cluster);
  try {
    return await api.get(at);
  } finally {
    api.close();
  }
}

function peerOf(cluster: string): string {
  return cluster === 'client-1' ? 'server-1' : 'client-1';
}

function trustDomainOf(cluster: string): string {
  return `apps.${cluster}.sandbox.test`;
}

async function ownKeys(cluster: string): Promise<Set<string>> {
  const own = parseBundle(await spireServer(testbed.directory, cluster, 'bundle', 'show', '-format', 'spiffe'));
  return new Set(own.keys.map(({ id }) => id));
}

/** What a cluster stores of its peer. */
async function keysOfPeer(cluster: string): Promise<Set<string>> {
  const list = await spireServer(testbed.directory, cluster, 'bundle', 'list', '-format', 'spiffe');
  const stored = parseBundleList(list).get(trustDomainOf(peerOf(cluster)));
  return new Set(stored?.keys.map(({ id }) => id));
}

beforeAll(async () => {
  testbed = await Testbed.start();
  before = await snapshot();
  worker = await testbed.startWorker();
}, 3 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

describe('a bare setupPair on an inventory of two clusters', () => {
  let result: ChangeResult;

  beforeAll(async () => {
    const { code, stdout, stderr } = await testbed.federator('start-workflow', 'setupPair', '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    result = JSON.parse(stdout) as ChangeResult;
  }, 3 * MINUTE);

  test('finishes, with a fingerprint per member and every probe as it must be', () => {
    expect(result.changed).toBe(true);
    expect(result.members.map(({ cluster }) => cluster)).toEqual(CLUSTERS);
    for (const member of result.members) expect(member.fingerprint).toMatch(/^SHA256:[0-9a-f]{32}$/);
    expect(result.probes.map(({ from, federated, ok }) => ({ from, federated, ok }))).toEqual([
      { from: 'client-1', federated: true, ok: true },
      { from: 'client-1', federated: false, ok: true },
      { from: 'server-1', federated: true, ok: true },
      { from: 'server-1', federated: false, ok: true },
    ]);
  });

  test.each(CLUSTERS)('%s stores exactly the keys of its peer, by their own words', async (cluster) => {
    const own = await ownKeys(peerOf(cluster));
    expect(await keysOfPeer(cluster)).toEqual(own);
    expect(own.size).toBeGreaterThan(0);
  });

  test.each(CLUSTERS)(
    '%s has the relationship, the configuration, the Service, the Route and the port',
    async (cluster) => {
      const peer = peerOf(cluster);
      const url = `https://spire-server-federation-${NAMESPACE}.${trustDomainOf(peer)}`;
      const relationship = await read(
        cluster,
        `/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains/${trustDomainOf(peer)}`,
      );
      const endpointSpiffeId = `spiffe://${trustDomainOf(peer)}/spire/server`;
      expect(relationship?.['spec']).toMatchObject({
        className: 'zero-trust-workload-identity-manager-spire',
        trustDomain: trustDomainOf(peer),
        bundleEndpointURL: url,
        bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: endpointSpiffeId },
      });
      expect(relationship?.metadata.labels).toMatchObject({ 'app.kubernetes.io/managed-by': 'spire-federator' });
      const map = await read(cluster, `/api/v1/namespaces/${NAMESPACE}/configmaps/spire-server`);
      const conf = JSON.parse((map?.['data'] as Record<string, string>)['server.conf'] ?? '') as {
        server: { federation: unknown };
      };
      expect(conf.server.federation).toEqual({
        bundle_endpoint: { address: '0.0.0.0', port: 8443, refresh_hint: '300s' },
        federates_with: {
          [trustDomainOf(peer)]: {
            bundle_endpoint_url: url,
            bundle_endpoint_profile: { https_spiffe: { endpoint_spiffe_id: endpointSpiffeId } },
          },
        },
      });
      const route = await read(
        cluster,
        `/apis/route.openshift.io/v1/namespaces/${NAMESPACE}/routes/spire-server-federation`,
      );
      expect(route?.['spec']).toMatchObject({ tls: { termination: 'passthrough' } });
      const set = await read(cluster, `/apis/apps/v1/namespaces/${NAMESPACE}/statefulsets/spire-server`);
      const { containers } = (
        set?.['spec'] as { template: { spec: { containers: { name: string; ports?: object[] }[] } } }
      ).template.spec;
      expect(containers.find(({ name }) => name === 'spire-server')?.ports).toContainEqual({
        containerPort: 8443,
        name: 'federation',
        protocol: 'TCP',
      });
    },
  );

  test(
    'the test workloads are gone again',
    async () => {
      for (const cluster of CLUSTERS) {
        const { items } = (await read(cluster, '/api/v1/namespaces/spire-federator-probe/pods')) as unknown as {
          items: unknown[];
        };
        expect(items).toEqual([]);
        // SPIRE controller manager may take its 10 s for the entries of an identity that is gone.
        const entries = () => spireServer(testbed.directory, cluster, 'entry', 'show');
        await eventually(async () => expect(await entries()).not.toContain('FederatesWith'), MINUTE);
      }
    },
    2 * MINUTE,
  );

  test(
    'a second run changes nothing and says so',
    async () => {
      const finished = await snapshot();
      const { code, stdout } = await testbed.federator('start-workflow', 'setupPair');
      expect(code).toBe(0);
      expect(stdout).toContain('Nothing was changed.');
      expect(await snapshot()).toEqual(finished);
    },
    MINUTE,
  );

  test('every activity says what it does to which cluster', async () => {
    const history = await testbed.temporal('workflow', 'show', '-w', 'federation/default/change', '--output', 'json');
    const { events } = JSON.parse(history) as { events: { userMetadata?: { summary?: { data?: string } } }[] };
    const summaries = events.flatMap(({ userMetadata }) => userMetadata?.summary?.data ?? []);
    const texts = summaries.map((data) => Buffer.from(data, 'base64').toString('utf8'));
    expect(texts).toContain('"Compare the trust bundle of client-1 with what its endpoint serves"');
  });

  test('no credential is in any history', async () => {
    const listed = await testbed.temporal('workflow', 'list', '--output', 'json');
    const runs = JSON.parse(listed) as { execution: { workflowId: string; runId: string } }[];
    expect(runs.length).toBeGreaterThan(0);
    for (const { execution } of runs) {
      const history = await testbed.temporal(
        'workflow',
        'show',
        '-w',
        execution.workflowId,
        '-r',
        execution.runId,
        '--output',
        'json',
      );
      const decoded = history.replaceAll(/"data": "([A-Za-z0-9+/=]+)"/g, (_match, data: string) =>
        Buffer.from(data, 'base64').toString('utf8'),
      );
      // Anything that could open a door: keys, service account tokens, kubeconfigs, database strings of server.conf.
      expect(decoded).not.toMatch(
        /PRIVATE KEY|eyJhbGciOi|client-key-data|certificate-authority-data|datastore\.sqlite3/,
      );
    }
  });

  test('verify finds all well', async () => {
    const { code, stdout } = await testbed.federator('verify', '--json');
    const { verdict, checks } = JSON.parse(stdout) as VerifyResult;
    expect({ code, verdict }).toEqual({ code: 0, verdict: 'ok' });
    expect(new Set(checks.map(({ name }) => name))).toEqual(
      new Set([
        'cluster',
        'service',
        'route',
        'port',
        'server-conf',
        'endpoint',
        'relationship',
        'stored-bundle',
        'entries',
      ]),
    );
  });

  test.each([
    {
      fault: 'a deleted relationship',
      make: async () => {
        const api = adminApi(testbed.directory, 'client-1');
        await api.delete(`/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains/${trustDomainOf('server-1')}`);
        api.close();
      },
      finds: { scope: 'client-1←server-1', name: 'relationship' },
    },
    {
      fault: 'a deleted Route',
      make: async () => {
        const api = adminApi(testbed.directory, 'server-1');
        await api.delete(`/apis/route.openshift.io/v1/namespaces/${NAMESPACE}/routes/spire-server-federation`);
        api.close();
      },
      finds: { scope: 'server-1', name: 'route' },
    },
    {
      fault: 'a deleted bundle',
      make: async () => {
        await spireServer(
          testbed.directory,
          'server-1',
          'bundle',
          'delete',
          '-id',
          `spiffe://${trustDomainOf('client-1')}`,
          '-mode',
          'dissociate',
        );
      },
      finds: { scope: 'server-1←client-1', name: 'stored-bundle' },
    },
  ])(
    'verify finds $fault, and setupPair mends it',
    async ({ make, finds }) => {
      await make();
      const broken = await testbed.federator('verify', '--json');
      expect(broken.code).toBe(1);
      const failed = (JSON.parse(broken.stdout) as VerifyResult).checks.filter(({ verdict }) => verdict === 'failed');
      expect(failed.map(({ scope, name }) => ({ scope, name }))).toContainEqual(finds);
      for (const { evidence, remedy } of failed) {
        expect(evidence).not.toBe('');
        expect(remedy).toBeTruthy();
      }
      const mended = await testbed.federator('start-workflow', 'setupPair', '--no-probe', '--json');
      expect({ code: mended.code, stderr: mended.stderr }).toEqual({ code: 0, stderr: '' });
      expect((await testbed.federator('verify', '--json')).code).toBe(0);
    },
    2 * MINUTE,
  );

  test(
    'an unreachable cluster is unknown, not failed, and is not forgotten by a teardown',
    async () => {
      await testbed.addFault({ kind: 'api-down', cluster: 'server-1' });
      const verified = await testbed.federator('verify', '--json');
      const torn = await testbed.federator('teardown');
      await testbed.heal();
      expect(verified.code).toBe(1);
      const { verdict, checks } = JSON.parse(verified.stdout) as VerifyResult;
      expect(verdict).toBe('unknown');
      expect(checks.filter((check) => check.verdict === 'failed')).toEqual([]);
      expect(checks.find(({ scope, name }) => scope === 'server-1' && name === 'cluster')?.evidence).toMatch(
        /API server cannot be reached/,
      );
      expect(torn.code).toBe(1);
      expect(torn.stderr).toMatch(/server-1: .*cannot be reached.* It may be a member/);
      expect((await testbed.federator('verify')).code).toBe(0);
    },
    MINUTE,
  );

  test(
    'teardown puts both clusters back to what they were, and has nothing to do the second time',
    async () => {
      const torn = await testbed.federator('teardown', '--json');
      expect({ code: torn.code, stderr: torn.stderr }).toEqual({ code: 0, stderr: '' });
      expect((JSON.parse(torn.stdout) as ChangeResult).changed).toBe(true);
      expect(await snapshot()).toEqual(before);
      const again = await testbed.federator('teardown', '--json');
      expect(again.code).toBe(0);
      expect((JSON.parse(again.stdout) as ChangeResult).changed).toBe(false);
    },
    MINUTE,
  );

  test(
    'dynamic relationships work without federates_with',
    async () => {
      const args = ['start-workflow', 'setupPair', '--relationships', 'dynamic', '--refresh-hint', '60', '--json'];
      const { code, stderr } = await testbed.federator(...args);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const map = await read('client-1', `/api/v1/namespaces/${NAMESPACE}/configmaps/spire-server`);
      const text = (map?.['data'] as Record<string, string>)['server.conf'] ?? '';
      expect(text).toContain('"refresh_hint": "60s"');
      expect(text).not.toContain('federates_with');
      expect((await testbed.federator('verify')).code).toBe(0);
      expect((await testbed.federator('teardown')).code).toBe(0);
      expect(await snapshot()).toEqual(before);
    },
    3 * MINUTE,
  );
});

describe('what is not of the federation itself', () => {
  const SETUP = ['start-workflow', 'setupPair', '--relationships', 'dynamic', '--no-probe', '--json'];
  const CFTDS = '/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains';

  test(
    'a bundle that was stored before the federation is still stored after it',
    async () => {
      const trustDomain = trustDomainOf('server-1');
      const bundle = await spireServer(testbed.directory, 'server-1', 'bundle', 'show', '-format', 'spiffe');
      const stored = () => spireServer(testbed.directory, 'client-1', 'bundle', 'list', '-format', 'spiffe');
      const api = adminApi(testbed.directory, 'client-1');
      try {
        // SPIRE controller manager stores the bundle, and leaves it when the relationship goes.
        await api.create({
          apiVersion: 'spire.spiffe.io/v1alpha1',
          kind: 'ClusterFederatedTrustDomain',
          metadata: { name: 'by-hand' },
          spec: {
            trustDomain,
            bundleEndpointURL: 'https://127.0.0.1:1',
            bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: `spiffe://${trustDomain}/spire/server` },
            trustDomainBundle: bundle,
            className: 'zero-trust-workload-identity-manager-spire',
          },
        });
        await eventually(async () => expect(await stored()).toContain(trustDomain), MINUTE);
        await api.delete(`${CFTDS}/by-hand`);
        const relationships = () => spireServer(testbed.directory, 'client-1', 'federation', 'list');
        await eventually(async () => expect(await relationships()).not.toContain(trustDomain), MINUTE);
      } finally {
        api.close();
      }
      const withBundle = await snapshot();
      const made = await testbed.federator(...SETUP);
      expect({ code: made.code, stderr: made.stderr }).toEqual({ code: 0, stderr: '' });
      const torn = await testbed.federator('teardown', '--json');
      expect(torn.code).toBe(0);
      expect((JSON.parse(torn.stdout) as ChangeResult).leftAlone).toEqual([
        `the bundle of ${trustDomain} stored on client-1: it was stored before the federation`,
      ]);
      expect(withoutBundles(await snapshot())).toEqual(withoutBundles(withBundle));
      expect(parseBundleList(await stored()).get(trustDomain)?.keys).toEqual(parseBundle(bundle).keys);
      expect(await spireServer(testbed.directory, 'server-1', 'bundle', 'list')).toBe('');
      await spireServer(testbed.directory, 'client-1', 'bundle', 'delete', '-id', `spiffe://${trustDomain}`);
    },
    3 * MINUTE,
  );

  test(
    'a younger relationship of somebody else with the same trust domain outlives a teardown, with its bundle',
    async () => {
      const found = await snapshot();
      expect((await testbed.federator(...SETUP)).code).toBe(0);
      const trustDomain = trustDomainOf('server-1');
      const api = adminApi(testbed.directory, 'client-1');
      try {
        const own = (await api.get(`${CFTDS}/${trustDomain}`)) as Resource & { spec: object };
        const rival = { apiVersion: own.apiVersion, kind: own.kind, metadata: { name: 'by-hand' }, spec: own.spec };
        await api.create(rival);
        const torn = await testbed.federator('teardown', '--json');
        expect({ code: torn.code, stderr: torn.stderr }).toEqual({ code: 0, stderr: '' });
        expect((JSON.parse(torn.stdout) as ChangeResult).leftAlone).toEqual([
          expect.stringContaining(`the bundle of ${trustDomain} stored on client-1: `),
          'ClusterFederatedTrustDomain by-hand on client-1: not made for this federation',
        ]);
        expect(await keysOfPeer('client-1')).toEqual(await ownKeys('server-1'));
        await api.delete(`${CFTDS}/by-hand`);
        const relationships = () => spireServer(testbed.directory, 'client-1', 'federation', 'list');
        await eventually(async () => expect(await relationships()).not.toContain(trustDomain), 3 * MINUTE);
      } finally {
        api.close();
      }
      await spireServer(testbed.directory, 'client-1', 'bundle', 'delete', '-id', `spiffe://${trustDomain}`);
      expect(await snapshot()).toEqual(found);
    },
    8 * MINUTE,
  );

  test(
    'a member of which only server.conf is left is still a member, and a teardown puts that back',
    async () => {
      expect((await testbed.federator(...SETUP)).code).toBe(0);
      for (const cluster of CLUSTERS) {
        const api = adminApi(testbed.directory, cluster);
        try {
          await api.delete(`${CFTDS}/${trustDomainOf(peerOf(cluster))}`);
          await api.delete(`/apis/route.openshift.io/v1/namespaces/${NAMESPACE}/routes/spire-server-federation`);
          await api.delete(`/api/v1/namespaces/${NAMESPACE}/services/spire-server-federation`);
        } finally {
          api.close();
        }
      }
      const torn = await testbed.federator('teardown', '--json');
      expect({ code: torn.code, stderr: torn.stderr }).toEqual({ code: 0, stderr: '' });
      expect((JSON.parse(torn.stdout) as ChangeResult).changed).toBe(true);
      expect(withoutBundles(await snapshot())).toEqual(withoutBundles(before));
    },
    3 * MINUTE,
  );
});

test(
  'a teardown that was stopped between a relationship and its bundle goes on with the bundle when it is run again',
  async () => {
    const found = await snapshot();
    const setup = ['start-workflow', 'setupPair', '--relationships', 'dynamic', '--no-probe', '--no-monitor', '--json'];
    expect((await testbed.federator(...setup)).code).toBe(0);
    const at = `/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains/${trustDomainOf('server-1')}`;
    const api = adminApi(testbed.directory, 'client-1');
    try {
      // It is deleted, and does not go.
      await api.patch(at, { metadata: { finalizers: ['sandbox.test/hold'] } });
      const stopped = testbed.federator('teardown');
      await eventually(async () => expect((await api.get(at))?.metadata).toHaveProperty('deletionTimestamp'), MINUTE);
      expect((await testbed.federator('cancel')).code).toBe(0);
      expect((await stopped).code).not.toBe(0);
      await api.patch(at, { metadata: { finalizers: null } });
      await eventually(async () => expect(await api.get(at)).toBeUndefined(), MINUTE);
    } finally {
      api.close();
    }
    expect((await keysOfPeer('client-1')).size).toBeGreaterThan(0);
    expect((await testbed.federator('teardown')).code).toBe(0);
    expect(await snapshot()).toEqual(found);
  },
  4 * MINUTE,
);

test(
  'a CA that was made since a bundle was read a moment ago is not missed',
  async () => {
    const setup = () => testbed.federator('start-workflow', 'setupPair', '--no-probe', '--no-monitor', '--json');
    expect((await setup()).code).toBe(0);
    const known = await ownKeys('client-1');
    await rotateCa({ directory: testbed.directory, cluster: 'client-1', revoke: false });
    const { code, stderr } = await setup();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const keys = await ownKeys('client-1');
    expect(keys.size).toBeGreaterThan(known.size);
    expect(await keysOfPeer('server-1')).toEqual(keys);
    expect((await testbed.federator('teardown')).code).toBe(0);
  },
  2 * MINUTE,
);

test(
  'an undo of a changed address keeps the keys that the peer has changed to since the pair was set up',
  async () => {
    const setup = ['start-workflow', 'setupPair', '--relationships', 'dynamic', '--no-probe', '--no-monitor', '--json'];
    expect((await testbed.federator(...setup)).code).toBe(0);
    const server = (cluster: string, ...args: string[]) => spireServer(testbed.directory, cluster, ...args);
    const refreshed = async () => {
      await server('client-1', 'federation', 'refresh', '-id', `spiffe://${trustDomainOf('server-1')}`);
      expect(await keysOfPeer('client-1')).toEqual(await ownKeys('server-1'));
    };
    await rotateCa({ directory: testbed.directory, cluster: 'server-1', revoke: false });
    await eventually(refreshed, MINUTE);
    const shown = await server('server-1', 'localauthority', 'x509', 'show', '-output', 'json');
    const { old } = JSON.parse(shown) as { old: { authority_id: string } };
    await server('server-1', 'localauthority', 'x509', 'taint', '-authorityID', old.authority_id);
    await server('server-1', 'localauthority', 'x509', 'revoke', '-authorityID', old.authority_id);
    await eventually(refreshed, MINUTE);

    const file = path.join(testbed.directory, 'inventory.yaml');
    const text = readFileSync(file, 'utf8');
    const inventory = parse(text) as { clusters: { name: string; exposure?: object }[] };
    for (const cluster of inventory.clusters.filter(({ name }) => name === 'server-1'))
      cluster.exposure = { type: 'route', host: 'federation.apps.server-1.sandbox.test' };
    writeFileSync(file, stringify(inventory));
    await testbed.stopWorker(worker);
    const faulty = await testbed.startWorker({ step: 'verify/all', mode: 'fail' });
    const { code, stderr } = await testbed.federator(...setup);
    await testbed.stopWorker(faulty);
    writeFileSync(file, text);
    worker = await testbed.startWorker();
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('as it was before') as string });
    await eventually(refreshed, MINUTE);
    expect((await testbed.federator('verify')).code).toBe(0);
    expect((await testbed.federator('teardown')).code).toBe(0);
  },
  4 * MINUTE,
);

test('the worker is one process that a SIGTERM ends cleanly', async () => {
  await testbed.stopWorker(worker);
  expect(worker.exitCode).toBe(0);
});
