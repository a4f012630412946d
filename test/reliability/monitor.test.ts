import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { rotateCa } from '../../sandbox/client.js';
import type { Resource } from '../../sandbox/kubernetes.js';
import type { FederationHealth, OpenFinding, RepairRecord } from '../../src/contract/health.js';
import { deleteStoredBundle, pollLines, spireServer } from '../support/snapshot.js';
import { Testbed } from '../support/testbed.js';
import { asAdmin, editFederation, healthOf, PATHS, trustDomainOf, untilHealth, watchPair } from '../support/watched.js';
import { WebhookReceiver } from '../support/webhookReceiver.js';

const FEDERATION = 'watched';
const CLUSTERS = ['client-1', 'server-1'];
const MINUTE = 60_000;
const SECRET = 'a-secret-of-some-length';
const EDGE = 'client-1←server-1';

const server = trustDomainOf('server-1');

let testbed: Testbed;
let receiver: WebhookReceiver;
let worker: ChildProcess;

beforeAll(async () => {
  testbed = await Testbed.start({ persistentTemporal: true });
  receiver = await WebhookReceiver.start(SECRET);
  testbed.environment['SPIRE_FEDERATOR_WEBHOOK_URL'] = receiver.url;
  testbed.environment['SPIRE_FEDERATOR_WEBHOOK_SECRET'] = SECRET;
  worker = await testbed.startWorker();
  await watchPair(testbed, FEDERATION, CLUSTERS);
}, 4 * MINUTE);

afterAll(async () => {
  await receiver.stop();
  await testbed.stop();
}, MINUTE);

const until = (isWanted: (health: FederationHealth) => boolean) =>
  untilHealth(testbed, FEDERATION, isWanted, 4 * MINUTE);
const untilWell = () => until(({ verdict, findings }) => verdict === 'ok' && findings.length === 0);
const untilFound = async (id: string, state: OpenFinding['state']) => {
  const { findings } = await until((now) =>
    now.findings.some((finding) => finding.id === id && finding.state === state),
  );
  return findings;
};

/** So many more rounds are over, in each of which everything was looked at. */
async function rounds(count: number): Promise<FederationHealth> {
  const { rounds: before } = await until(() => true);
  return until((now) => now.rounds >= before + count);
}

/** Repairs that came after those that are known. */
async function untilHealed(known: number, ...findings: string[]): Promise<RepairRecord[]> {
  const { repairs } = await until(
    ({ verdict, repairs: all }) =>
      verdict === 'ok' &&
      findings.every((id) => all.slice(known).some((each) => each.findingId === id && each.outcome === 'healed')),
  );
  const { code, stdout } = await testbed.federator('verify', '--federation', FEDERATION, '--json');
  expect({ code, stdout: code === 0 ? '' : stdout }).toEqual({ code: 0, stdout: '' });
  return repairs.slice(known);
}

async function killWorker(): Promise<void> {
  const ended = new Promise((resolve) => worker.once('exit', resolve));
  worker.kill('SIGKILL');
  await ended;
  worker = await testbed.startWorker();
}

const authority = (action: string, ...args: string[]) =>
  spireServer(testbed.directory, 'server-1', 'localauthority', 'x509', action, ...args, '-output', 'json');

/** How many keys the client stores of the server. */
async function storedKeys(): Promise<number> {
  const text = await spireServer(testbed.directory, 'client-1', 'bundle', 'list', '-output', 'json');
  const { bundles } = JSON.parse(text) as { bundles: { trust_domain: string; x509_authorities: unknown[] }[] };
  return bundles.find(({ trust_domain: trustDomain }) => trustDomain === server)?.x509_authorities.length ?? 0;
}

const remove = (cluster: string, path: string) => asAdmin(testbed, cluster, (api) => api.delete(path));

describe('what raises nothing', () => {
  afterEach(async () => {
    const { findings, repairs } = await rounds(2);
    expect({ findings, repairs, told: receiver.received.splice(0) }).toEqual({ findings: [], repairs: [], told: [] });
  });

  test(
    'a CA rotation that leaves peers the time to learn of it',
    async () => {
      await untilWell();
      const { prepared_authority: prepared } = JSON.parse(await authority('prepare')) as {
        prepared_authority: { authority_id: string };
      };
      const { active } = JSON.parse(await authority('show')) as { active: { authority_id: string } };
      while ((await storedKeys()) < 2) await delay(1_000);
      await authority('activate', '-authorityID', prepared.authority_id);
      await rounds(2);
      await authority('taint', '-authorityID', active.authority_id);
      await authority('revoke', '-authorityID', active.authority_id);
      while ((await storedKeys()) > 1) await delay(1_000);
      await untilWell();
    },
    4 * MINUTE,
  );

  test(
    'a restart of a SPIRE server, the death of the worker, and that of Temporal',
    async () => {
      const { rounds: before } = await untilWell();
      await remove('server-1', PATHS.pod);
      await killWorker();
      await testbed.killTemporal();
      // It goes on where it was, and counts on.
      expect((await rounds(3)).rounds).toBeGreaterThan(before);
      await untilWell();
    },
    4 * MINUTE,
  );

  test.each([
    ['ahead', 10 * MINUTE],
    ['behind', -10 * MINUTE],
  ])(
    'a worker whose clock is ten minutes %s, and a restart of a SPIRE server meanwhile',
    async (_how, shiftMs) => {
      await untilWell();
      await testbed.stopWorker(worker);
      worker = await testbed.startWorker(undefined, shiftMs);
      await rounds(2);
      await remove('server-1', PATHS.pod);
      await rounds(2);
      const { clusters, edges } = await untilWell();
      const agesSeconds = edges.map(({ freshnessAgeSeconds = Number.NaN }) => freshnessAgeSeconds);
      expect(Math.max(...agesSeconds)).toBeLessThan(60);
      expect(clusters.map(({ readAt = 0 }) => Math.abs(Date.now() - readAt) < MINUTE)).toEqual([true, true]);
      await testbed.stopWorker(worker);
      worker = await testbed.startWorker();
    },
    4 * MINUTE,
  );

  test(
    'an endpoint that answers late',
    async () => {
      await untilWell();
      await testbed.addFault({ kind: 'delay', from: 'client-1', to: 'server-1', delayMs: 1_000 });
      await rounds(6);
      await testbed.heal();
      await untilWell();
    },
    4 * MINUTE,
  );
});

test(
  'an API server that is away: unknown and nobody’s fault, told once, and nothing is repaired',
  async () => {
    await untilWell();
    receiver.received.length = 0;
    await testbed.addFault({ kind: 'api-down', cluster: 'server-1' });
    const away = await until(({ verdict, counts }) => verdict === 'unknown' && counts.unknown === 2);
    expect(away).toMatchObject({ counts: { broken: 0, stale: 0 }, findings: [] });
    await rounds(2);
    await testbed.heal();
    const { repairs } = await untilWell();
    expect(repairs).toEqual([]);
    while (receiver.received.length < 2) await delay(100);
    expect(receiver.received.map(({ occurrence, verdict }) => [occurrence, verdict])).toEqual([
      ['new', 'unknown'],
      // Keys that differ for a moment are nothing to be told of.
      ['healed', expect.stringMatching(/^(ok|lagging)$/)],
    ]);
  },
  4 * MINUTE,
);

test(
  'two faults at once are healed both, and the worker may die in the middle of it',
  async () => {
    const { repairs } = await untilWell();
    await remove('server-1', PATHS.route);
    await editFederation(testbed, 'client-1', ({ federates_with: _peers, ...rest }) => rest);
    // As soon as it is known; a repair takes seconds, and may even be over when that is seen.
    await until(
      (now) => now.findings.some(({ id }) => id === 'server-conf@client-1') || now.repairs.length > repairs.length,
    );
    await killWorker();
    const done = await untilHealed(repairs.length, 'route@server-1', 'server-conf@client-1');
    // No server.conf was written that lacks the address which the other fault had taken away.
    expect(done.filter(({ check }) => check === 'server-crash-loop')).toEqual([]);
  },
  5 * MINUTE,
);

test(
  'a peer that hangs takes a person, and is over when it answers again',
  async () => {
    const { repairs } = await untilWell();
    await testbed.addFault({ kind: 'hang', from: 'client-1', to: 'server-1' });
    const found = await untilFound(`endpointUnreachable@${EDGE}`, 'person');
    expect(found).toMatchObject([
      { remedy: expect.stringMatching(/look at the network from client-1 to server-1/) as string },
    ]);
    await testbed.heal();
    expect((await untilWell()).repairs).toHaveLength(repairs.length);
  },
  4 * MINUTE,
);

test(
  'a link that is cut for longer than a rotation takes: a person first, and a new exchange once it is back',
  async () => {
    const { repairs } = await untilWell();
    await testbed.addFault({ kind: 'cut', from: 'client-1', to: 'server-1' });
    await rotateCa({ directory: testbed.directory, cluster: 'server-1', revoke: true });
    await untilFound(`endpointUnreachable@${EDGE}`, 'person');
    await testbed.heal();
    const done = await untilHealed(repairs.length, `unknownAuthority@${EDGE}`);
    expect(done).toMatchObject([{ action: 'rebootstrap', outcome: 'healed' }]);
  },
  5 * MINUTE,
);

test(
  'a bundle that a script stored without a hint, after which SPIRE would poll in 36 minutes: a restart makes it poll',
  async () => {
    // Of a server that was never seen to poll, its silence says nothing.
    const polls = () => pollLines(testbed.directory, 'client-1');
    while (!(await polls()).some(({ kind }) => kind === 'refreshed')) await delay(1_000);
    await rounds(2);
    const { repairs } = await untilWell();
    const bundle = await spireServer(testbed.directory, 'server-1', 'bundle', 'show', '-format', 'spiffe');
    // It would mend what the script is in the middle of.
    await testbed.federator('monitor', 'pause', '--federation', FEDERATION, '--reason', 'a script is at it');
    await testbed.addFault({ kind: 'cut', from: 'client-1', to: 'server-1' });
    await deleteStoredBundle(testbed.directory, 'client-1', server);
    const failures = async () =>
      (await polls()).flatMap(({ kind, at, error = '' }) =>
        kind === 'failed' && !error.includes('local copy') ? [at] : [],
      );
    const known = await failures();
    await asAdmin(testbed, 'client-1', async (api) => {
      const { spec, metadata } = await api.request<Resource & { spec: object }>(PATHS.relationship(server));
      const { labels } = metadata as { labels?: Record<string, string> };
      await api.delete(PATHS.relationship(server));
      await api.create({
        apiVersion: 'spire.spiffe.io/v1alpha1',
        kind: 'ClusterFederatedTrustDomain',
        metadata: { name: server, ...(labels === undefined ? {} : { labels }) },
        spec: { ...spec, trustDomainBundle: bundle },
      });
    });
    while ((await storedKeys()) === 0) await delay(1_000);
    // Its own poll of the endpoint fails, as soon as it is stored, and the next one goes by the hint of what is.
    const hasPolled = async () => (await failures()).some((at) => !known.includes(at));
    while (!(await hasPolled())) await delay(1_000);
    await testbed.federator('monitor', 'resume', '--federation', FEDERATION);
    await untilFound(`endpointUnreachable@${EDGE}`, 'person');
    await testbed.heal();
    const done = await untilHealed(repairs.length, `pollerStalled@${EDGE}`);
    expect(done.find(({ check }) => check === 'pollerStalled')).toMatchObject({ action: 'restart', outcome: 'healed' });
  },
  8 * MINUTE,
);

test(
  'somebody else’s relationship is not touched, and the engine’s own is put back once that is gone',
  async () => {
    const { repairs } = await untilWell();
    await testbed.federator('monitor', 'pause', '--federation', FEDERATION, '--reason', 'somebody is at it');
    await remove('client-1', PATHS.relationship(server));
    const foreign = await asAdmin(testbed, 'client-1', (api) =>
      api.create({
        apiVersion: 'spire.spiffe.io/v1alpha1',
        kind: 'ClusterFederatedTrustDomain',
        metadata: { name: 'by-hand' },
        spec: {
          className: 'zero-trust-workload-identity-manager-spire',
          trustDomain: server,
          bundleEndpointURL: 'https://elsewhere.sandbox.test',
          bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: `spiffe://${server}/spire/server` },
        },
      }),
    );
    await testbed.federator('monitor', 'resume', '--federation', FEDERATION);
    await untilFound(`relationship@${EDGE}`, 'person');
    await rounds(3);
    const now = await asAdmin(testbed, 'client-1', (api) => api.request<Resource>(PATHS.relationship('by-hand')));
    expect(now.metadata).toMatchObject({
      uid: foreign.metadata['uid'],
      resourceVersion: foreign.metadata['resourceVersion'],
    });
    expect((await healthOf(testbed, FEDERATION)).repairs).toHaveLength(repairs.length);
    await remove('client-1', PATHS.relationship('by-hand'));
    await untilHealed(repairs.length, `relationship@${EDGE}`);
  },
  5 * MINUTE,
);

test(
  'a member that somebody removed waits for approval, and is set up again with it',
  async () => {
    const { repairs } = await untilWell();
    await testbed.federator('monitor', 'pause', '--federation', FEDERATION, '--reason', 'somebody is at it');
    await remove('client-1', PATHS.relationship(server));
    await remove('client-1', PATHS.route);
    await remove('client-1', PATHS.service);
    await editFederation(testbed, 'client-1', () => undefined);
    await testbed.federator('monitor', 'resume', '--federation', FEDERATION);
    const found = await untilFound('member-removed@client-1', 'approval');
    expect(found.find(({ id }) => id === 'member-removed@client-1')?.remedy).toMatch(
      /removeCluster .* --cluster client-1/,
    );
    const later = await rounds(3);
    expect(later.repairs.filter(({ scope }) => scope.startsWith('client-1'))).toHaveLength(
      repairs.filter(({ scope }) => scope.startsWith('client-1')).length,
    );
    const approve = (id: string) => testbed.federator('monitor', 'approve', id, '--federation', FEDERATION);
    expect(await approve('member-removed@nobody')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/No finding member-removed@nobody waits for approval/) as string,
    });
    expect((await approve('member-removed@client-1')).code).toBe(0);
    await untilHealed(later.repairs.length, 'member-removed@client-1');
  },
  6 * MINUTE,
);
