import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { eventually, type ClusterApi, type Resource } from '../../sandbox/kubernetes.js';
import type { ChangeResult } from '../../src/contract/change.js';
import type { Inventory } from '../../src/contract/inventory.js';
import type { VerifyResult } from '../../src/contract/verify.js';
import { adminApi, snapshotCluster, spireServer } from '../support/snapshot.js';
import { Testbed, type CommandResult } from '../support/testbed.js';

/** client-1 has ZTWIM's operator (its stand-in), the others are plain. */
const OPERATED = 'client-1';
const PAIR = [OPERATED, 'server-1'];
const NAMESPACE = 'zero-trust-workload-identity-manager';
const CONFIG_MAP = `/api/v1/namespaces/${NAMESPACE}/configmaps/spire-server`;
const DEPLOYMENT = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/zero-trust-workload-identity-manager-controller-manager`;
const ROUTE = `/apis/route.openshift.io/v1/namespaces/${NAMESPACE}/routes/spire-server-federation`;
const SPIRE_SERVER = '/apis/operator.openshift.io/v1alpha1/spireservers/cluster';
const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/spireservers.operator.openshift.io';
const MINUTE = 60_000;

/** A CustomResourceDefinition, as far as it says what a spec may have. */
interface Definition {
  spec: {
    versions: {
      schema: {
        openAPIV3Schema: {
          properties: { spec: { properties: Record<string, unknown> } };
          'x-kubernetes-validations'?: { rule: string }[];
        };
      };
    }[];
  };
}

let testbed: Testbed;
let admin: ClusterApi;
let inventoryFile: string;
let before: Record<string, unknown>[];

const trustDomain = (cluster: string) => `apps.${cluster}.sandbox.test`;
const snapshot = (clusters = PAIR) =>
  Promise.all(clusters.map((cluster) => snapshotCluster(testbed.directory, cluster)));

function start(name: string, ...args: string[]): Promise<CommandResult> {
  const clusters = name.startsWith('setup') ? ['--clusters', PAIR.join()] : [];
  return testbed.federator('start-workflow', name, ...clusters, ...args, '--json');
}

function succeeded({ code, stdout, stderr }: CommandResult): ChangeResult {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as ChangeResult;
}

async function verify(): Promise<VerifyResult> {
  const { stdout } = await testbed.federator('verify', '--json');
  return JSON.parse(stdout) as VerifyResult;
}

async function wrong(): Promise<string[]> {
  const { checks } = await verify();
  return checks.filter(({ verdict }) => verdict !== 'ok').map(({ scope, name }) => `${scope} ${name}`);
}

async function federation(): Promise<unknown> {
  const { spec } = await admin.request<Resource & { spec: { federation?: unknown } }>(SPIRE_SERVER);
  return spec.federation;
}

async function serverConf(cluster = OPERATED): Promise<{ federation?: Record<string, unknown> }> {
  const api = adminApi(testbed.directory, cluster);
  const { data } = await api.request<Resource & { data: Record<string, string> }>(CONFIG_MAP);
  api.close();
  return (JSON.parse(data['server.conf'] ?? '') as { server: { federation?: Record<string, unknown> } }).server;
}

async function podUid(cluster = OPERATED): Promise<string | undefined> {
  const api = adminApi(testbed.directory, cluster);
  const pod = await api.get(`/api/v1/namespaces/${NAMESPACE}/pods/spire-server-0`);
  api.close();
  return pod?.metadata.uid;
}

function editInventory(edit: (inventory: Inventory) => void): () => void {
  const text = readFileSync(inventoryFile, 'utf8');
  const inventory = parse(text) as Inventory;
  edit(inventory);
  writeFileSync(inventoryFile, stringify(inventory));
  return () => writeFileSync(inventoryFile, text);
}

function said(inventory: Inventory, cluster: string): Inventory['clusters'][number] {
  const found = inventory.clusters.find(({ name }) => name === cluster);
  if (found === undefined) throw new Error(`the inventory has no ${cluster}`);
  return found;
}

/** The manager's environment, as OLM sets it from the Subscription. */
async function setCreateOnly(value: 'true' | 'false'): Promise<void> {
  const env = [
    { name: 'OPERATOR_VERSION', value: '1.0.1' },
    { name: 'CREATE_ONLY_MODE', value },
  ];
  const containers = [{ name: 'manager', image: 'sandbox/operator-stand-in', env }];
  await admin.patch(DEPLOYMENT, { spec: { template: { spec: { containers } } } });
  await available();
}

async function scale(replicas: number): Promise<void> {
  await admin.patch(DEPLOYMENT, { spec: { replicas } });
  if (replicas > 0) await available();
  else {
    await eventually('the operator has no replica', async () => {
      const { status } = await admin.request<Resource & { status: { availableReplicas?: number } }>(DEPLOYMENT);
      if ((status.availableReplicas ?? 0) > 0) throw new Error('it still has one');
    });
  }
}

async function available(): Promise<void> {
  await eventually('the operator is available', async () => {
    const { metadata, status } = await admin.request<
      Resource & {
        metadata: { generation?: number };
        status: { observedGeneration?: number; availableReplicas?: number };
      }
    >(DEPLOYMENT);
    const { generation = 0 } = metadata;
    if ((status.observedGeneration ?? 0) < generation || (status.availableReplicas ?? 0) === 0)
      throw new Error('it is not');
  });
}

beforeAll(async () => {
  testbed = await Testbed.start({ clusters: 3, operators: [OPERATED] });
  inventoryFile = path.join(testbed.directory, 'inventory.yaml');
  admin = adminApi(testbed.directory, OPERATED);
  await available();
  await testbed.startWorker();
  before = await snapshot();
}, 4 * MINUTE);

afterAll(async () => {
  admin.close();
  await testbed.stop();
}, MINUTE);

describe('before anything is changed', () => {
  test(
    'a plan says what will be for good',
    async () => {
      const { planned, steps } = succeeded(await start('setupPair', '--plan', '--no-probe'));
      expect(planned).toBe(true);
      const step = steps.find(({ id }) => id === `patchSpireServer/${OPERATED}`);
      expect(step?.title).toBe(
        `Set spec.federation of SpireServer cluster on ${OPERATED}, which cannot be removed again`,
      );
      expect(step?.details).toEqual([
        'bundleEndpoint: profile https_spiffe, refreshHint 300',
        'managedRoute: "true"',
        expect.stringMatching(/^for good: .*spec\.federation .*after a teardown the bundle endpoint stays/),
        expect.stringMatching(/^for good: bundleEndpoint\.profile https_spiffe/),
        expect.stringContaining(`Route spire-server-federation, host federation.${trustDomain(OPERATED)}`),
      ]);
      expect(steps.map(({ id }) => id)).not.toContain(`editServerConf/${OPERATED}`);
      expect(await snapshot()).toEqual(before);
    },
    MINUTE,
  );

  test.each<{ name: string; make: () => Promise<() => unknown>; says: RegExp }>([
    {
      name: 'server.conf edited where the operator reverts it',
      make: async () =>
        editInventory((inventory) => Object.assign(said(inventory, OPERATED), { control: 'configMap' })),
      says: /client-1: the inventory says control: configMap, but the operator .* reverts every edit of it\. .*CREATE_ONLY_MODE=true/,
    },
    {
      name: 'an operator where there is none',
      make: async () =>
        editInventory((inventory) => Object.assign(said(inventory, 'server-1'), { control: 'operator' })),
      says: /server-1: the inventory says control: operator, but there is no SpireServer cluster/,
    },
    {
      name: 'an unknown control',
      make: async () => editInventory((inventory) => Object.assign(said(inventory, OPERATED), { control: 'helm' })),
      says: /clusters\.0\.control/,
    },
    {
      name: 'an operator in create-only mode that is told to act',
      make: async () => {
        const restore = editInventory((inventory) => Object.assign(said(inventory, OPERATED), { control: 'operator' }));
        await setCreateOnly('true');
        return async () => {
          restore();
          await setCreateOnly('false');
        };
      },
      says: /client-1: .*control: operator, but the operator is in create-only mode \(env CREATE_ONLY_MODE=true of Deployment/,
    },
    {
      name: 'an operator that does not run',
      make: async () => {
        await scale(0);
        return () => scale(1);
      },
      says: /client-1: the operator does not run: Deployment .* has no available replica/,
    },
    {
      name: 'an operator that knows no federation',
      make: async () => {
        const crd = await admin.request<Resource>(CRD);
        const older = structuredClone(crd) as Resource & Definition;
        for (const { schema } of older.spec.versions) {
          const { openAPIV3Schema: whole } = schema;
          delete whole.properties.spec.properties['federation'];
          // The API server refuses rules about what is not there.
          const rules = whole['x-kubernetes-validations'] ?? [];
          whole['x-kubernetes-validations'] = rules.filter(({ rule }) => !rule.includes('federation'));
        }
        await admin.request(CRD, { method: 'PUT', body: older });
        return async () => {
          const { metadata } = await admin.request<Resource>(CRD);
          const { resourceVersion = '' } = metadata;
          await admin.request(CRD, { method: 'PUT', body: { ...crd, metadata: { ...crd.metadata, resourceVersion } } });
          await eventually('the API server knows spec.federation again', async () => {
            const patched = await admin.request<Resource & { spec: { federation?: object } }>(
              `${SPIRE_SERVER}?dryRun=All`,
              {
                method: 'PATCH',
                contentType: 'application/merge-patch+json',
                body: { spec: { federation: { bundleEndpoint: {} } } },
              },
            );
            if (patched.spec.federation === undefined) throw new Error('it does not');
          });
        };
      },
      says: /client-1: SpireServer knows no spec\.federation .*older than 1\.0\. Upgrade it/,
    },
  ])(
    '$name: a clear message, and nothing changed',
    async ({ make, says }) => {
      const restore = await make();
      try {
        const { code, stdout, stderr } = await start('setupPair', '--no-probe');
        expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
        expect(stderr).toMatch(says);
        expect(stderr).not.toMatch(/^\s+at /m);
      } finally {
        await restore();
      }
      expect(await federation()).toBeUndefined();
      expect(await serverConf()).not.toHaveProperty('federation');
    },
    2 * MINUTE,
  );
});

describe('a pair of an operated and a plain cluster', () => {
  let result: ChangeResult;
  beforeAll(async () => {
    // The cases above had the operator restarted and its kind changed.
    before = await snapshot();
    result = succeeded(await start('setupPair'));
  }, 3 * MINUTE);

  test('is federated and speaks mTLS; SpireServer was patched once, without peers', async () => {
    expect(result.members.map(({ cluster, restarted, endpointUrl }) => ({ cluster, restarted, endpointUrl }))).toEqual([
      { cluster: OPERATED, restarted: true, endpointUrl: `https://federation.${trustDomain(OPERATED)}` },
      {
        cluster: 'server-1',
        restarted: true,
        endpointUrl: `https://spire-server-federation-${NAMESPACE}.${trustDomain('server-1')}`,
      },
    ]);
    expect(result.probes.map(({ ok }) => ok)).toEqual([true, true, true, true]);
    expect(await federation()).toEqual({
      bundleEndpoint: { profile: 'https_spiffe', refreshHint: 300 },
      managedRoute: 'true',
    });
    const { federates_with: peers } = (await serverConf('server-1')).federation ?? {};
    expect(peers).toMatchObject({
      [trustDomain(OPERATED)]: { bundle_endpoint_url: `https://federation.${trustDomain(OPERATED)}` },
    });
    const route = await admin.request<Resource>(ROUTE);
    expect(route.metadata.labels).toMatchObject({
      'app.kubernetes.io/managed-by': 'zero-trust-workload-identity-manager',
    });
  });

  test('verify finds all well, and says how each is controlled', async () => {
    const { verdict, checks } = await verify();
    expect({ verdict, wrong: checks.filter((check) => check.verdict !== 'ok') }).toEqual({ verdict: 'ok', wrong: [] });
    const named = checks.filter(({ scope }) => scope === OPERATED).map(({ name }) => name);
    expect(named).toEqual(['cluster', 'managed-route', 'spire-server', 'rendering', 'endpoint']);
    expect(checks.find(({ scope }) => scope === OPERATED)?.evidence).toMatch(
      /control operator \(SpireServer cluster owns ConfigMap spire-server, and its operator is not in create-only mode\)/,
    );
  });

  test(
    'a second run changes nothing, and neither does a file that says nothing of relationships',
    async () => {
      const finished = await snapshot();
      expect(succeeded(await start('setupPair')).changed).toBe(false);
      const file = path.join(testbed.directory, 'federation.yaml');
      writeFileSync(file, stringify({ federation: 'default', clusters: PAIR }));
      expect(succeeded(await testbed.federator('apply', '-f', file, '--json')).changed).toBe(false);
      expect(await snapshot()).toEqual(finished);
    },
    MINUTE,
  );

  test('an edit of the ConfigMap is reverted by the operator', async () => {
    const { data } = await admin.request<Resource & { data: Record<string, string> }>(CONFIG_MAP);
    await admin.patch(CONFIG_MAP, { data: { 'server.conf': (data['server.conf'] ?? '').replace('300s', '777s') } });
    await eventually('the edit is reverted', async () => {
      const now = await admin.request<Resource & { data: Record<string, string> }>(CONFIG_MAP);
      if (now.data['server.conf'] !== data['server.conf']) throw new Error('it is still there');
    });
  });

  test(
    'verify finds what somebody switched off, and setupPair mends it',
    async () => {
      await admin.patch(SPIRE_SERVER, { spec: { federation: { managedRoute: 'false' } } });
      await admin.delete(ROUTE);
      expect(await wrong()).toEqual(
        expect.arrayContaining([`${OPERATED} managed-route`, `${OPERATED} spire-server`, `${OPERATED} endpoint`]),
      );
      const pod = await podUid();
      expect(succeeded(await start('setupPair', '--no-probe')).changed).toBe(true);
      expect(await wrong()).toEqual([]);
      // The Route is no matter of server.conf.
      expect(await podUid()).toBe(pod);
    },
    2 * MINUTE,
  );

  test(
    'one more cluster comes and goes without a restart of the operated one',
    async () => {
      const pod = await podUid();
      const added = succeeded(await start('addCluster', '--cluster', 'edge-1', '--no-probe'));
      expect(added.members.map(({ cluster, restarted }) => ({ cluster, restarted }))).toEqual([
        { cluster: OPERATED, restarted: false },
        { cluster: 'server-1', restarted: true },
        { cluster: 'edge-1', restarted: true },
      ]);
      expect(await wrong()).toEqual([]);
      succeeded(await start('removeCluster', 'edge-1'));
      expect(await wrong()).toEqual([]);
      expect(await podUid()).toBe(pod);
      expect(await spireServer(testbed.directory, OPERATED, 'bundle', 'list', '-format', 'spiffe')).not.toContain(
        trustDomain('edge-1'),
      );
    },
    3 * MINUTE,
  );

  test(
    'static relationships stand in federatesWith, and leave it whole again',
    async () => {
      const pod = await podUid();
      const { steps } = succeeded(await start('setupPair', '--relationships', 'static', '--no-probe'));
      expect(steps.find(({ id }) => id === `patchSpireServer/${OPERATED}`)?.details).toEqual([
        `federatesWith lacks ${trustDomain('server-1')}`,
      ]);
      const url = `https://spire-server-federation-${NAMESPACE}.${trustDomain('server-1')}`;
      expect(await federation()).toMatchObject({
        federatesWith: [
          {
            trustDomain: trustDomain('server-1'),
            bundleEndpointUrl: url,
            bundleEndpointProfile: 'https_spiffe',
            endpointSpiffeId: `spiffe://${trustDomain('server-1')}/spire/server`,
          },
        ],
      });
      expect(await podUid()).not.toBe(pod);
      expect(Object.keys((await serverConf()).federation?.['federates_with'] as object)).toEqual([
        trustDomain('server-1'),
      ]);
      expect(await wrong()).toEqual([]);
      expect(succeeded(await start('setupPair', '--no-probe')).changed).toBe(false);
    },
    3 * MINUTE,
  );

  test(
    'teardown puts back what the operator allows, and says what stays',
    async () => {
      const { notes } = succeeded(await testbed.federator('teardown', '--json'));
      const stays = [
        expect.stringMatching(
          new RegExp(
            `^SpireServer cluster on ${OPERATED} keeps spec\\.federation .*stays exposed at https://federation\\.${trustDomain(OPERATED)}; .*managedRoute: "false"`,
          ),
        ),
      ];
      expect(notes).toEqual(stays);
      expect(await federation()).toEqual({
        bundleEndpoint: { profile: 'https_spiffe', refreshHint: 300 },
        managedRoute: 'true',
      });
      const [operated = {}, plain] = await snapshot();
      expect(plain).toEqual(before[1]);
      const changed = Object.keys({ ...operated, ...before[0] }).filter(
        (key) => JSON.stringify(operated[key]) !== JSON.stringify(before[0]?.[key]),
      );
      expect(changed.map((key) => key.split(' ')[0]?.split('/').at(-1)).sort()).toEqual([
        'configmaps',
        'pods',
        'routes',
        'services',
        'spireservers',
        'statefulsets',
      ]);
      const server = await admin.request<Resource>(SPIRE_SERVER);
      expect(server.metadata.annotations ?? {}).toEqual({});
      expect(succeeded(await testbed.federator('teardown', '--json')).steps).toEqual([]);
    },
    2 * MINUTE,
  );
});

test(
  'a change that fails is undone: SpireServer as it was found, and the server with it',
  async () => {
    const found = await snapshot();
    await testbed.addFault({ kind: 'cut', from: 'engine', to: OPERATED });
    const { code, stderr } = await start(
      'setupPair',
      '--relationships',
      'static',
      '--refresh-hint',
      '60',
      '--no-probe',
      '--endpoint-timeout',
      '3',
      '--attempts',
      '1',
    );
    await testbed.heal();
    expect(code).toBe(1);
    expect(stderr).toContain('Every cluster is as it was before.');
    expect(await snapshot()).toEqual(found);
  },
  3 * MINUTE,
);

test(
  'in create-only mode server.conf is edited, with a warning; leaving the mode overwrites it',
  async () => {
    await setCreateOnly('true');
    const { steps } = succeeded(await start('setupPair', '--refresh-hint', '120', '--no-probe'));
    const edit = steps.find(({ id }) => id === `editServerConf/${OPERATED}`);
    expect(edit?.details?.at(-1)).toMatch(/create-only mode \(env CREATE_ONLY_MODE=true .*overwrites this edit/);
    expect((await serverConf()).federation).toMatchObject({
      bundle_endpoint: { refresh_hint: '120s' },
      federates_with: {},
    });
    expect(await wrong()).toEqual([]);
    await setCreateOnly('false');
    await eventually('the operator has overwritten server.conf', async () => {
      if ((await serverConf()).federation?.['federates_with'] !== undefined) throw new Error('it has not');
    });
    // The operator rendered its own hint, 300, again: another one has to be patched.
    const mended = succeeded(await start('setupPair', '--refresh-hint', '120', '--no-probe'));
    expect(mended.steps.find(({ id }) => id === `patchSpireServer/${OPERATED}`)?.action).toBe('change');
    expect(await wrong()).toEqual([]);
    succeeded(await testbed.federator('teardown', '--json'));
    expect((await snapshot())[1]).toEqual(before[1]);
    // What the engine noted on server.conf in create-only mode makes nobody a member now.
    expect(succeeded(await testbed.federator('teardown', '--json')).steps).toEqual([]);
  },
  4 * MINUTE,
);
