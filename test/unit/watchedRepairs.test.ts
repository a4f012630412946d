import type { Diagnosis } from '../../src/contract/diagnosis.js';
import type { ClusterReading, Finding, RepairRecord } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import type { Policy } from '../../src/contract/policy.js';
import { diagnoseFederation } from '../../src/federation/diagnosis.js';
import { MOST_RESTARTS, MOST_RETURNS, RETURN_ROUNDS } from '../../src/federation/repairPolicy.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';
import { clusterReading, domainOf, storedOf } from '../support/clusterReading.js';
import { federatedClusters } from '../support/freshCluster.js';

const START = Date.parse('2030-01-01T12:00:00Z');
const settings = (clusters: string[]) => ({
  federation: 'f',
  clusters,
  refreshHintSeconds: 60,
  repair: DEFAULT_REPAIR_POLICY,
});
const LOST: Finding = {
  check: 'server-conf',
  scope: 'a',
  evidence: 'federates_with is lost',
  remedy: 'put it back',
  action: 'restore',
};
const ID = 'server-conf@a';

/** Finds this, and lets a round pass. @returns what is to be repaired */
function find(watched: WatchedFederation, ...findings: Finding[]): string[] {
  watched.takeDiagnosis(
    { federation: 'f', clusters: ['a', 'b'], verdict: 'ok', checks: [], findings, members: [] },
    START,
  );
  watched.reconcile(START);
  watched.rounds++;
  return watched.due.map(({ id }) => id);
}

/** Finds it, and that it is repaired. */
function comeAndGo(watched: WatchedFederation, finding = LOST): string[] {
  const due = find(watched, finding);
  find(watched);
  return due;
}

test('what something undoes again and again is repaired so often, in whichever run, and then escalated', () => {
  const first = new WatchedFederation(settings(['a', 'b']), START);
  for (let times = 0; times < MOST_RETURNS; times++) expect(comeAndGo(first)).toEqual([ID]);
  const watched = new WatchedFederation(settings(['a', 'b']), START, first.state);
  expect(find(watched, LOST)).toEqual([]);
  const [finding] = watched.health(START).findings;
  expect(finding).toMatchObject({
    state: 'escalated',
    evidence: expect.stringMatching(/lost; it came back/) as string,
  });

  expect(watched.approve(ID)).toBe(true);
  expect(watched.due.map(({ id }) => id)).toEqual([ID]);
});

test('while it is to observe only, nothing is repaired that is not approved, in whichever run, until that is ended', () => {
  const { repair: _repair, ...members } = settings(['a', 'b']);
  const first = new WatchedFederation({ ...settings(['a', 'b']), observeOnly: true }, START);
  expect(find(first, LOST)).toEqual([]);
  expect(first.health(START)).toMatchObject({ verdict: 'attention', findings: [{ id: ID, state: 'approval' }] });
  const watched = new WatchedFederation(first.monitorSettings, START, first.state);
  expect(find(watched, LOST)).toEqual([]);
  // One leaves, which makes nothing of what was found as it is to be.
  watched.become(members);
  expect(find(watched, LOST)).toEqual([]);
  expect(watched.approve(ID)).toBe(true);
  expect(watched.due.map(({ id }) => id)).toEqual([ID]);

  watched.become({ ...members, observeOnly: true });
  expect(find(watched, LOST)).toEqual([]);
  watched.become({ ...members, observeOnly: false });
  expect(find(watched, LOST)).toEqual([ID]);
});

test('what a restart mends only for a while is escalated sooner', () => {
  const watched = new WatchedFederation(settings(['a', 'b']), START);
  const stalled: Finding = { ...LOST, check: 'pollerStalled', scope: 'a←b', action: 'restart' };
  for (let times = 0; times < MOST_RESTARTS; times++)
    expect(comeAndGo(watched, stalled)).toEqual(['pollerStalled@a←b']);
  expect(find(watched, stalled)).toEqual([]);
  expect(watched.health(START).findings).toMatchObject([
    { state: 'escalated', evidence: expect.stringMatching(/it came back 4 times in 40 rounds: a restart/) as string },
  ]);

  expect(watched.approve('pollerStalled@a←b')).toBe(true);
  expect(watched.due.map(({ id }) => id)).toEqual(['pollerStalled@a←b']);
});

test('what comes back seldom is repaired every time', () => {
  const watched = new WatchedFederation(settings(['a', 'b']), START);
  for (let times = 0; times < 3 * MOST_RETURNS; times++) {
    expect(comeAndGo(watched)).toEqual([ID]);
    for (let rounds = 0; rounds < RETURN_ROUNDS / MOST_RETURNS; rounds++) find(watched);
  }
});

test('every repair that has ended is counted once, by cause and outcome, however many are remembered', () => {
  const record = (outcome: RepairRecord['outcome'], check = 'server-conf'): RepairRecord => ({
    findingId: `${check}@a`,
    check,
    scope: 'a',
    cause: check,
    action: 'restore',
    evidenceBefore: '',
    evidenceAfter: '',
    outcome,
    startedAt: START,
    durationMs: 1,
  });
  const first = new WatchedFederation(settings(['a', 'b']), START);
  expect(first.health(START).repairCounts).toEqual([]);
  for (let times = 0; times < 60; times++) first.takeRepairs([record('healed')]);
  const next = new WatchedFederation(settings(['a', 'b']), START, first.state);
  next.takeRepairs([record('failed'), record('healed'), record('healed', 'route')]);
  const { repairs, repairCounts } = next.health(START);
  expect(repairs).toHaveLength(50);
  expect(repairCounts).toEqual([
    { cause: 'server-conf', outcome: 'healed', count: 61 },
    { cause: 'server-conf', outcome: 'failed', count: 1 },
    { cause: 'route', outcome: 'healed', count: 1 },
  ]);
  // What was handed over stays as it was: a replay takes it up again.
  expect(first.health(START).repairCounts).toEqual([{ cause: 'server-conf', outcome: 'healed', count: 60 }]);
});

test('a digest that is another one, as of a new version, is worth one thorough look', () => {
  const watched = new WatchedFederation(settings(['a', 'b']), START);
  const takeBoth = (configDigest: string) => {
    for (const [cluster, other] of [['a', 'b'] as const, ['b', 'a'] as const])
      watched.take(clusterReading(cluster, START, { stored: storedOf([other]), configDigest }), START);
  };
  takeBoth('of the old version');
  find(watched);
  expect(watched.changedClusters).toEqual([]);
  takeBoth('of the new version');
  expect(watched.changedClusters).toEqual(['a', 'b']);
  expect(find(watched)).toEqual([]);
  takeBoth('of the new version');
  expect(watched.changedClusters).toEqual([]);
});

describe('of many peers that look bad', () => {
  const PEERS = Array.from({ length: 8 }, (_, index) => `p${index}`);
  function reading(cluster: string, readAt: number, pollsFail = false, endpointProblem?: string): ClusterReading {
    const others = ['a', ...PEERS].filter((each) => each !== cluster);
    const failure = { at: readAt, cause: 'endpointUnreachable' as const, message: 'refused' };
    return clusterReading(cluster, readAt, {
      stored: storedOf(others),
      pollErrors: pollsFail ? Object.fromEntries(others.map((each) => [domainOf(each), failure])) : {},
      ...(endpointProblem === undefined ? {} : { endpointProblem }),
    });
  }

  function watched(): WatchedFederation {
    const federation = new WatchedFederation(settings(['a', ...PEERS]), START);
    for (const cluster of ['a', ...PEERS]) federation.take(reading(cluster, START), START);
    return federation;
  }

  test('those are tried next that were not tried for the longest time', () => {
    const federation = watched();
    federation.take(reading('a', START + 1_000, true), START + 1_000);
    const first = federation.suspicious('a');
    expect(first).toHaveLength(5);
    const failed = { at: START + 1_000, ok: false, cause: 'unknownAuthority' as const };
    const refreshes = Object.fromEntries(first.map((each) => [each, { ...failed, stored: each.replace('.test', '') }]));
    federation.takeRefreshes('a', refreshes, START + 1_000);
    const later = START + 60_000;
    federation.take(reading('a', later, true), later);
    expect(federation.suspicious('a').slice(0, 3).sort()).toEqual(['p5.test', 'p6.test', 'p7.test']);
  });

  test('a few try at once whether they reach a cluster whose endpoint does not serve the engine', () => {
    const federation = watched();
    expect(federation.suspectedBy('a')).toEqual([]);
    federation.take(reading('a', START + 1_000, false, 'refused'), START + 1_000);
    expect(federation.suspectedBy('a')).toEqual(['p0', 'p1', 'p2']);
  });
});

test('a bundle that is gone is brought back whatever is wrong with the endpoint of either side', () => {
  for (const cluster of ['a', 'b']) {
    const watched = new WatchedFederation(settings(['a', 'b']), START);
    watched.take(clusterReading('a', START, { stored: {} }), START);
    watched.take(clusterReading('b', START, { stored: storedOf(['a']) }), START);
    const foreign: Finding = { check: 'service', scope: cluster, evidence: 'of somebody else', remedy: 'delete it' };
    expect(find(watched, foreign)).toEqual(['neverBootstrapped@a←b']);
  }
});

describe('an endpoint that presents another profile than it is asked for', () => {
  const CLUSTERS = ['a', 'b', 'c'];

  function opened(asking: readonly string[], endpointProblem?: string): string[] {
    const watched = new WatchedFederation(settings(CLUSTERS), START);
    const failed = { at: START, cause: 'wrongProfile' as const };
    for (const cluster of CLUSTERS) {
      const stored = storedOf(CLUSTERS.filter((each) => each !== cluster));
      const problem = cluster === 'b' && endpointProblem !== undefined ? { endpointProblem } : {};
      const pollErrors = asking.includes(cluster) ? { [domainOf('b')]: { ...failed, message: 'said' } } : {};
      watched.take(clusterReading(cluster, START, { stored, pollErrors, ...problem }), START);
    }
    for (const cluster of asking)
      watched.takeRefreshes(cluster, { [domainOf('b')]: { ...failed, ok: false, stored: 'b' } }, START);
    return watched.reconcile(START).opened.map(({ id, action }) => `${id}: ${action}`);
  }

  test('has the one that asks restarted, where it serves as it is configured', () => {
    expect(opened(['a'])).toEqual(['wrongProfile@a←b: restart']);
  });

  test('is restarted itself, and no peer, where it does not', () => {
    expect(opened(['a', 'c'], 'it presents no SPIFFE ID')).toEqual(['endpoint@b: restart']);
  });
});

describe('policies that somebody deleted on all members', () => {
  const policy: Policy = { type: 'label', name: 'p', labels: { app: 'x' } };
  const diagnosis: Diagnosis = {
    federation: 'f',
    clusters: ['a', 'b'],
    verdict: 'ok',
    checks: [],
    findings: [],
    members: [],
    policies: [policy],
  };

  test('are remembered, over runs, until a change may have ended them', () => {
    const first = new WatchedFederation(settings(['a', 'b']), START);
    first.takeDiagnosis(diagnosis, START, first.knownPolicies);
    const watched = new WatchedFederation(settings(['a', 'b']), START, first.state);
    expect(watched.knownPolicies).toEqual([policy]);
    const asked = watched.knownPolicies;
    watched.become(settings(['a', 'b']));
    watched.takeDiagnosis(diagnosis, START, asked);
    expect(watched.knownPolicies).toEqual([]);
  });

  test('are known as soon as the change that made them is over', () => {
    const watched = new WatchedFederation(settings(['a', 'b']), START);
    watched.become({ ...settings(['a', 'b']), policies: [policy] });
    expect(watched.knownPolicies).toEqual([policy]);
  });

  test('are missed on each of them', () => {
    const clusters = federatedClusters('f', ['a', 'b']);
    const members = clusters.map((facts) => ({ cluster: facts.cluster, facts, problems: [] }));
    expect(diagnoseFederation('f', members).findings).toEqual([]);
    const { findings } = diagnoseFederation('f', members, [policy]);
    const evidence = expect.stringMatching(/is missing/) as string;
    expect(findings).toMatchObject(
      ['a', 'b'].map((scope) => ({ check: 'policy', scope, action: 'restore', evidence })),
    );
  });
});

test('a change that says nothing of rounds or repairs leaves them as they are', () => {
  const repair = { automatic: false, caChange: 'approval' } as const;
  const watched = new WatchedFederation(
    { ...settings(['a', 'b']), intervalSeconds: 3, roundsPerRun: 7, repair },
    START,
  );
  watched.become({ federation: 'f', clusters: ['a', 'b', 'c'], refreshHintSeconds: 60 });
  expect(watched.monitorSettings).toMatchObject({
    clusters: ['a', 'b', 'c'],
    intervalSeconds: 3,
    roundsPerRun: 7,
    repair,
  });
  watched.become({ federation: 'f', clusters: ['a', 'b'], refreshHintSeconds: 60, intervalSeconds: 15 });
  expect(watched.roundMs).toBe(15_000);
});
