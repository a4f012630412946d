import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Clusters } from '../../src/activities/clusters.js';
import { regionActivities } from '../../src/activities/regions.js';
import { deploymentOptions, regionPatienceMs, servedRegions } from '../../src/config.js';
import { inventorySchema, type ClusterEntry } from '../../src/contract/inventory.js';
import { KeyRing } from '../../src/encryption/keyRing.js';
import { FileStore } from '../../src/store/fileStore.js';

const cluster = (name: string, extra: object = {}) => ({ name, kubeconfig: { path: `${name}.kubeconfig` }, ...extra });

function problems(inventory: unknown): string[] {
  const result = inventorySchema.safeParse(inventory);
  return result.success ? [] : result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
}

describe('the inventory', () => {
  it('names only what differs from an OpenShift cluster with the SPIRE operator', () => {
    const inventory = inventorySchema.parse({ clusters: [cluster('client-1')] });
    expect(inventory.clusters).toEqual([
      {
        name: 'client-1',
        kubeconfig: { path: 'client-1.kubeconfig' },
        namespace: 'zero-trust-workload-identity-manager',
        server: 'spire-server',
      },
    ]);
  });

  it('refuses the same cluster twice, and says where', () => {
    expect(problems({ clusters: [cluster('a'), cluster('b'), cluster('a')] })).toEqual([
      'clusters.2.name: cluster a is listed twice',
    ]);
  });

  it('refuses a misspelt setting instead of ignoring it', () => {
    expect(problems({ clusters: [cluster('a', { namepsace: 'spire' })] })).toEqual([
      expect.stringContaining('"namepsace"'),
    ]);
  });

  it.each([
    ['no clusters', { clusters: [] }],
    ['a name that Kubernetes would refuse', { clusters: [cluster('Client_1')] }],
    ['credentials in place of a reference', { clusters: [{ name: 'a', kubeconfig: 'apiVersion: v1' }] }],
    [
      'an endpoint that is not HTTPS',
      { clusters: [cluster('a', { exposure: { type: 'address', url: 'http://a:8443' } })] },
    ],
    [
      'a URL in place of a host',
      { clusters: [cluster('a', { exposure: { type: 'ingress', host: 'https://a.test' } })] },
    ],
    ['a host with a port', { clusters: [cluster('a', { exposure: { type: 'nodePort', host: 'a.test:443' } })] }],
    [
      'a region that could not be part of the name of a task queue',
      { clusters: [cluster('a', { region: 'EU West' })] },
    ],
    ['the region that stands for none', { clusters: [cluster('a', { region: 'default' })] }],
    ['an unknown exposure', { clusters: [cluster('a', { exposure: { type: 'tunnel' } })] }],
  ])('refuses %s', (_case, inventory) => {
    expect(problems(inventory)).not.toEqual([]);
  });
});

describe('what a worker serves', () => {
  it.each([
    [undefined, {}, ['default']],
    [undefined, { SPIRE_FEDERATOR_REGIONS: 'eu, us,eu' }, ['eu', 'us']],
    ['default,eu', { SPIRE_FEDERATOR_REGIONS: 'us' }, ['default', 'eu']],
  ])('is %s with %j: %j', (given, environment, served) => {
    expect(servedRegions(given, environment)).toEqual(served);
  });

  it.each(['EU', 'eu,', 'eu west'])('is not "%s"', (given) => {
    expect(() => servedRegions(given, {})).toThrow(/^Region "[^"]*" of --regions or SPIRE_FEDERATOR_REGIONS must be/);
  });

  it('is waited for a minute, or as long as is said', () => {
    expect(regionPatienceMs({})).toBe(60_000);
    expect(regionPatienceMs({ SPIRE_FEDERATOR_REGION_WAIT_SECONDS: '2.5' })).toBe(2_500);
    expect(() => regionPatienceMs({ SPIRE_FEDERATOR_REGION_WAIT_SECONDS: '0' })).toThrow(/above 0/);
  });
});

describe('the version of a worker', () => {
  const deployment = { SPIRE_FEDERATOR_DEPLOYMENT: 'prod' };

  it('is told of only where a deployment is named', () => {
    expect(deploymentOptions('1.2.3', { SPIRE_FEDERATOR_BUILD_ID: 'abc' })).toBeUndefined();
  });

  it("is the package's, or the one that is given", () => {
    expect(deploymentOptions('1.2.3', deployment)).toEqual({
      version: { deploymentName: 'prod', buildId: '1.2.3' },
      useWorkerVersioning: true,
      defaultVersioningBehavior: 'PINNED',
    });
    expect(deploymentOptions('1.2.3', { ...deployment, SPIRE_FEDERATOR_BUILD_ID: 'abc' })).toMatchObject({
      version: { buildId: 'abc' },
    });
  });

  it('has no dot in the name of its deployment', () => {
    expect(() => deploymentOptions('1.2.3', { SPIRE_FEDERATOR_DEPLOYMENT: 'a.b' })).toThrow(/must not have a dot/);
  });
});

describe('the clusters of a worker', () => {
  let folder: string;
  beforeEach(() => (folder = mkdtempSync(path.join(os.tmpdir(), 'federator-inventory-'))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it.each([
    [undefined, ['a']],
    [['eu'], ['b']],
    [
      ['default', 'eu'],
      ['a', 'b'],
    ],
  ])('are those of the regions that it serves: %j', async (regions, names) => {
    const file = path.join(folder, 'inventory.yaml');
    const listed = [cluster('a'), cluster('b', { region: 'eu' }), cluster('c', { region: 'us' })];
    writeFileSync(file, JSON.stringify({ clusters: listed }));
    expect((await new Clusters(file, undefined, regions).own()).map(({ name }) => name)).toEqual(names);
  });

  it('are let go of when they are not listed any more', async () => {
    const kubeconfig = path.join(folder, 'kubeconfig');
    const named = [{ name: 'x', cluster: { server: 'https://127.0.0.1:1' }, user: { token: 't' } }];
    const contexts = [{ name: 'x', context: { cluster: 'x', user: 'x' } }];
    writeFileSync(
      kubeconfig,
      JSON.stringify({ clusters: named, users: named, contexts, 'current-context': 'x', kind: 'Config' }),
    );
    const listed = ['a', 'b'].map((name) => cluster(name, { kubeconfig: { path: kubeconfig } }));
    const inventory = path.join(folder, 'inventory.yaml');
    const write = (clusters: object[], seconds: number) => {
      writeFileSync(inventory, JSON.stringify({ clusters }));
      utimesSync(inventory, seconds, seconds);
    };
    write(listed, 1_000);
    const clusters = new Clusters(inventory);
    const closed = await Promise.all(
      ['a', 'b'].map(async (name) => jest.spyOn((await clusters.get(name)).watches, 'close')),
    );
    write(listed.slice(0, 1), 2_000);
    await clusters.read();
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed.map((close) => close.mock.calls.length)).toEqual([0, 1]);
  });
});

test('regions are told of every cluster, and of candidates, whose work goes where theirs will', async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'federator-inventory-'));
  try {
    const file = path.join(folder, 'inventory.yaml');
    writeFileSync(file, JSON.stringify({ clusters: [cluster('a'), cluster('b', { region: 'eu' })] }));
    const keys = KeyRing.parse(`k1:${Buffer.alloc(32, 1).toString('base64')}`, 'KEYS');
    const store = new FileStore(path.join(folder, 'store'), keys);
    const { namespace, server } = inventorySchema.parse({ clusters: [cluster('c')] }).clusters[0] ?? {};
    await store.propose({
      entry: { name: 'c', namespace, server, region: 'us' } as ClusterEntry,
      kubeconfig: '',
      by: 'me',
    });
    const activities = regionActivities(new Clusters(file, store));
    expect((await activities.readRegions()).regions).toEqual({ a: null, b: 'eu', 'c (candidate)': 'us' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
