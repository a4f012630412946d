import type { Finding } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';
import { clusterReading, storedOf } from '../support/clusterReading.js';

const START = Date.parse('2030-01-01T12:00:00Z');
const SETTINGS = {
  federation: 'f',
  clusters: ['a', 'b'],
  refreshHintSeconds: 60,
  repair: DEFAULT_REPAIR_POLICY,
};
const FAILS: Finding = { check: 'identity', scope: 'a', evidence: '1 failed', remedy: 'read the log' };

const at = (seconds: number) => START + seconds * 1000;

function read(watched: WatchedFederation, seconds: number): void {
  for (const [cluster, peer] of [
    ['a', 'b'],
    ['b', 'a'],
  ] as const)
    watched.take(clusterReading(cluster, at(seconds), { stored: storedOf([peer]) }), at(seconds));
}

function watching(): WatchedFederation {
  const watched = new WatchedFederation(SETTINGS, START);
  read(watched, 0);
  return watched;
}

/** What is open after a thorough look that finds this. */
function look(watched: WatchedFederation, seconds: number, ...findings: Finding[]): string[] {
  watched.takeDiagnosis(
    { federation: 'f', clusters: ['a', 'b'], verdict: 'ok', checks: [], findings, members: [] },
    at(seconds),
  );
  watched.reconcile(at(seconds));
  return watched.health(at(seconds)).findings.map(({ id, state }) => `${id}: ${state}`);
}

test('what a ClusterSPIFFEID still tells of a fault that was just mended is looked at again, and raises nothing', () => {
  const watched = watching();
  expect(look(watched, 0, FAILS)).toEqual([]);
  expect(watched.changedClusters).toEqual(['a']);
  // The next look may come early, as after another repair.
  expect(look(watched, 5, FAILS)).toEqual([]);
  expect(look(watched, 15)).toEqual([]);
  expect(watched.changedClusters).toEqual([]);
});

test('what looks find for longer than that takes a person, also where another run takes over meanwhile', () => {
  const first = watching();
  look(first, 0, FAILS);
  const watched = new WatchedFederation(SETTINGS, at(10), first.state);
  read(watched, 10);
  expect(look(watched, 15, FAILS)).toEqual(['identity@a: person']);
  expect(watched.changedClusters).toContain('a');
  expect(look(watched, 30, FAILS)).toEqual(['identity@a: person']);
  expect(look(watched, 45)).toEqual([]);
});

test('what was over in between begins anew', () => {
  const watched = watching();
  look(watched, 0, FAILS);
  look(watched, 15);
  expect(look(watched, 30, FAILS)).toEqual([]);
  expect(look(watched, 45, FAILS)).toEqual(['identity@a: person']);
});

test('what is open stays so over a change of the federation, until a look does not see it', () => {
  const watched = watching();
  look(watched, 0, FAILS);
  look(watched, 15, FAILS);
  watched.become(SETTINGS);
  expect(look(watched, 20, FAILS)).toEqual(['identity@a: person']);
  expect(look(watched, 35)).toEqual([]);
});

test('one that something else explains has the cluster looked at again', () => {
  const watched = watching();
  const check = { name: 'identity', scope: 'a', verdict: 'failed' as const, evidence: '1 failed' };
  const diagnosis = { federation: 'f', clusters: ['a', 'b'], verdict: 'failed' as const, members: [] };
  watched.takeDiagnosis({ ...diagnosis, checks: [check], findings: [] }, at(0));
  expect(watched.changedClusters).toEqual(['a']);
  watched.takeDiagnosis({ ...diagnosis, checks: [], findings: [] }, at(15));
  expect(watched.changedClusters).toEqual([]);
});

test('nothing else waits for a second look', () => {
  expect(look(watching(), 0, { ...FAILS, check: 'policy', action: 'restore' })).toEqual(['policy@a: found']);
});
