import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import type { ChangeResult } from '../../src/contract/change.js';
import type { FederationHealth } from '../../src/contract/health.js';
import { HUB } from '../../src/contract/names.js';
import type { VerifyResult } from '../../src/contract/verify.js';
import { federateByScript } from '../support/scripted.js';
import { adminApi, snapshotCluster, spireServer } from '../support/snapshot.js';
import { Testbed, type CommandResult } from '../support/testbed.js';

const PAIR = ['client-1', 'server-1'];
const CLUSTERS = [...PAIR, 'edge-1'];
const NEWCOMER = 'edge-2';
const POLICIES = ['all-workloads-auto-federated', 'label-based-auto-federated'];
const FEDERATION = 'adopted';
const MINUTE = 60_000;

let testbed: Testbed;

const start = (name: string, ...args: string[]) =>
  testbed.federator('start-workflow', name, '--federation', FEDERATION, ...args, '--json');

function succeeded({ code, stdout, stderr }: CommandResult): ChangeResult {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as ChangeResult;
}

async function monitor(command: string): Promise<FederationHealth> {
  const { stdout } = await testbed.federator('monitor', command, '--federation', FEDERATION, '--json');
  return JSON.parse(stdout) as FederationHealth;
}

/** Every object without its labels and annotations: what it does. */
async function substance(cluster: string): Promise<unknown> {
  const snapshot = await snapshotCluster(testbed.directory, cluster);
  return Object.fromEntries(
    Object.entries(snapshot).map(([key, object]) => {
      if (typeof object !== 'object' || object === null || !('metadata' in object)) return [key, object];
      const { labels: _labels, annotations: _annotations, ...metadata } = object.metadata as Record<string, unknown>;
      return [key, { ...object, metadata }];
    }),
  );
}

async function podStartedAt(cluster: string): Promise<unknown> {
  const api = adminApi(testbed.directory, cluster);
  try {
    const pod = await api.get('/api/v1/namespaces/zero-trust-workload-identity-manager/pods/spire-server-0');
    return pod?.metadata.uid;
  } finally {
    api.close();
  }
}

beforeAll(async () => {
  testbed = await Testbed.start({ clusters: 3 });
  await testbed.startWorker();
}, 3 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

test('where nobody trusts anybody there is nothing to adopt', async () => {
  const { code, stderr } = await start('adopt');
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/There is no federation among client-1, server-1, edge-1/) as string,
  });
});

test(
  'a federation made by scripts is taken over as it is, and what is odd about it is said',
  async () => {
    // As it came to be: two clusters, the policies, then a third cluster without them.
    await federateByScript(testbed.directory, CLUSTERS, PAIR);
    const before = await Promise.all(CLUSTERS.map(substance));
    const pods = await Promise.all(CLUSTERS.map(podStartedAt));
    const adopted = await testbed.federatorWith(
      { SPIRE_FEDERATOR_MONITOR: 'on' },
      ...['start-workflow', 'adopt', '--federation', FEDERATION, '--json'],
    );
    const { changed, findings = [], mending = [], file, notes } = succeeded(adopted);
    expect(changed).toBe(true);
    expect(notes).toEqual([expect.stringMatching(/^The monitor repairs nothing by itself until setupMesh/)]);
    const health = await monitor('check');
    expect(health.findings.map(({ state }) => state)).toContain('approval');
    expect(health.findings.filter(({ state }) => !['approval', 'person'].includes(state))).toEqual([]);
    await monitor('stop');
    expect(await Promise.all(CLUSTERS.map(substance))).toEqual(before);
    expect(await Promise.all(CLUSTERS.map(podStartedAt))).toEqual(pods);
    expect(findings.map(({ scope, name }) => `${scope} ${name}`)).toEqual(
      PAIR.flatMap((cluster) => POLICIES.map(() => `${cluster} own-trust-domain`)),
    );
    expect(file).toMatchObject({
      clusters: CLUSTERS,
      topology: 'mesh',
      relationships: 'static',
      policies: POLICIES.map((name) => ({ type: 'custom', name })),
    });
    expect(mending.map(({ id, action }) => `${action} ${id}`)).toContain('create applyPolicies/edge-1');
    const details = mending.flatMap((each) => each.details ?? []);
    expect(details).toContain('refresh_hint is missing instead of 300s');
    expect(details).toContain('label-based-auto-federated: federatesWith - apps.client-1.sandbox.test');
    expect(succeeded(await start('adopt')).changed).toBe(false);
  },
  5 * MINUTE,
);

test(
  'once adopted it is extended like any other, and what was odd is mended on the way',
  async () => {
    await testbed.grow(CLUSTERS.length + 1);
    const { members } = succeeded(await start('addCluster', '--no-probe'));
    expect(members.map(({ cluster }) => cluster)).toEqual([...CLUSTERS, NEWCOMER]);
    const { code, stdout } = await testbed.federator('verify', '--federation', FEDERATION, '--json');
    const { checks } = JSON.parse(stdout) as VerifyResult;
    expect({ code, wrong: checks.filter(({ verdict }) => verdict !== 'ok') }).toEqual({ code: 0, wrong: [] });
    const api = adminApi(testbed.directory, NEWCOMER);
    const identity = await api.get('/apis/spire.spiffe.io/v1alpha1/clusterspiffeids/label-based-auto-federated');
    api.close();
    expect(identity?.['spec']).toMatchObject({
      federatesWith: [...CLUSTERS].sort().map((cluster) => `apps.${cluster}.sandbox.test`),
      podSelector: { matchLabels: { federated: 'true' } },
      spiffeIDTemplate: expect.stringMatching(/^spiffe:\/\/{{ \.TrustDomain }}\//) as string,
    });
  },
  5 * MINUTE,
);

test(
  'what an adoption marked for a hub is taken away again where a mesh is wanted',
  async () => {
    const api = adminApi(testbed.directory, 'edge-1');
    const metadata = { annotations: { [HUB]: 'apps.server-1.sandbox.test' } };
    // As adopt does it: a patch, and no apply, to which it would belong.
    await api.patch('/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains/server-1-federation', {
      metadata,
    });
    api.close();
    const file = path.join(testbed.directory, 'federation.yaml');
    const clusters = [...CLUSTERS, NEWCOMER];
    writeFileSync(file, stringify({ federation: FEDERATION, clusters, topology: 'mesh', relationships: 'static' }));
    const apply = () => testbed.federator('apply', '-f', file, '--no-probe', '--json');
    expect(succeeded(await apply()).changed).toBe(true);
    expect(succeeded(await apply()).changed).toBe(false);
  },
  5 * MINUTE,
);

test(
  'a member that was adopted can be removed, and the rest torn down',
  async () => {
    succeeded(await start('removeCluster', 'client-1'));
    const stored = await spireServer(testbed.directory, 'server-1', 'bundle', 'list', '-format', 'spiffe');
    expect(stored).not.toContain('apps.client-1.sandbox.test');
    succeeded(await start('teardown'));
    for (const cluster of [...CLUSTERS, NEWCOMER]) {
      expect(await spireServer(testbed.directory, cluster, 'bundle', 'list', '-format', 'spiffe')).toBe('');
      const api = adminApi(testbed.directory, cluster);
      const map = await api.get('/api/v1/namespaces/zero-trust-workload-identity-manager/configmaps/spire-server');
      api.close();
      expect((map?.['data'] as Record<string, string>)['server.conf']).not.toContain('bundle_endpoint_url');
    }
  },
  5 * MINUTE,
);
