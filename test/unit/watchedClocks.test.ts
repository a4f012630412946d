import type { ClusterReading } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';

const NOW = Date.parse('2030-01-01T12:00:00Z');
const CLUSTERS = ['a', 'b', 'c'];

function reading(cluster: string, clockAheadMs: number): ClusterReading {
  const server = {
    trustDomain: `${cluster}.test`,
    ownFingerprint: cluster,
    storedDigest: cluster,
    stored: {},
    pollErrors: {},
    silent: {},
    polls: 1,
    startedAt: NOW - 3_600_000,
    clockAheadMs,
    configDigest: 'config',
    refreshHintSeconds: 300,
  };
  return { cluster, readAt: NOW, serverDown: false, server };
}

/** Clusters whose clocks are found to be wrong, after these readings. */
function wrongClocks(...readings: ClusterReading[]): string[] {
  const watched = new WatchedFederation(
    { federation: 'f', clusters: CLUSTERS, refreshHintSeconds: 300, repair: DEFAULT_REPAIR_POLICY },
    NOW,
  );
  for (const each of readings) watched.take(each, NOW);
  return watched
    .reconcile(NOW)
    .opened.filter(({ check }) => check === 'clock')
    .map(({ scope }) => scope);
}

test('a cluster whose clock is not that of the others is found', () => {
  expect(wrongClocks(reading('a', 60_000), reading('b', 0), reading('c', 0))).toEqual(['a']);
});

test("a worker's clock that is wrong accuses nobody, also while a cluster cannot be read", () => {
  expect(wrongClocks(...CLUSTERS.map((cluster) => reading(cluster, 60_000)))).toEqual([]);
  expect(wrongClocks(reading('a', 60_000), reading('b', 60_000))).toEqual([]);
});

test('a cluster that is not reached any more is not accused by what its clock was', () => {
  const away: ClusterReading = {
    cluster: 'a',
    readAt: NOW,
    serverDown: false,
    problem: { type: 'ClusterUnreachable', message: 'no answer' },
  };
  expect(wrongClocks(reading('a', 60_000), reading('b', 0), reading('c', 0), away)).toEqual([]);
});
