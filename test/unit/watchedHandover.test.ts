import type { ClusterReading } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';
import { clusterReading, domainOf, storedOf } from '../support/clusterReading.js';

const START = Date.parse('2030-01-01T12:00:00Z');
const LATER = START + 15_000;
/** Temporal takes no larger input (temporal: limit.blobSize.error). */
const LARGEST_INPUT = 2 * 1024 * 1024;

function names(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `c${index}`);
}

function settings(clusters: string[]) {
  return { federation: 'f', clusters, refreshHintSeconds: 60, repair: DEFAULT_REPAIR_POLICY };
}

type But = NonNullable<Parameters<typeof clusterReading>[2]>;

/** A federation whose clusters were all read once. */
function watched(clusters: string[], but: (cluster: string) => But = () => ({})): WatchedFederation {
  const federation = new WatchedFederation(settings(clusters), START);
  for (const cluster of clusters) {
    const stored = storedOf(clusters.filter((each) => each !== cluster));
    federation.take(clusterReading(cluster, START, { stored, ...but(cluster) }), START);
  }
  federation.lastRoundAt = START;
  return federation;
}

/** The next run, by what a payload of JSON can hold. */
function next({ state, names: clusters }: WatchedFederation): WatchedFederation {
  return new WatchedFederation(settings(clusters), LATER, JSON.parse(JSON.stringify(state)) as typeof state);
}

/** A reading that says of what is stored only that it is what it was. */
const unchanged = (cluster: string): ClusterReading => clusterReading(cluster, LATER);

test('the next run knows the stored bundles of hundreds of clusters, and reads none of them again', () => {
  const first = watched(names(300));
  expect(JSON.stringify(first.state).length).toBeLessThan(LARGEST_INPUT / 10);
  const second = next(first);
  expect(second.knownStored('c7')).toBe('stored');
  for (const cluster of second.names) second.take(unchanged(cluster), LATER);
  expect(second.health(LATER).counts).toEqual({ fresh: 300 * 299, lagging: 0, stale: 0, broken: 0, unknown: 0 });
});

test('so it does those that are missing, other ones, without a hint, or of somebody else', () => {
  const stored = {
    [domainOf('c2')]: { fingerprint: 'old', refreshHintSeconds: 60 },
    [domainOf('c3')]: { fingerprint: 'c3', refreshHintSeconds: 0 },
    'elsewhere.test': { fingerprint: 'e', refreshHintSeconds: 60 },
  };
  const first = watched(names(4), (cluster) => (cluster === 'c0' ? { stored } : {}));
  const second = next(first);
  for (const cluster of second.names) second.take(unchanged(cluster), LATER);
  expect(second.state.bundles).toEqual(first.state.bundles);
  expect(
    second
      .health(LATER)
      .edges.flatMap(({ trusting, trusted, verdict }) => (trusting === 'c0' ? [[trusted, verdict]] : [])),
  ).toEqual([
    ['c1', 'broken'],
    ['c2', 'lagging'],
    ['c3', 'fresh'],
  ]);
  expect(second.suspicious('c0')).toEqual([domainOf('c2'), domainOf('c3')]);
});

test('what was found of a peer that hangs stays found, and is not told anew', () => {
  const silent = { silent: { [domainOf('c1')]: START - 60_000 } };
  const first = watched(names(2), (cluster) => (cluster === 'c0' ? silent : {}));
  const failed = {
    ok: false,
    cause: 'endpointUnreachable' as const,
    message: 'no answer',
    tookMs: 10_000,
    stored: 'c1',
  };
  first.take(clusterReading('c1', START + 30_000), START + 30_000);
  first.takeRefreshes('c0', { [domainOf('c1')]: { ...failed, at: START + 29_000 } }, START + 30_000);
  expect(first.reconcile(START + 30_000).opened.map(({ id }) => id)).toEqual(['endpointUnreachable@c0←c1']);
  const second = next(first);
  expect(second.reconcile(START + 31_000)).toEqual({ opened: [], closed: [] });
  second.take(clusterReading('c1', START + 45_000), START + 45_000);
  second.take(clusterReading('c0', START + 45_000, silent), START + 45_000);
  expect(second.reconcile(START + 45_000)).toEqual({ opened: [], closed: [] });
});

test('a federation in which everything is broken can still be handed over', () => {
  const clusters = names(200);
  const others = (cluster: string) => clusters.filter((each) => each !== cluster);
  const words = 'x'.repeat(500);
  const first = watched(clusters);
  for (const cluster of clusters) {
    const failed = { at: START, ok: false, cause: 'unknownAuthority' as const, message: words };
    const refreshes = Object.fromEntries(others(cluster).map((each) => [domainOf(each), { ...failed, stored: each }]));
    const pollErrors = Object.fromEntries(others(cluster).map((each) => [domainOf(each), { ...failed }]));
    first.take(clusterReading(cluster, START, { pollErrors }), START);
    first.takeRefreshes(cluster, refreshes, START);
  }
  first.reconcile(START);
  expect(first.health(START).counts.broken).toBe(200 * 199);
  expect(JSON.stringify(first.state).length).toBeLessThan(LARGEST_INPUT);
  const second = next(first);
  for (const cluster of clusters) second.take(clusterReading(cluster, LATER, { stored: {} }), LATER);
  expect(second.health(LATER).counts.broken).toBe(200 * 199);
  // Of most it is no longer known when they were fresh, which is not to look as if they had been just now.
  const ages = second.health(LATER).edges.flatMap(({ freshnessAgeSeconds = 0 }) => freshnessAgeSeconds);
  expect(ages.filter((age) => age > 0).length).toBeLessThanOrEqual(1_000);
});

test('until a cluster is read again, what was known of it holds', () => {
  const first = watched(names(3));
  const second = next(first);
  second.take(unchanged('c0'), LATER);
  expect(second.health(LATER)).toMatchObject({ verdict: 'ok', counts: { fresh: 6, unknown: 0 } });
});

test('what a thorough look found, or could not look at twice in a row, is not over for a handover', () => {
  const first = watched(names(2));
  const look = (federation: WatchedFederation, ...checks: string[]) => {
    const findings = checks.map((check) => ({ check, scope: 'c0', evidence: 'seen', remedy: 'mend it' }));
    federation.takeDiagnosis(
      { federation: 'f', clusters: [], verdict: 'failed', checks: [], findings, members: [] },
      START,
    );
    return federation.reconcile(LATER);
  };
  expect(look(first, 'cluster', 'service').opened.map(({ id }) => id)).toEqual(['service@c0']);
  const second = next(first);
  expect(second.reconcile(LATER)).toEqual({ opened: [], closed: [] });
  expect(look(second, 'cluster', 'service').opened.map(({ id }) => id)).toEqual(['cluster@c0']);
});

test('what nobody can mend does not hide what the engine can', () => {
  const clusters = names(40);
  const away = clusters.slice(0, 20);
  const first = watched(clusters);
  const failed = { at: START, ok: false, cause: 'endpointUnreachable' as const, tookMs: 60_000, message: 'no answer' };
  for (const cluster of away) {
    const others = clusters.filter((each) => each !== cluster);
    first.take(
      clusterReading(cluster, START, { silent: Object.fromEntries(others.map((o) => [domainOf(o), 1])) }),
      START,
    );
    first.takeRefreshes(
      cluster,
      Object.fromEntries(others.map((each) => [domainOf(each), { ...failed, stored: each }])),
      START,
    );
  }
  first.take(clusterReading('c39', START, { stored: storedOf(clusters.slice(1, 39)), storedDigest: 'less' }), START);
  const ids = first.reconcile(START).opened.map(({ id }) => id);
  expect(ids).toHaveLength(300);
  expect(ids).toContain('neverBootstrapped@c39←c0');
});

test('a digest that is of what was stored before a fetch does not pass for what is stored now', () => {
  const federation = watched(names(2));
  federation.takeRefreshes('c0', { [domainOf('c1')]: { at: START, ok: true } }, START);
  federation.take(unchanged('c0'), LATER);
  expect(federation.knownStored('c0')).toBeUndefined();
});
