import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { AwaitBundlesRequest } from '../../src/contract/activities.js';
import { setupPairInputSchema, type ChangeProgress, type ChangeResult } from '../../src/contract/change.js';
import type { FederationHealth } from '../../src/contract/health.js';
import { HEALTH_QUERY, STOP_SIGNAL, type MonitorSettings } from '../../src/contract/monitor.js';
import { PROGRESS_QUERY } from '../../src/contract/names.js';
import { onboardInputSchema, type ConnectionReport, type OnboardResult } from '../../src/contract/onboarding.js';
import type { VerifyResult } from '../../src/contract/verify.js';
import { federate, RecordedActivities } from '../support/recordedActivities.js';
import { eventually } from '../support/spireTrustDomain.js';
import { failureMessage, WorkflowEnvironment } from '../support/workflowEnvironment.js';

const MINUTE = 60_000;
const FEDERATION = 'spread';
const SETUP = setupPairInputSchema.parse({ federation: FEDERATION, clusters: ['a', 'b'], timeouts: { attempts: 2 } });
const MONITOR: MonitorSettings = {
  federation: FEDERATION,
  clusters: ['a', 'b'],
  refreshHintSeconds: 300,
  intervalSeconds: 0.3,
  repair: { automatic: true, caChange: 'automatic' },
};
const NO_WORKER = /^b: no worker of region eu is there.*Start one that can reach b \(npm run worker -- --regions eu\)/;

let environment: WorkflowEnvironment;
beforeAll(async () => {
  environment = await WorkflowEnvironment.start();
});
afterAll(async () => environment.stop());

/** Cluster b is in region eu, the others in none. */
function clusters(...names: string[]): RecordedActivities {
  const recorded = new RecordedActivities(...names);
  recorded.regions = { b: 'eu' };
  recorded.regionPatienceMs = 60_000;
  return recorded;
}

/** What a worker can do that reaches these clusters alone; it has a work log. */
function reaching(recorded: RecordedActivities, reach: readonly string[], log: string[] = []) {
  const activities = Object.entries(recorded.activities).map(([name, run]) => {
    const limited = async (request?: { cluster?: string; clusters?: unknown }) => {
      const asked = name === 'findMembers' ? (request?.clusters as string[]) : [request?.cluster ?? reach[0] ?? ''];
      const beyond = asked.filter((cluster) => !reach.includes(cluster.replace(' (candidate)', '')));
      if (beyond.length > 0)
        throw ApplicationFailure.nonRetryable(`${name}: ${beyond.join()} is out of reach`, 'Forbidden');
      if (name !== 'readRegions') log.push(name);
      return (run as (given: unknown) => Promise<unknown>)(request);
    };
    return [name, limited] as const;
  });
  return Object.fromEntries(activities) as unknown as RecordedActivities['activities'];
}

/** Runs a workflow with a worker that does not reach b, and one that reaches nothing else. */
function run<T>(
  recorded: RecordedActivities,
  type: string,
  input: object,
  use: (handle: WorkflowHandle) => Promise<T>,
) {
  const here = { activities: reaching(recorded, ['a', 'c', 'd']) };
  return environment.run(here, type, input, use, { regions: { eu: reaching(recorded, ['b']) } });
}

/** The same without anybody who reaches b. */
function runWithoutRegion<T>(
  recorded: RecordedActivities,
  type: string,
  input: object,
  use: (handle: WorkflowHandle) => Promise<T>,
) {
  recorded.regionPatienceMs = 1_000;
  return environment.run({ activities: reaching(recorded, ['a', 'c', 'd']) }, type, input, use);
}

/** Activities that nobody took up in time. */
async function timedOut(handle: WorkflowHandle): Promise<(string | null | undefined)[]> {
  const events = (await handle.fetchHistory()).events ?? [];
  return events.flatMap(({ activityTaskTimedOutEventAttributes: timeout }) => {
    const scheduled = events.find(
      ({ eventId }) => timeout && eventId?.toString() === timeout.scheduledEventId?.toString(),
    );
    return scheduled?.activityTaskScheduledEventAttributes?.activityType?.name ?? [];
  });
}

const result = async <T>(handle: WorkflowHandle) => (await handle.result()) as T;

test('a setup, its proof and its undo: each cluster is worked on by those who reach it', async () => {
  const recorded = clusters('a', 'b');
  const outcome = await run(recorded, 'setupPair', SETUP, result<ChangeResult>);
  expect(outcome).toMatchObject({ changed: true });
  expect(outcome.probes.every(({ ok }) => ok)).toBe(true);

  const failing = clusters('a', 'b');
  failing.interfere = ({ id }) => {
    if (id === 'awaitBundles/b') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
  };
  expect(await run(failing, 'setupPair', SETUP, failureMessage)).toBe('no\nEvery cluster is as it was before.');
  for (const cluster of ['a', 'b'])
    expect(failing.calls.some((call) => call.name === 'restoreServer' && call.cluster === cluster)).toBe(true);
});

test('members are looked for by the workers of each region', async () => {
  const recorded = clusters('a', 'b', 'c');
  federate(recorded, FEDERATION, 'a', 'b');
  recorded.strangers = ['c'];
  const outcome = await run(recorded, 'verify', { federation: FEDERATION, clusters: [] }, result<VerifyResult>);
  expect(outcome.clusters.sort()).toEqual(['a', 'b']);
  expect(recorded.names.filter((name) => name === 'findMembers')).toHaveLength(2);
});

test('a cluster that is onboarded is tried in its region, and taken in where the store is', async () => {
  const recorded = clusters('a', 'b');
  recorded.regions = { ...recorded.regions, 'b (candidate)': 'eu' };
  const input = onboardInputSchema.parse({ cluster: 'b' });
  const promoteCandidate = () => Promise.resolve({ changed: true });
  const here = { activities: { ...reaching(recorded, ['a']), promoteCandidate } };
  const outcome = await environment.run(here, 'onboardCluster', input, result<OnboardResult>, {
    regions: { eu: reaching(recorded, ['b']) },
  });
  expect(outcome).toMatchObject({ cluster: 'b', ok: true });
});

test('without a worker of the region a change says so soon, and touches nothing', async () => {
  const recorded = clusters('a', 'b');
  const message = await runWithoutRegion(recorded, 'setupPair', SETUP, failureMessage);
  expect(message).toMatch(/One thing stands in the way; nothing was changed\./);
  expect(message.split('\n- ')[1]).toMatch(NO_WORKER);
  expect(new Set(recorded.names)).toEqual(new Set(['awaitNoRepair', 'readFacts']));
});

test('without a worker of the region, looks say that they cannot see', async () => {
  const recorded = clusters('a', 'b', 'c');
  federate(recorded, FEDERATION, 'a', 'b', 'c');
  const asked = { federation: FEDERATION, clusters: [] };
  const verified = await runWithoutRegion(recorded, 'verify', asked, result<VerifyResult>);
  expect(verified.checks).toContainEqual(
    expect.objectContaining({ verdict: 'unknown', evidence: expect.stringMatching(NO_WORKER) as string }),
  );
  const report = await runWithoutRegion(recorded, 'testCluster', { cluster: 'b' }, result<ConnectionReport>);
  expect(report).toMatchObject({ ok: false, problems: [{ type: 'NoWorker' }] });
});

test.each([
  { what: 'that comes back', region: 'eu' },
  { what: 'that the cluster is given to meanwhile', region: 'us' },
])('where the workers of a region end in the middle, the undo waits for one $what', async ({ region }) => {
  const recorded = clusters('a', 'b');
  recorded.regionPatienceMs = 5_000;
  const message = await environment.run(
    { activities: reaching(recorded, ['a']) },
    'setupPair',
    { ...SETUP, timeouts: { ...SETUP.timeouts, attempts: 5 } },
    async (handle) => {
      const worker = (name: string) => environment.regionWorker(handle.workflowId, name, reaching(recorded, ['b']));
      const first = await worker('eu');
      const reached = new Promise<void>((resolve) => {
        recorded.interfere = ({ name, cluster }) => {
          if (name === 'configureServer' && cluster === 'b') {
            resolve();
            throw ApplicationFailure.retryable('not yet', 'NotReady');
          }
        };
      });
      await first.runUntil(reached);
      await eventually(async () => {
        const { steps } = await handle.query<ChangeProgress>(PROGRESS_QUERY);
        expect(steps).toContainEqual(expect.objectContaining({ cluster: 'b', state: 'undoing' }));
      }, MINUTE);
      await eventually(
        async () => expect(await timedOut(handle)).toContainEqual(expect.stringMatching(/^restore/)),
        MINUTE,
      );
      recorded.interfere = () => undefined;
      recorded.regions = { b: region };
      return (await worker(region)).runUntil(failureMessage(handle));
    },
  );
  expect(message).toMatch(NO_WORKER);
  expect(message).toMatch(/\nEvery cluster is as it was before\.$/);
  for (const cluster of ['a', 'b'])
    expect(recorded.calls.some((call) => call.name === 'restoreServer' && call.cluster === cluster)).toBe(true);
});

test('keys of a peer that has rotated meanwhile are read again in the region of the peer', async () => {
  const recorded = clusters('a', 'b');
  const waits: AwaitBundlesRequest['peers'][] = [];
  const there = reaching(recorded, ['b']);
  const awaitBundles = async (request: AwaitBundlesRequest) => {
    waits.push(request.peers);
    if (waits.length === 1) throw ApplicationFailure.nonRetryable('other keys', 'BundleElsewhere');
    return there.awaitBundles(request);
  };
  const log: string[] = [];
  const outcome = await environment.run(
    { activities: reaching(recorded, ['a'], log) },
    'setupPair',
    { ...SETUP, probe: false },
    result<ChangeResult>,
    { regions: { eu: { ...there, awaitBundles } } },
  );
  expect(outcome.changed).toBe(true);
  expect(waits.map(([peer]) => [peer?.keyIds, peer?.bundle])).toEqual([
    [['a-key'], undefined],
    [['a-key'], '{"keys":[]}'],
  ]);
  expect(log.filter((name) => name === 'readBundle')).toHaveLength(2);
});

test('a cluster that is not listed is asked for again after a while, and not with every reading', async () => {
  const recorded = clusters('a', 'b');
  federate(recorded, FEDERATION, 'a', 'b');
  let asked = 0;
  const here = reaching(recorded, ['a', 'b']);
  const readRegions = () =>
    Promise.resolve({ regions: { a: null, ...(++asked > 3 ? { b: null } : {}) }, patienceMs: 0 });
  const seen = await environment.run({ activities: { ...here, readRegions } }, 'monitor', MONITOR, async (handle) => {
    let known: FederationHealth | undefined;
    await eventually(async () => {
      known = await handle.query<FederationHealth>(HEALTH_QUERY);
      expect(asked).toBeGreaterThan(3);
    }, MINUTE);
    await handle.signal(STOP_SIGNAL);
    await handle.result();
    return known;
  });
  expect(seen?.rounds).toBeGreaterThan(2 * asked);
});

test('the monitor does not blame a cluster whose region has no worker, and says what is missing', async () => {
  const recorded = clusters('a', 'b');
  federate(recorded, FEDERATION, 'a', 'b');
  await runWithoutRegion(recorded, 'monitor', MONITOR, async (handle) => {
    const until = (wanted: object) =>
      eventually(async () => expect(await handle.query<FederationHealth>(HEALTH_QUERY)).toMatchObject(wanted), MINUTE);
    const blind = { cluster: 'b', evidence: expect.stringMatching(NO_WORKER) as string };
    await until({
      verdict: 'unknown',
      findings: [],
      clusters: expect.arrayContaining([expect.objectContaining(blind)]) as unknown,
    });
    const worker = await environment.regionWorker(handle.workflowId, 'eu', reaching(recorded, ['b']));
    await worker.runUntil(async () => {
      await until({ verdict: 'ok' });
      await handle.signal(STOP_SIGNAL);
      await handle.result();
    });
  });
  expect(recorded.requested).toEqual([]);
});

test('every history replays', async () => {
  expect(await environment.replayAll()).toBeGreaterThan(8);
});
