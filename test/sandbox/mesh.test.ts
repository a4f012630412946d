import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parse, parseAllDocuments, stringify } from 'yaml';
import type { Resource } from '../../sandbox/kubernetes.js';
import type { ChangeResult } from '../../src/contract/change.js';
import type { VerifyResult } from '../../src/contract/verify.js';
import type { ShowWorkloadResult } from '../../src/contract/workload.js';
import { bundleKeyIds, parseBundle } from '../../src/spire/bundle.js';
import { parseBundleList } from '../support/bundleList.js';
import { MtlsWatch } from '../support/mtlsWatch.js';
import { adminApi, snapshotCluster, spireServer } from '../support/snapshot.js';
import { line, Testbed, type CommandResult } from '../support/testbed.js';
import { eventually } from '../support/spireTrustDomain.js';

const CLUSTERS = ['client-1', 'server-1', 'edge-1'];
const PAIR = ['client-1', 'server-1'];
/** As examples/federation.yaml has it. */
const FEDERATION = 'demo';
const MINUTE = 60_000;
/** For a machine that is busy with something else. */
const LIMIT = 8 * MINUTE;
const CFTDS = '/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains';
const IDENTITIES = '/apis/spire.spiffe.io/v1alpha1/clusterspiffeids';

/** An event of a workflow's history, as far as it is looked at. */
interface HistoryEvent {
  eventId: string;
  activityTaskScheduledEventAttributes?: { activityType: { name: string } };
  activityTaskFailedEventAttributes?: { scheduledEventId: string };
}

let testbed: Testbed;
let worker: ChildProcess;
let before: Record<string, unknown>[];
let folder: string;

const trustDomain = (cluster: string) => `apps.${cluster}.sandbox.test`;
const others = (cluster: string) => CLUSTERS.filter((each) => each !== cluster);
const snapshot = (clusters = CLUSTERS) =>
  Promise.all(clusters.map((cluster) => snapshotCluster(testbed.directory, cluster)));
const start = (name: string, ...args: string[]) =>
  testbed.federator('start-workflow', name, '--federation', FEDERATION, ...args, '--json');

const probe = (...args: string[]) => testbed.federator('probe', '--federation', FEDERATION, ...args, '--json');

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

/** By the clusters' own words, and not the engine's: who trusts whom, and whose keys are stored where. */
async function expectMesh(members: readonly string[]): Promise<void> {
  const own = new Map(
    await Promise.all(
      members.map(async (cluster) => {
        const text = await spireServer(testbed.directory, cluster, 'bundle', 'show', '-format', 'spiffe');
        return [cluster, bundleKeyIds(parseBundle(text))] as const;
      }),
    ),
  );
  for (const cluster of members) {
    const peers = members.filter((each) => each !== cluster);
    const list = await spireServer(testbed.directory, cluster, 'bundle', 'list', '-format', 'spiffe');
    const stored = Object.fromEntries([...parseBundleList(list)].map(([domain, each]) => [domain, bundleKeyIds(each)]));
    expect(stored).toEqual(Object.fromEntries(peers.map((peer) => [trustDomain(peer), own.get(peer)])));
    const relationships = await withAdmin(cluster, (api) => api.request<{ items: Resource[] }>(CFTDS));
    expect(relationships.items.map(({ metadata }) => metadata.name).sort()).toEqual(peers.map(trustDomain).sort());
  }
}

/** Changes the clusters of the inventory and returns how to change them back. */
function withInventory(change: (clusters: { name: string }[]) => unknown): Promise<() => Promise<void>> {
  const file = path.join(testbed.directory, 'inventory.yaml');
  const text = readFileSync(file, 'utf8');
  const inventory = parse(text) as { clusters: { name: string }[] };
  change(inventory.clusters);
  writeFileSync(file, stringify(inventory));
  return Promise.resolve(() => Promise.resolve(writeFileSync(file, text)));
}

/** Names of the activities of the running change that failed at least once and were given up. */
async function failedActivities(): Promise<(string | undefined)[]> {
  const shown = await testbed.temporal(
    ...['workflow', 'show', '-w', `federation/${FEDERATION}/change`, '--output', 'json'],
  );
  const { events } = JSON.parse(shown) as { events: HistoryEvent[] };
  const scheduled = new Map(
    events.map((event) => [event.eventId, event.activityTaskScheduledEventAttributes?.activityType.name]),
  );
  return events.flatMap(({ activityTaskFailedEventAttributes: failed }) =>
    failed === undefined ? [] : [scheduled.get(failed.scheduledEventId)],
  );
}

async function expectHealthy(): Promise<void> {
  const { code, stdout } = await testbed.federator('verify', '--federation', FEDERATION, '--json');
  const { checks } = JSON.parse(stdout) as VerifyResult;
  expect({ code, wrong: checks.filter(({ verdict }) => verdict !== 'ok') }).toEqual({ code: 0, wrong: [] });
}

function federationFile(content: Record<string, unknown>): string {
  const file = path.join(folder, 'federation.yaml');
  writeFileSync(file, stringify({ federation: FEDERATION, ...content }));
  return file;
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'federation-'));
  testbed = await Testbed.start({ clusters: 3 });
  before = await snapshot();
  worker = await testbed.startWorker();
}, 3 * MINUTE);

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await testbed.stop();
}, MINUTE);

describe('a third cluster', () => {
  let pair: Record<string, unknown>[];

  test(
    'comes in by a bare addCluster, one restart after another, while the two that are federated keep speaking mTLS',
    async () => {
      succeeded(await start('setupPair', '--clusters', PAIR.join(), '--no-probe'));
      pair = await snapshot(PAIR);
      const watch = await MtlsWatch.start(testbed.directory, 'client-1', 'server-1');
      const result = succeeded(await start('addCluster', '--no-probe'));
      const { handshakes, refused } = await watch.stop();
      expect({ refused }).toEqual({ refused: [] });
      expect(handshakes).toBeGreaterThan(3);
      expect(result.members.map(({ cluster, restarted }) => ({ cluster, restarted }))).toEqual(
        CLUSTERS.map((cluster) => ({ cluster, restarted: true })),
      );
      await expectMesh(CLUSTERS);
      await expectHealthy();
    },
    LIMIT,
  );

  test(
    'is there when addCluster is run again: nothing changes',
    async () => {
      expect(succeeded(await start('addCluster', '--cluster', 'edge-1')).changed).toBe(false);
      const bare = await start('addCluster');
      expect({ code: bare.code, said: bare.stderr }).toEqual({
        code: 1,
        said: expect.stringMatching(/Every cluster of the inventory is a member/) as string,
      });
    },
    LIMIT,
  );

  test(
    'a setupPair of two of them leaves the third alone',
    async () => {
      const mesh = await snapshot();
      expect(succeeded(await start('setupPair', '--clusters', PAIR.join(), '--no-probe')).changed).toBe(false);
      expect(await snapshot()).toEqual(mesh);
    },
    LIMIT,
  );

  test(
    'leaves by removeCluster: the others are the pair they were, and it is what it was before',
    async () => {
      expect(succeeded(await start('removeCluster', 'edge-1')).changed).toBe(true);
      expect(await snapshot(['edge-1'])).toEqual(before.slice(2));
      await expectMesh(PAIR);
      await expectHealthy();
      expect(await snapshot(PAIR)).toEqual(pair);
    },
    LIMIT,
  );

  // Every step gets its turn in test/reliability/meshFaultAtEachStep.test.ts.
  test.each(['rolloutServer/server-1', 'probe/client-1→edge-1'])(
    'that cannot be added because of a failure at %s leaves no trace',
    async (step) => {
      await testbed.stopWorker(worker);
      const faulty = await testbed.startWorker({ step, mode: 'fail' });
      const { code, stderr } = await start('addCluster');
      await testbed.stopWorker(faulty);
      worker = await testbed.startWorker();
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('as it was before') as string });
      expect(await snapshot(['edge-1'])).toEqual(before.slice(2));
      expect(await snapshot(PAIR)).toEqual(pair);
    },
    LIMIT,
  );

  test(
    'whose addition is cancelled leaves no trace',
    async () => {
      await testbed.stopWorker(worker);
      const faulty = await testbed.startWorker({ step: 'rolloutServer/server-1', mode: 'hang' });
      const change = testbed.startFederator('start-workflow', 'addCluster', '--federation', FEDERATION);
      const ended = new Promise((resolve) => change.once('exit', resolve));
      await line(faulty.stdout, /^FAULT/);
      const conflict = await start('removeCluster', 'server-1');
      expect(conflict.stderr).toMatch(/Another change of federation demo is running \(addCluster.*http:/);
      expect((await testbed.federator('cancel', FEDERATION)).code).toBe(0);
      expect(await ended).toBe(1);
      await testbed.stopWorker(faulty);
      worker = await testbed.startWorker();
      expect(await snapshot(['edge-1'])).toEqual(before.slice(2));
      expect(await snapshot(PAIR)).toEqual(pair);
    },
    LIMIT,
  );

  const REFUSED: { name: string; make: () => Promise<() => Promise<unknown>>; cluster?: string; says: RegExp[] }[] = [
    {
      name: 'whose trust domain is taken',
      make: () => withInventory((clusters) => clusters.push({ ...clusters[0], name: 'twin' })),
      cluster: 'twin',
      says: [/(twin and client-1|client-1 and twin) have the same trust domain apps\.client-1\.sandbox\.test/],
    },
    {
      name: 'that is listed with another class than its SPIRE controller manager watches',
      make: () =>
        withInventory((clusters) => {
          Object.assign(clusters.find(({ name }) => name === 'edge-1') ?? {}, { className: 'spire' });
        }),
      says: [
        /edge-1: the inventory says className spire, but SPIRE controller manager watches \S+: .*Correct or remove/,
      ],
    },
    {
      name: 'for whose trust domain members have older relationships of somebody else',
      make: async () => {
        const of = (cluster: string): Resource => ({
          apiVersion: 'spire.spiffe.io/v1alpha1',
          kind: 'ClusterFederatedTrustDomain',
          metadata: { name: `theirs-${cluster}` },
          spec: {
            className: 'zero-trust-workload-identity-manager-spire',
            trustDomain: trustDomain('edge-1'),
            bundleEndpointURL: 'https://elsewhere.test',
            bundleEndpointProfile: { type: 'https_web' },
          },
        });
        const each = (use: (api: ReturnType<typeof adminApi>, cluster: string) => Promise<unknown>) =>
          Promise.all(PAIR.map((cluster) => withAdmin(cluster, (api) => use(api, cluster))));
        await each((api, cluster) => api.apply(of(cluster)));
        return () => each((api, cluster) => api.deleteObject(of(cluster)));
      },
      says: [
        /2 things stand in the way; nothing was changed/,
        ...PAIR.map(
          (cluster) =>
            new RegExp(
              `${cluster}: .*theirs-${cluster} for apps.edge-1.sandbox.test was not made by spire-federator, and .*The oldest one wins .*: correct or delete it`,
            ),
        ),
      ],
    },
  ];

  test.each(REFUSED)(
    '$name is refused with the reason and the remedy, and nothing is changed',
    async ({ make, cluster = 'edge-1', says }) => {
      const mend = await make();
      try {
        const { code, stdout, stderr } = await start('addCluster', '--cluster', cluster);
        expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
        for (const pattern of says) expect(stderr).toMatch(pattern);
        expect(stderr).not.toMatch(/^\s+at /m);
      } finally {
        await mend();
      }
      // SPIRE controller manager takes a moment to forget a relationship.
      await eventually(async () => expect(await snapshot()).toEqual([...pair, ...before.slice(2)]), 180_000);
    },
    LIMIT,
  );

  test(
    'whose addition meets a member that can no longer be reached leaves no trace once that is back',
    async () => {
      const change = testbed.startFederator(
        ...['start-workflow', 'addCluster', '--federation', FEDERATION, '--no-probe', '--attempts', '1'],
        // Seconds after which a server that is not heard of has failed to restart.
        ...['--rollout-timeout', '45'],
      );
      let stderr = '';
      change.stderr?.on('data', (chunk) => (stderr += String(chunk)));
      const ended = new Promise<number | null>((resolve) => change.once('exit', resolve));
      await line(change.stderr, /Edit server\.conf in ConfigMap spire-server on server-1/);
      await testbed.addFault({ kind: 'api-down', cluster: 'server-1' });
      try {
        await eventually(async () => expect(await failedActivities()).toContain('restoreServer'), 5 * MINUTE);
        await eventually(
          async () => expect(await snapshot(['client-1', 'edge-1'])).toEqual([pair[0], before[2]]),
          5 * MINUTE,
        );
        expect(change.exitCode).toBeNull();
      } finally {
        await testbed.heal();
      }
      expect(await ended).toBe(1);
      expect(stderr).toMatch(/server-1: .*cannot be reached/);
      expect(stderr).toContain('Every cluster is as it was before.');
      expect(await snapshot()).toEqual([...pair, ...before.slice(2)]);
      await expectHealthy();
    },
    2 * LIMIT,
  );

  test(
    'that is gone for good is forgotten by the others, and what would be left to do there is said',
    async () => {
      succeeded(await start('addCluster', '--no-probe'));
      await testbed.addFault({ kind: 'api-down', cluster: 'edge-1' });
      try {
        const stuck = await start('removeCluster', 'edge-1');
        expect({ code: stuck.code, said: stuck.stderr }).toEqual({
          code: 1,
          said: expect.stringMatching(/edge-1: .*cannot be reached/) as string,
        });
        const { notes } = succeeded(await start('removeCluster', 'edge-1', '--unreachable'));
        expect(notes?.[0]).toMatch(/^edge-1 \(apps\.edge-1\.sandbox\.test\) was not touched/);
      } finally {
        await testbed.heal();
      }
      await expectMesh(PAIR);
      expect(await snapshot(PAIR)).toEqual(pair);
      succeeded(await start('teardown', '--clusters', 'edge-1'));
      expect(await snapshot(['edge-1'])).toEqual(before.slice(2));
    },
    LIMIT,
  );

  test(
    'with dynamic relationships restarts nobody but itself',
    async () => {
      succeeded(await start('teardown'));
      succeeded(await start('setupMesh', '--clusters', PAIR.join(), '--relationships', 'dynamic', '--no-probe'));
      const { members, probes } = succeeded(await start('addCluster'));
      expect(members.map(({ restarted }) => restarted)).toEqual([false, false, true]);
      expect(probes.filter(({ ok }) => !ok)).toEqual([]);
      expect(new Set(probes.map(({ from, to }) => `${from} ${to}`))).toEqual(
        new Set(PAIR.flatMap((cluster) => [`${cluster} edge-1`, `edge-1 ${cluster}`])),
      );
      await expectMesh(CLUSTERS);
      succeeded(await start('teardown'));
      expect(await snapshot()).toEqual(before);
    },
    LIMIT,
  );
});

describe('a federation file', () => {
  test(
    'is planned as a diff, applied, and has nothing to do the second time',
    async () => {
      const file = federationFile({ clusters: CLUSTERS, policies: [{ type: 'universal' }, { type: 'label' }] });
      const plan = await testbed.federator('plan', '-f', file);
      expect(plan.code).toBe(0);
      expect(plan.stdout).toMatch(/\+ create {2}Apply Route spire-server-federation on edge-1/);
      expect(plan.stdout).toMatch(/all-workloads-auto-federated: federates with apps\.client-1/);
      expect(await snapshot()).toEqual(before);
      expect(succeeded(await testbed.federator('apply', '-f', file, '--no-probe', '--json')).changed).toBe(true);
      // SPIRE controller manager may still be at the entries of pods that came back meanwhile.
      await eventually(async () => {
        const applied = await snapshot();
        expect(succeeded(await testbed.federator('apply', '-f', file, '--no-probe', '--json')).changed).toBe(false);
        expect(await snapshot()).toEqual(applied);
      }, MINUTE);
      await expectMesh(CLUSTERS);
      await expectHealthy();
    },
    LIMIT,
  );

  test(
    'gives every workload the other trust domains and never its own',
    async () => {
      for (const cluster of CLUSTERS) {
        const { spec } = (await withAdmin(cluster, (api) =>
          api.get(`${IDENTITIES}/all-workloads-auto-federated`),
        )) as unknown as { spec: { federatesWith: string[]; className: string } };
        expect(spec.federatesWith).toEqual(others(cluster).map(trustDomain).sort());
        expect(spec.className).toBe('zero-trust-workload-identity-manager-spire');
        await withAdmin(cluster, async (api) => {
          await api.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'my-app' } });
          await api.apply({
            apiVersion: 'v1',
            kind: 'Pod',
            metadata: { name: 'app', namespace: 'my-app' },
            spec: { containers: [{ name: 'app', image: 'nginx' }] },
          });
        });
        await eventually(async () => {
          const id = `spiffe://${trustDomain(cluster)}/ns/my-app/sa/default`;
          const shown = await spireServer(
            testbed.directory,
            cluster,
            'entry',
            'show',
            '-spiffeID',
            id,
            '-output',
            'json',
          );
          const { entries = [] } = JSON.parse(shown) as { entries?: { federates_with?: string[] }[] };
          expect(entries.map((entry) => entry.federates_with?.sort())).toEqual([
            others(cluster).map(trustDomain).sort(),
          ]);
        });
      }
    },
    LIMIT,
  );

  test(
    'workload show leads an identity back to its policy, by pod, by UID and by SPIFFE ID',
    async () => {
      const id = `spiffe://${trustDomain('client-1')}/ns/my-app/sa/default`;
      const show = async (...args: string[]) => {
        const { code, stdout } = await testbed.federator('workload', 'show', ...args, '--json');
        return { code, reports: (JSON.parse(stdout) as ShowWorkloadResult).reports };
      };
      const byName = await show('my-app/app', '--cluster', 'client-1');
      expect(byName).toMatchObject({
        code: 0,
        reports: [
          {
            cluster: 'client-1',
            entries: [{ spiffeId: id, from: 'all-workloads-auto-federated' }],
            findings: [{ evidence: expect.stringMatching(/mounts no csi\.spiffe\.io volume/) as string }],
          },
        ],
      });
      expect((await show('my-app/app')).reports.map(({ cluster }) => cluster).sort()).toEqual([...CLUSTERS].sort());
      expect((await show(byName.reports[0]?.pod.uid ?? '')).reports).toEqual(byName.reports);
      expect((await show(id)).reports).toEqual(byName.reports);
      const unknown = await testbed.federator('workload', 'show', 'my-app/nobody');
      expect({ code: unknown.code, said: unknown.stderr }).toEqual({
        code: 1,
        said: expect.stringMatching(/There is no workload my-app\/nobody on client-1, server-1, edge-1\./) as string,
      });
    },
    LIMIT,
  );

  test.each([
    { file: 'frontend', cluster: 'client-1', path: '/ns/my-app/sa/frontend', pods: 1 },
    { file: 'backend', cluster: 'edge-1', path: '/ns/my-app/sa/backend', pods: 1 },
    { file: 'api-server', cluster: 'client-1', path: '/ns/production/sa/api-server', pods: 2 },
    { file: 'database', cluster: 'server-1', path: '/ns/production/sa/database', pods: 1 },
  ])(
    'gives examples/$file.yaml the identity that it promises',
    async ({ file, cluster, path: idPath, pods }) => {
      const text = readFileSync(path.join(__dirname, '../../examples', `${file}.yaml`), 'utf8');
      const objects = parseAllDocuments(text).map((document) => document.toJS() as Resource);
      await withAdmin(cluster, async (api) => {
        for (const object of objects) await api.apply(object);
      });
      const id = `spiffe://${trustDomain(cluster)}${idPath}`;
      await eventually(async () => {
        const { stdout } = await testbed.federator('workload', 'show', id, '--cluster', cluster, '--json');
        const { reports } = JSON.parse(stdout) as ShowWorkloadResult;
        expect(reports).toHaveLength(pods);
        for (const { entries, findings } of reports) {
          expect(entries.map(({ spiffeId, from }) => ({ spiffeId, from }))).toEqual([
            { spiffeId: id, from: 'all-workloads-auto-federated' },
          ]);
          expect(entries[0]?.federatesWith.sort()).toEqual(others(cluster).map(trustDomain).sort());
          expect(findings).toEqual([]);
        }
      }, 180_000);
      await withAdmin(cluster, async (api) => {
        for (const object of objects.reverse()) {
          if (object.kind !== 'Namespace') await api.deleteObject(object);
        }
      });
    },
    LIMIT,
  );

  test(
    'gives workloads the identities that examples/istio.yaml and cert-manager.yaml count on',
    async () => {
      const example = (file: string) =>
        parseAllDocuments(readFileSync(path.join(__dirname, '../../examples', file), 'utf8')).map(
          (document) => document.toJS() as Resource & { spec: Record<string, unknown> },
        );
      const istio = example('istio.yaml')[0]?.spec as {
        meshConfig: { trustDomain: string };
        values: { sidecarInjectorWebhook: { templates: { spire: string } } };
      };
      expect(istio.meshConfig.trustDomain).toBe(trustDomain('client-1'));
      // As Istio's injector puts it into a pod, with an image.
      const injected = parse(istio.values.sidecarInjectorWebhook.templates.spire) as {
        spec: { containers: object[]; volumes: object[] };
      };
      const spec = {
        ...injected.spec,
        containers: injected.spec.containers.map((each) => ({ ...each, image: 'istio' })),
      };
      const certificate = example('cert-manager.yaml').find(({ kind }) => kind === 'Certificate');
      const [uri = ''] = certificate?.spec['uris'] as string[];
      const namespace = certificate?.metadata.namespace ?? '';
      const serviceAccountName = uri.split('/').at(-1) ?? '';
      const pods: Resource[] = [
        { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'meshed', namespace: 'my-app' }, ...{ spec } },
        {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: 'my-service', namespace },
          ...{ spec: { ...spec, serviceAccountName } },
        },
      ];
      await withAdmin('client-1', async (api) => {
        await api.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
        await api.apply({
          apiVersion: 'v1',
          kind: 'ServiceAccount',
          metadata: { name: serviceAccountName, namespace },
        });
        for (const pod of pods) await api.apply(pod);
      });
      for (const [workload, id] of [
        ['my-app/meshed', `spiffe://${trustDomain('client-1')}/ns/my-app/sa/default`],
        [`${namespace}/my-service`, uri],
      ] as const) {
        await eventually(async () => {
          const { stdout } = await testbed.federator('workload', 'show', workload, '--cluster', 'client-1', '--json');
          const { reports } = JSON.parse(stdout) as ShowWorkloadResult;
          const seen = reports.map(({ entries, findings }) => ({
            ids: entries.map(({ spiffeId }) => spiffeId),
            findings,
          }));
          expect(seen).toEqual([{ ids: [id], findings: [] }]);
        }, 180_000);
      }
      await withAdmin('client-1', async (api) => {
        for (const pod of pods) await api.deleteObject(pod);
      });
    },
    LIMIT,
  );

  test(
    'workload show sees the SVID and the bundles that a workload holds, where the account may look',
    async () => {
      const workload = (name: string, image: string): Resource => ({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace: 'my-app' },
        spec: {
          containers: [
            {
              name: 'app',
              image,
              // Any port: on all addresses at 8443 it would be in the way of the bundle endpoints.
              args: ['serve', '--listen', '127.0.0.1:0'],
              env: [{ name: 'SPIFFE_ENDPOINT_SOCKET', value: 'unix:///spiffe-workload-api/spire-agent.sock' }],
              volumeMounts: [{ name: 'spiffe', mountPath: '/spiffe-workload-api', readOnly: true }],
            },
          ],
          volumes: [{ name: 'spiffe', csi: { driver: 'csi.spiffe.io', readOnly: true } }],
        },
      });
      const pods = [workload('files', 'nginx'), workload('probe', 'spire-federator/probe:0.1.0')];
      const show = async (name: string) => {
        const { stdout } = await testbed.federator(
          'workload',
          'show',
          `my-app/${name}`,
          '--cluster',
          'client-1',
          '--json',
        );
        const [report] = (JSON.parse(stdout) as ShowWorkloadResult).reports;
        if (report === undefined) throw new Error('no report');
        return report;
      };
      await withAdmin('client-1', async (api) => {
        for (const pod of pods) await api.apply(pod);
      });
      await eventually(async () => expect((await show('files')).entries).toHaveLength(1), 180_000);
      const closed = await show('files');
      expect(closed.pod.held).toEqual({
        unread: expect.stringMatching(/may not exec into pods of namespace my-app.* create rolebinding/) as string,
      });
      expect(closed.trust.map(({ trustDomain, stored }) => [trustDomain, stored?.present === stored?.of])).toEqual(
        [trustDomain('client-1'), ...others('client-1').map(trustDomain).sort()].map((each) => [each, true]),
      );

      await withAdmin('client-1', (api) =>
        api.apply({
          apiVersion: 'rbac.authorization.k8s.io/v1',
          kind: 'RoleBinding',
          metadata: { name: 'spire-federator-exec', namespace: 'my-app' },
          roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'spire-federator-exec' },
          subjects: [{ kind: 'ServiceAccount', name: 'spire-federator', namespace: 'spire-federator' }],
        }),
      );
      const bundles = await Promise.all(
        CLUSTERS.map((cluster) => spireServer(testbed.directory, cluster, 'bundle', 'show', '-format', 'spiffe')),
      );
      const authorities = bundles
        .flatMap((text) => parseBundle(text).keys)
        .flatMap(({ use, id }) => (use === 'x509-svid' ? [id] : []));
      for (const [name, source] of [
        ['files', '/spiffe-workload-api/svid.pem in container app'],
        ['probe', './probe show in container app'],
      ] as const) {
        await eventually(async () => {
          const { pod, trust, findings } = await show(name);
          expect(pod.held).toEqual({
            source,
            spiffeIds: [`spiffe://${trustDomain('client-1')}/ns/my-app/sa/default`],
            expiresAt: expect.any(String) as string,
            authorities: authorities.sort(),
          });
          expect(trust.filter(({ held }) => held === undefined || held.present < held.of)).toEqual([]);
          expect(findings).toEqual([]);
        }, 180_000);
      }
      const printed = await testbed.federator('workload', 'show', 'my-app/files', '--cluster', 'client-1');
      expect(printed.stdout).toMatch(/SVID held +spiffe:\/\/apps\.client-1\.sandbox\.test\/ns\/my-app\/sa\/default/);
      expect(printed.stdout).toMatch(/apps\.edge-1\.sandbox\.test +edge-1 +(\d) of \1 current +\1 of \1 current/);
      await withAdmin('client-1', async (api) => {
        for (const pod of pods) await api.deleteObject(pod);
      });
    },
    LIMIT,
  );

  test(
    'probe tells of two workloads whether they can speak mTLS, and touches neither',
    async () => {
      const objects: Resource[] = [
        {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: 'backend', namespace: 'my-app', labels: { app: 'backend' } },
          spec: {
            containers: [
              {
                name: 'app',
                image: 'spire-federator/probe:0.1.0',
                args: [
                  'serve',
                  '--listen',
                  '0.0.0.0:8443',
                  '--authorize',
                  `spiffe://${trustDomain('client-1')}/ns/my-app/sa/default`,
                ],
                env: [{ name: 'SPIFFE_ENDPOINT_SOCKET', value: 'unix:///spiffe-workload-api/spire-agent.sock' }],
                ports: [{ name: 'tls', containerPort: 8443 }],
                volumeMounts: [{ name: 'spiffe', mountPath: '/spiffe-workload-api', readOnly: true }],
              },
            ],
            volumes: [{ name: 'spiffe', csi: { driver: 'csi.spiffe.io', readOnly: true } }],
          },
        },
        {
          apiVersion: 'v1',
          kind: 'Service',
          metadata: { name: 'backend', namespace: 'my-app' },
          spec: { selector: { app: 'backend' }, ports: [{ name: 'tls', port: 443, targetPort: 'tls' }] },
        },
        {
          apiVersion: 'route.openshift.io/v1',
          kind: 'Route',
          metadata: { name: 'backend', namespace: 'my-app' },
          spec: {
            to: { kind: 'Service', name: 'backend' },
            port: { targetPort: 'tls' },
            tls: { termination: 'passthrough' },
          },
        },
      ];
      await withAdmin('edge-1', async (api) => {
        for (const object of objects) await api.apply(object);
      });
      const before_ = await snapshot();
      const end = ['--from', 'client-1:my-app/app', '--to'];
      const address = `backend-my-app.${trustDomain('edge-1')}:443`;
      const { probes, pair } = succeeded(
        await probe(...end, 'edge-1:my-app/backend', '--address', address, '--timeout', '120'),
      );
      expect(pair).toEqual({
        from: expect.objectContaining({ federatesWith: others('client-1').map(trustDomain).sort() }) as object,
        to: expect.objectContaining({
          spiffeIds: [`spiffe://${trustDomain('edge-1')}/ns/my-app/sa/default`],
        }) as object,
        outcome: 'handshake',
        reasons: [],
      });
      expect(probes.map((each) => [each.from, each.federated, each.pair?.expected, each.ok])).toEqual([
        ['client-1', true, 'handshake', true],
        ['client-1', false, 'refusal', true],
        ['edge-1', true, 'handshake', true],
        ['edge-1', false, 'refusal', true],
        ['client-1', true, 'handshake', true],
      ]);
      expect(await snapshot()).toEqual(before_);
      expect((await probe(...end, 'edge-1:my-app/app', '--refused')).code).toBe(1);
      const nobody = await probe(...end, 'edge-1:my-app/nobody');
      expect({ code: nobody.code, said: nobody.stderr }).toEqual({
        code: 1,
        said: expect.stringMatching(/edge-1: there is no workload my-app\/nobody/) as string,
      });
      await withAdmin('edge-1', async (api) => {
        for (const object of objects) await api.deleteObject(object);
      });
    },
    LIMIT,
  );

  test(
    'shows drift: what somebody edited is in the plan, and apply mends it',
    async () => {
      await withAdmin('client-1', async (api) => {
        await api.patch(`${IDENTITIES}/all-workloads-auto-federated`, {
          spec: { federatesWith: [trustDomain('server-1')] },
        });
        await api.patch(`${CFTDS}/${trustDomain('edge-1')}`, { spec: { className: 'another' } });
      });
      const file = federationFile({ clusters: CLUSTERS, policies: [{ type: 'universal' }, { type: 'label' }] });
      const { stdout } = await testbed.federator('plan', '-f', file);
      expect(stdout).toMatch(/all-workloads-auto-federated: federatesWith \+ apps\.edge-1\.sandbox\.test/);
      expect(stdout).toMatch(/className is another instead of zero-trust-workload-identity-manager-spire/);
      succeeded(await testbed.federator('apply', '-f', file, '--no-probe', '--json'));
      await expectHealthy();
    },
    LIMIT,
  );

  test(
    'that lists one cluster less removes it, and its trust domain from the policies of the others',
    async () => {
      const file = federationFile({ clusters: PAIR, policies: [{ type: 'universal' }] });
      const { stdout } = await testbed.federator('plan', '-f', file);
      expect(stdout).toMatch(/- remove {2}Delete Route spire-server-federation on edge-1/);
      expect(stdout).toMatch(/all-workloads-auto-federated: federatesWith - apps\.edge-1\.sandbox\.test/);
      expect(stdout).toMatch(/label-based-auto-federated: no longer a policy, deleted/);
      succeeded(await testbed.federator('apply', '-f', file, '--no-probe', '--json'));
      await expectMesh(PAIR);
      await expectHealthy();
      const left = await spireServer(testbed.directory, 'client-1', 'entry', 'show', '-output', 'json');
      expect(left).not.toContain(trustDomain('edge-1'));
      const { pair } = succeeded(
        await probe('--from', 'client-1:my-app/app', '--to', 'edge-1:my-app/app', '--refused', '--timeout', '120'),
      );
      expect(pair).toMatchObject({
        outcome: 'refusal',
        reasons: [
          expect.stringMatching(/my-app\/app on client-1 federates with apps\.edge-1/) as string,
          expect.stringMatching(/my-app\/app on edge-1 federates with apps\.client-1/) as string,
        ],
      });
    },
    LIMIT,
  );

  test(
    'torn down, nothing is left of it',
    async () => {
      for (const cluster of CLUSTERS) {
        await withAdmin(cluster, (api) => api.delete('/api/v1/namespaces/my-app/pods/app'));
      }
      succeeded(await start('teardown'));
      for (const cluster of CLUSTERS) {
        const list = await withAdmin(cluster, (api) => api.request<{ items: Resource[] }>(IDENTITIES));
        expect(list.items.map(({ metadata }) => metadata.name)).not.toContain('all-workloads-auto-federated');
        expect(await spireServer(testbed.directory, cluster, 'bundle', 'list', '-format', 'spiffe')).toBe('');
      }
    },
    LIMIT,
  );

  test('with faults is refused with all of them at once, before anything is asked of a cluster', async () => {
    const file = federationFile({
      clusters: ['client-1', 'nowhere'],
      topologie: 'mesh',
      policies: [
        { type: 'custom', name: 'x', spiffeIDTemplate: 'nonsense' },
        { type: 'label', peers: ['mars'] },
      ],
    });
    const { code, stderr } = await testbed.federator('plan', '-f', file);
    expect(code).toBe(1);
    for (const fault of [/topologie/, /policies\.0\.spiffeIDTemplate: must be a SPIFFE ID/])
      expect(stderr).toMatch(fault);
    const unknown = await testbed.federator('plan', '-f', federationFile({ clusters: ['client-1', 'nowhere'] }));
    expect(unknown.stderr).toMatch(/There is no cluster nowhere in the inventory/);
    const peers = federationFile({ clusters: PAIR, policies: [{ type: 'label', peers: ['mars'] }] });
    expect((await testbed.federator('plan', '-f', peers)).stderr).toMatch(/mars is not one of the clusters/);
  });
});

test(
  'the mesh of examples/federation.yaml gets a hub in its place, or stays as it was; then it is a mesh again',
  async () => {
    const found = await snapshot();
    const file = path.resolve(__dirname, '../../examples/federation.yaml');
    const { probes } = succeeded(await testbed.federator('apply', '-f', file, '--json'));
    expect(probes.filter(({ ok }) => !ok)).toEqual([]);
    await expectMesh(CLUSTERS);
    const mesh = await snapshot();
    await testbed.stopWorker(worker);
    const faulty = await testbed.startWorker({ step: 'verify/all', mode: 'fail' });
    const { code, stderr } = await start('setupMesh', '--hub', 'server-1', '--no-probe');
    await testbed.stopWorker(faulty);
    worker = await testbed.startWorker();
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('as it was before') as string });
    expect(await snapshot()).toEqual(mesh);

    succeeded(await start('setupMesh', '--hub', 'server-1', '--no-probe'));
    const trusted = async (cluster: string) => [
      ...parseBundleList(await spireServer(testbed.directory, cluster, 'bundle', 'list', '-format', 'spiffe')).keys(),
    ];
    expect(await trusted('client-1')).toEqual([trustDomain('server-1')]);
    expect((await trusted('server-1')).sort()).toEqual([trustDomain('client-1'), trustDomain('edge-1')]);
    expect(await trusted('edge-1')).toEqual([trustDomain('server-1')]);
    await expectHealthy();
    expect(succeeded(await start('setupMesh', '--no-probe')).changed).toBe(false);

    expect(succeeded(await testbed.federator('apply', '-f', file, '--no-probe', '--json')).changed).toBe(true);
    await expectMesh(CLUSTERS);
    await expectHealthy();
    succeeded(await start('teardown'));
    expect(await snapshot()).toEqual(found);
  },
  2 * LIMIT,
);

test(
  'five clusters: four by setupMesh, the fifth by a bare addCluster, and one of the middle leaves again',
  async () => {
    const five = [...CLUSTERS, 'edge-2', 'edge-3'];
    await testbed.grow(five.length);
    const found = await snapshot(five);
    succeeded(await start('setupMesh', '--clusters', five.slice(0, 4).join(), '--no-probe'));
    await expectMesh(five.slice(0, 4));
    const added = succeeded(await start('addCluster', '--no-probe', '--max-unavailable', '2'));
    expect(added.members.map(({ cluster }) => cluster)).toEqual(five);
    await expectMesh(five);
    await expectHealthy();
    succeeded(await start('removeCluster', 'edge-1'));
    await expectMesh(five.filter((cluster) => cluster !== 'edge-1'));
    await expectHealthy();
    expect(await snapshot(['edge-1'])).toEqual(found.slice(2, 3));
    succeeded(await start('teardown'));
    expect(await snapshot(five)).toEqual(found);
  },
  2 * LIMIT,
);
