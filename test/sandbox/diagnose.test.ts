import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { rotateCa } from '../../sandbox/client.js';
import { eventually, type Resource } from '../../sandbox/kubernetes.js';
import { CHECKS } from '../../src/contract/checks.js';
import type { DiagnosedCheck } from '../../src/contract/diagnosis.js';
import type { HealthSchedule } from '../../src/contract/scheduledHealth.js';
import type { Verdict } from '../../src/contract/verify.js';
import { readArchive, sandboxSecrets } from '../support/archive.js';
import { Diagnosing, expectExplained, namesOf } from '../support/diagnosing.js';
import { deleteStoredBundle, pollLines, spireServer } from '../support/snapshot.js';
import { ShiftedApi } from '../support/shiftedApi.js';
import { Testbed } from '../support/testbed.js';
import { asAdmin, PATHS, trustDomainOf } from '../support/watched.js';
import { WebhookReceiver } from '../support/webhookReceiver.js';

const FEDERATION = 'diagnosed';
const CLUSTERS = ['client-1', 'server-1'] as const;
const MINUTE = 60_000;
const WEBHOOK_SECRET = 'planted-secret-of-the-webhook';
const POLICY = 'all-workloads-auto-federated';
const CLASS = 'zero-trust-workload-identity-manager-spire';

const client = trustDomainOf('client-1');
const server = trustDomainOf('server-1');

interface WithPorts {
  ports?: { containerPort: number }[];
}

interface Fault {
  fault: string;
  make: () => Promise<unknown>;
  /** Check and scope of what is found, and nothing else is. */
  finds: string;
  verdict?: Verdict;
  code?: number;
  /** What its evidence says. */
  says?: RegExp;
  /** How it is put right where the engine cannot, or must not; else `--fix` has to. */
  restore?: () => Promise<unknown>;
}

let testbed: Testbed;
let diagnosing: Diagnosing;
let receiver: WebhookReceiver;

const diagnose = (...args: string[]) => diagnosing.diagnose(...args);
const untilWell = () => diagnosing.untilWell();

const remove = (cluster: string, path: string) => asAdmin(testbed, cluster, (api) => api.delete(path));
const patch = (cluster: string, path: string, body: object) =>
  asAdmin(testbed, cluster, (api) => api.patch(path, body));
const create = (cluster: string, object: Parameters<Parameters<Parameters<typeof asAdmin>[2]>[0]['create']>[0]) =>
  asAdmin(testbed, cluster, (api) => api.create(object));

type Federation = Record<string, unknown> & { federates_with?: Record<string, unknown> };

/** server.conf as it was before a case edited it. */
let conf: string | undefined;

async function editConf(cluster: string, edit: (federation: Federation) => Federation | undefined): Promise<void> {
  await asAdmin(testbed, cluster, async (api) => {
    const { data } = await api.request<Resource & { data: Record<string, string> }>(PATHS.configMap);
    conf = data['server.conf'] ?? '';
    const parsed = JSON.parse(conf) as { server: { federation?: Federation } };
    const federation = edit(parsed.server.federation ?? {});
    const text = JSON.stringify({ ...parsed, server: { ...parsed.server, federation } }, undefined, 2);
    await api.patch(PATHS.configMap, { data: { 'server.conf': text } });
  });
}

const restoreConf = (cluster: string) => patch(cluster, PATHS.configMap, { data: { 'server.conf': conf } });

/** Makes a relationship anew with the peer's bundle as `bundle show` prints it, as scripts do: without a refresh hint. */
async function relateByScript(): Promise<void> {
  const bundle = await spireServer(testbed.directory, 'server-1', 'bundle', 'show', '-format', 'spiffe');
  await asAdmin(testbed, 'client-1', async (api) => {
    const found = await api.request<Resource>(PATHS.relationship(server));
    await api.delete(PATHS.relationship(server));
    await eventually('SPIRE server has forgotten the relationship', async () => {
      const list = await spireServer(testbed.directory, 'client-1', 'federation', 'list', '-output', 'json');
      expect(list).not.toContain(server);
    });
    const { labels } = found.metadata as { labels?: Record<string, string> };
    await api.create({
      apiVersion: 'spire.spiffe.io/v1alpha1',
      kind: 'ClusterFederatedTrustDomain',
      metadata: { name: server, ...(labels === undefined ? {} : { labels }) },
      spec: { ...(found['spec'] as object), trustDomainBundle: bundle },
    });
  });
}

async function podUid(cluster: string): Promise<string | undefined> {
  return asAdmin(testbed, cluster, async (api) => (await api.get(PATHS.pod))?.metadata.uid);
}

let shifted: { api: ShiftedApi; inventory: string } | undefined;

/** Has the engine reach a cluster's API server where its clock is another one: all of this machine have the same. */
async function shiftClock(cluster: string, shiftMs: number): Promise<void> {
  const at = (file: string) => path.join(testbed.directory, file);
  const target = at(`${cluster}/shifted.kubeconfig`);
  const api = await ShiftedApi.start(at(`${cluster}/engine.kubeconfig`), target, shiftMs);
  const inventory = readFileSync(at('inventory.yaml'), 'utf8');
  shifted = { api, inventory };
  writeFileSync(
    at('inventory.yaml'),
    inventory.replace(`${cluster}/engine.kubeconfig`, `${cluster}/shifted.kubeconfig`),
  );
}

async function restoreClock(): Promise<void> {
  if (shifted === undefined) return;
  writeFileSync(path.join(testbed.directory, 'inventory.yaml'), shifted.inventory);
  await shifted.api.stop();
}

const FAULTS: Fault[] = [
  { fault: 'Service deleted', make: () => remove('server-1', PATHS.service), finds: 'service@server-1' },
  { fault: 'Route deleted', make: () => remove('server-1', PATHS.route), finds: 'route@server-1' },
  {
    fault: 'port not declared any more',
    make: () =>
      asAdmin(testbed, 'client-1', async (api) => {
        const { spec } = await api.request<Resource & { spec: { template: { spec: { containers: WithPorts[] } } } }>(
          PATHS.statefulSet,
        );
        const containers = spec.template.spec.containers.map(({ ports = [], ...rest }) => ({
          ...rest,
          ports: ports.filter(({ containerPort }) => containerPort !== 8443),
        }));
        await api.patch(PATHS.statefulSet, { spec: { template: { spec: { containers } } } });
      }),
    finds: 'port@client-1',
  },
  {
    fault: 'federates_with lost',
    make: () => editConf('client-1', ({ federates_with: _peers, ...rest }) => rest),
    finds: 'server-conf@client-1',
  },
  {
    fault: 'federates_with keyed by a URL',
    make: () =>
      editConf('client-1', ({ federates_with: peers = {}, ...rest }) => ({
        ...rest,
        federates_with: { ...peers, 'https://other.sandbox.test': Object.values(peers)[0] },
      })),
    finds: 'federates-with-key@client-1',
    verdict: 'warning',
    restore: () => restoreConf('client-1'),
  },
  {
    fault: 'relationship deleted',
    make: () => remove('client-1', PATHS.relationship(server)),
    finds: 'relationship@client-1←server-1',
  },
  {
    fault: 'a second relationship for the same trust domain',
    make: () =>
      create('client-1', {
        apiVersion: 'spire.spiffe.io/v1alpha1',
        kind: 'ClusterFederatedTrustDomain',
        metadata: { name: 'by-hand' },
        spec: {
          className: CLASS,
          trustDomain: server,
          bundleEndpointURL: 'https://elsewhere.sandbox.test',
          bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: `spiffe://${server}/spire/server` },
        },
      }),
    finds: 'relationship@client-1←server-1',
    verdict: 'warning',
    restore: () => remove('client-1', PATHS.relationship('by-hand')),
  },
  {
    fault: 'stored bundle deleted',
    make: () => deleteStoredBundle(testbed.directory, 'client-1', server),
    finds: 'stored-bundle@client-1←server-1',
  },
  {
    fault: 'own trust domain in the ClusterSPIFFEID of a policy',
    make: () => patch('client-1', PATHS.identity(POLICY), { spec: { federatesWith: [client, server] } }),
    finds: 'policy@client-1',
  },
  {
    fault: 'own trust domain in a ClusterSPIFFEID of somebody else',
    make: () =>
      create('client-1', {
        apiVersion: 'spire.spiffe.io/v1alpha1',
        kind: 'ClusterSPIFFEID',
        metadata: { name: 'by-hand' },
        spec: {
          className: CLASS,
          spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/by-hand/{{ .PodMeta.Name }}',
          podSelector: { matchLabels: { nobody: 'has-it' } },
          federatesWith: [client, server],
        },
      }),
    finds: 'identity@client-1',
    restore: () => remove('client-1', PATHS.identity('by-hand')),
  },
  {
    fault: 'the engine cannot reach the endpoint, though peers can',
    make: () => testbed.addFault({ kind: 'cut', from: 'engine', to: 'server-1' }),
    finds: 'endpoint@server-1',
    restore: () => testbed.heal(),
  },
  {
    fault: 'a bundle that was stored without a refresh hint',
    make: async () => {
      await testbed.addFault({ kind: 'hang', from: 'client-1', to: 'server-1' });
      await relateByScript();
    },
    finds: 'refresh-hint@client-1←server-1',
    verdict: 'warning',
    restore: () => testbed.heal(),
  },
  {
    fault: 'the link from one member to the other is cut',
    make: () => testbed.addFault({ kind: 'cut', from: 'client-1', to: 'server-1' }),
    finds: 'endpointUnreachable@client-1←server-1',
    restore: () => testbed.heal(),
  },
  {
    fault: 'a regular poll that is not due for half an hour, after a bundle that was stored without a refresh hint',
    make: async () => {
      await testbed.addFault({ kind: 'cut', from: 'client-1', to: 'server-1' });
      await relateByScript();
      const relatedAt = Date.now();
      await eventually('SPIRE has polled in vain', async () => {
        const lines = await pollLines(testbed.directory, 'client-1');
        expect(lines.filter(({ kind, at }) => kind === 'failed' && at > relatedAt)).not.toEqual([]);
      });
      await testbed.heal();
      // This brings the hint, and leaves the time of the next poll as it is.
      await diagnosing.fetchBoth();
    },
    finds: 'pollerStalled@client-1←server-1',
  },
  {
    fault: 'CA of the peer changed while this side was cut off',
    make: async () => {
      await testbed.addFault({ kind: 'cut', from: 'client-1', to: 'server-1' });
      await rotateCa({ directory: testbed.directory, cluster: 'server-1', revoke: true });
      await testbed.heal();
    },
    finds: 'unknownAuthority@client-1←server-1',
  },
  {
    fault: 'SPIRE server stopped',
    make: () => testbed.addFault({ kind: 'stop-server', cluster: 'server-1' }),
    finds: 'server-down@server-1',
    restore: () => testbed.heal(),
  },
  {
    fault: 'SPIRE server refuses its federation settings',
    make: async () => {
      await editConf('client-1', (federation) => ({ ...federation, bundle_endpoint: { port: 'none' } }));
      await remove('client-1', PATHS.pod);
    },
    finds: 'server-crash-loop@client-1',
    // In the words of SPIRE's parser of the file.
    says: /CrashLoopBackOff.*; its log says: .*none/,
    restore: async () => {
      await restoreConf('client-1');
      await remove('client-1', PATHS.pod);
    },
  },
  {
    fault: 'an API server that is away',
    make: () => testbed.addFault({ kind: 'api-down', cluster: 'server-1' }),
    finds: 'cluster@server-1',
    verdict: 'unknown',
    code: 2,
    restore: () => testbed.heal(),
  },
  {
    fault: 'SPIRE server asks for another profile than its configuration says',
    make: async () => {
      await editConf('client-1', ({ federates_with: peers, ...rest }) => ({
        ...rest,
        federates_with: {
          ...peers,
          [server]: { ...(peers?.[server] as object), bundle_endpoint_profile: { https_web: {} } },
        },
      }));
      const old = await podUid('client-1');
      await remove('client-1', PATHS.pod);
      await eventually('SPIRE server asks for it', async () => {
        expect(await podUid('client-1')).not.toBe(old);
        expect((await pollLines(testbed.directory, 'client-1')).at(-1)?.error).toMatch(/instead of https_web/);
      });
      await restoreConf('client-1');
    },
    finds: 'wrongProfile@client-1←server-1',
  },
  {
    fault: 'an API server with a clock that is half a minute ahead',
    make: () => shiftClock('server-1', 30_000),
    finds: 'clock@server-1',
    restore: () => restoreClock(),
  },
  {
    fault: 'everything of the federation gone from a member',
    make: async () => {
      await remove('client-1', PATHS.relationship(server));
      await remove('client-1', PATHS.identity(POLICY));
      await remove('client-1', PATHS.route);
      await remove('client-1', PATHS.service);
      await editConf('client-1', () => undefined);
    },
    finds: 'member-removed@client-1',
    restore: () => testbed.federator('start-workflow', 'setupPair', '--federation', FEDERATION, '--no-probe'),
  },
];

beforeAll(async () => {
  testbed = await Testbed.start();
  diagnosing = new Diagnosing(testbed, FEDERATION, CLUSTERS);
  receiver = await WebhookReceiver.start(WEBHOOK_SECRET);
  testbed.environment['SPIRE_FEDERATOR_WEBHOOK_URL'] = receiver.url;
  testbed.environment['SPIRE_FEDERATOR_WEBHOOK_SECRET'] = WEBHOOK_SECRET;
  await testbed.startWorker();
  const file = `${testbed.directory}/federation.yaml`;
  writeFileSync(
    file,
    `federation: ${FEDERATION}\nclusters: [${CLUSTERS.join(', ')}]\nrefreshHintSeconds: 60\npolicies: [{ type: universal }]\n`,
  );
  const { code, stderr } = await testbed.federator('apply', '-f', file, '--no-probe');
  if (code !== 0) throw new Error(stderr);
}, 4 * MINUTE);

afterAll(async () => {
  await receiver.stop();
  await testbed.stop();
}, MINUTE);

test.each(FAULTS)(
  '$fault: $finds and nothing else',
  async ({ make, finds, verdict, code, says, restore }) => {
    await untilWell();
    await make();
    const look = async () => {
      const found = await diagnosing.untilNamed(finds, { verdict, code });
      const [wrong] = found.wrong;
      expect(CHECKS[wrong?.name ?? '']).toBeDefined();
      expect(wrong?.evidence).toMatch(says ?? /./);
      expectExplained(found);
      return { ...found, first: wrong };
    };
    // What one fault leaves would be found with the next one's.
    if (restore !== undefined) return void (await look().finally(restore));
    const { proposals, first } = await look();
    expect(proposals.map(({ check, scope }) => `${check}@${scope}`)).toEqual([finds]);
    const fixed = await diagnose('--fix', '--yes');
    expect(fixed.stderr).toContain(`${first?.name ?? ''} of ${first?.scope ?? ''}: `);
    expect(fixed.output.repairs).toMatchObject([{ findingId: finds, outcome: 'healed' }]);
  },
  5 * MINUTE,
);

test(
  'one cluster, one edge and one workload can be asked about',
  async () => {
    await untilWell();
    await remove('server-1', PATHS.route);
    expect(namesOf((await diagnose('--cluster', 'server-1')).output)).toEqual(['route@server-1']);
    expect(namesOf((await diagnose('--edge', 'client-1:server-1')).output)).toEqual(['route@server-1']);
    const pod = (name: string, volumes: object[]) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default' },
      spec: { containers: [{ name: 'app', image: 'nginx:1' }], volumes },
    });
    await create('client-1', pod('sealed', []));
    await create('client-1', pod('well', [{ name: 'spiffe', csi: { driver: 'csi.spiffe.io', readOnly: true } }]));
    await eventually('the workload that has all is well', async () => {
      const { code, output } = await diagnose('--workload', 'default/well', '--cluster', 'client-1');
      expect({ code, wrong: namesOf(output) }).toEqual({ code: 0, wrong: [] });
    });
    const verified = await testbed.federator('verify', '--federation', FEDERATION, '--json');
    const { checks } = JSON.parse(verified.stdout) as { checks: DiagnosedCheck[] };
    const entries = checks.find(({ name, scope }) => name === 'entries' && scope === 'client-1←server-1');
    expect(entries?.evidence).toMatch(/^[1-9]\d* registration entries federate with apps\.server-1\.sandbox\.test$/);
    const { code, output } = await diagnose('--workload', 'default/sealed');
    expect({ code, wrong: namesOf(output) }).toEqual({ code: 1, wrong: ['workload@client-1'] });
    expect(output.wrong[0]?.evidence).toMatch(/default\/sealed: it mounts no csi\.spiffe\.io volume/);
    const nobody = await testbed.federator('diagnose', '--federation', FEDERATION, '--workload', 'default/nobody');
    expect(nobody.code).toBe(2);
    expect(nobody.stderr).toMatch(/There is no such workload on client-1, server-1\./);
  },
  2 * MINUTE,
);

test(
  'without --yes and without a terminal nothing is repaired',
  async () => {
    const { code, stdout, stderr } = await testbed.federator('diagnose', '--federation', FEDERATION, '--fix');
    expect(code).toBe(2);
    expect(stdout).toContain('route of server-1');
    expect(stderr).toMatch(/Repairs:\n {2}route of server-1: put back what is missing or differs\n.*Say --yes/);
    expect(namesOf((await diagnose()).output)).toEqual(['route@server-1']);
    expect(await diagnose('--fix', '--yes')).toMatchObject({ code: 0, output: { wrong: [] } });
  },
  2 * MINUTE,
);

/** Writes a bug report, and proves that nothing secret is in it. */
async function sysdump(name: string): Promise<{ files: Record<string, string>; stdout: string; stderr: string }> {
  const file = `${testbed.directory}/${name}.tar.gz`;
  const { code, stdout, stderr } = await testbed.federator('sysdump', '--federation', FEDERATION, '--file', file);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const files = await readArchive(file);
  const all = Object.values(files).join('\n');
  const secrets = sandboxSecrets(testbed.directory);
  expect(secrets.length).toBeGreaterThan(50);
  expect(secrets.filter((secret) => all.includes(secret))).toEqual([]);
  expect(all).not.toMatch(/PRIVATE KEY|planted-secret/);
  return { files, stdout, stderr };
}

test(
  'sysdump: everything that a bug report needs, no secrets, and what a cluster that is away could not tell',
  async () => {
    const file = `${testbed.directory}/exists.tar.gz`;
    writeFileSync(file, '');
    const refused = await testbed.federator('sysdump', '--federation', FEDERATION, '--file', file);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('exists. Name another') as string });
    await asAdmin(testbed, 'client-1', async (api) => {
      const { data } = await api.request<Resource & { data: Record<string, string> }>(PATHS.configMap);
      const parsed = JSON.parse(data['server.conf'] ?? '') as { plugins: object };
      const vault = { plugin_data: { token_auth: { token: 'planted-secret-1' }, other: 'planted-secret-2' } };
      const text = JSON.stringify({ ...parsed, plugins: { ...parsed.plugins, UpstreamAuthority: { vault } } });
      await api.patch(PATHS.configMap, {
        data: { 'server.conf': text, other: 'planted-secret-3' },
        metadata: { annotations: { note: 'password=planted-secret-4' } },
      });
      conf = data['server.conf'];
    });
    const { files, stdout, stderr } = await sysdump('whole');
    expect({ stdout, stderr }).toEqual({
      stdout: expect.stringMatching(/whole\.tar\.gz: \d+ files of client-1, server-1, [\d.]+ MiB\n/) as string,
      // A sandbox does not keep what a container said before its restart, as a node may not.
      stderr: expect.stringMatching(/^(not in it: \S+\.previous\.log: .*\n)*$/) as string,
    });
    for (const cluster of CLUSTERS) {
      const of = (name: string) => files[`clusters/${cluster}/${name}`] ?? '';
      const peer = trustDomainOf(CLUSTERS.find((each) => each !== cluster) ?? '');
      expect(of('kubernetes-version.json')).toMatch(/gitVersion/);
      expect(JSON.parse(of('server.conf.json'))).toMatchObject({ server: { trust_domain: trustDomainOf(cluster) } });
      expect(of('objects/statefulset.yaml')).toMatch(/kind: StatefulSet/);
      expect(of('objects/clusterfederatedtrustdomains.yaml')).toMatch(/fingerprint: SHA256:/);
      expect(of('objects/clusterspiffeids.yaml')).toMatch(POLICY);
      expect(of('objects/endpoint.yaml')).toMatch(/kind: Route/);
      expect(JSON.parse(of('spire/stored-bundles.json'))).toHaveProperty([peer, 'fingerprint']);
      expect(of('spire/version.json')).toMatch(/^"\d+\.\d+\.\d+/);
      expect(of('logs/spire-server.log')).toMatch(/Trust domain is now managed/);
    }
    expect(files['engine/workflows.json']).toMatch(/applyFederation/);
    const history = Object.keys(files).find((name) => name.startsWith('engine/histories/applyFederation')) ?? '';
    expect(files[history]).toMatch(/"type": "workflowExecutionCompleted"/);
    expect(files['diagnosis.json']).toMatch(/"verdict"/);
    expect(files['engine/monitor.json']).toMatch(/no monitor has run/);
    expect(files['README.txt']).toMatch(/Nothing is missing|Not in it:\n(- \S+\.previous\.log: .*\n)+$/);
    await testbed.addFault({ kind: 'api-down', cluster: 'server-1' });
    const without = await sysdump('without');
    expect(without.stderr).toMatch(/not in it: clusters\/server-1\/everything: server-1: cannot read the version/);
    expect(without.files['README.txt']).toMatch(/clusters\/server-1\/everything/);
    expect(without.files).toHaveProperty(['clusters/client-1/spire/entries.json']);
    await testbed.heal();
    await patch('client-1', PATHS.configMap, {
      data: { 'server.conf': conf, other: null },
      metadata: { annotations: { note: null } },
    });
    await untilWell();
  },
  3 * MINUTE,
);

/** Has the schedule look, and waits for what that comes to. */
async function look(verdict: Verdict): Promise<HealthSchedule> {
  const schedules = async () => {
    const { stdout } = await testbed.federator('health', 'list', '--federation', FEDERATION, '--json');
    return (JSON.parse(stdout) as HealthSchedule[])[0];
  };
  const before = (await schedules())?.last?.at;
  expect((await testbed.federator('health', 'run', '--federation', FEDERATION)).code).toBe(0);
  return eventually(`it looks, and it is ${verdict}`, async () => {
    const found = await schedules();
    expect(found?.last?.at).not.toBe(before);
    expect(found?.last).toMatchObject({ status: 'COMPLETED', report: { verdict } });
    return found as HealthSchedule;
  });
}

test(
  'health: a schedule looks, its results are found, and a webhook is told of changes of the verdict',
  async () => {
    await untilWell();
    const health = (...args: string[]) => testbed.federator('health', ...args, '--federation', FEDERATION);
    expect(await health('schedule', '--every', '2h')).toMatchObject({ code: 0 });
    expect(await health('schedule', '--every', '3h')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/has a schedule health already\. Replace it with --replace/) as string,
    });
    expect(await health('schedule', '--every', '3h', '--replace')).toMatchObject({ code: 0 });
    expect(await health('schedule', '--name', 'odd', '--cron', 'at dawn')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^Temporal refuses the schedule: /) as string,
    });
    expect(await health('schedule', '--every', '1s')).toMatchObject({ code: 1 });
    expect(await look('ok')).toMatchObject({ when: 'every 10800 s', last: { report: { wrong: 0 } } });
    await remove('server-1', PATHS.route);
    await look('failed');
    await diagnose('--fix', '--yes');
    await untilWell();
    expect((await look('ok')).last?.report?.notified).toMatch(/^healed: told 127\.0\.0\.1/);
    expect(receiver.received.map(({ occurrence, findings }) => [occurrence, findings[0]?.name])).toEqual([
      ['new', 'route'],
      ['healed', undefined],
    ]);
    const runs = await testbed.temporal(
      'workflow',
      'list',
      '--query',
      `Federation = "${FEDERATION}" AND Verdict = "failed"`,
    );
    expect(runs).toMatch(/checkHealth/);
    expect(await testbed.temporal('workflow', 'list', '--output', 'json')).not.toContain(WEBHOOK_SECRET);
    expect((await health('pause', '--reason', 'quiet')).code).toBe(0);
    expect((await health('list')).stdout).toMatch(/paused: quiet/);
    expect((await health('resume')).code).toBe(0);
    expect((await health('remove')).code).toBe(0);
    expect(await health('remove')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/has no schedule health/) as string,
    });
  },
  3 * MINUTE,
);

test(
  'CAs that live too short for how seldom peers look: ca-horizon@server-1 and nothing else',
  async () => {
    await diagnose('--fix', '--yes');
    const args = ['start-workflow', 'setupPair', '--federation', FEDERATION, '--no-probe', '--refresh-hint', '3600'];
    expect((await testbed.federator(...args)).code).toBe(0);
    await untilWell();
    await asAdmin(testbed, 'server-1', async (api) => {
      const { data } = await api.request<Resource & { data: Record<string, string> }>(PATHS.configMap);
      const parsed = JSON.parse(data['server.conf'] ?? '') as { server: object };
      const text = JSON.stringify({ ...parsed, server: { ...parsed.server, ca_ttl: '1h' } }, undefined, 2);
      await api.patch(PATHS.configMap, { data: { 'server.conf': text } });
      await api.delete(PATHS.pod);
    });
    await untilWell();
    // Ready for 20 minutes before it is used, while peers poll every 15.
    await rotateCa({ directory: testbed.directory, cluster: 'server-1', revoke: false });
    await eventually('it is named', async () => {
      await diagnosing.fetchBoth();
      const { code, output } = await diagnose();
      expect({ code, wrong: namesOf(output) }).toEqual({ code: 1, wrong: ['ca-horizon@server-1'] });
      expect(output).toMatchObject({ verdict: 'warning', proposals: [] });
    });
  },
  4 * MINUTE,
);
