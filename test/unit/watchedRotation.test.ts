import type { ClusterReading, EdgeVerdict } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';

const START = Date.parse('2030-01-01T12:00:00Z');
const SECOND = 1_000;
const HINT_S = 300;
const INTERVAL_S = HINT_S / 4;
const SPREAD_S = INTERVAL_S / 2;

/** A cluster's own keys, and those that it stores of the other. */
function reading(cluster: 'a' | 'b', atS: number, own: string, stored: string): ClusterReading {
  const peer = cluster === 'a' ? 'b.test' : 'a.test';
  const server = {
    trustDomain: `${cluster}.test`,
    ownFingerprint: own,
    storedDigest: stored,
    stored: { [peer]: { fingerprint: stored, refreshHintSeconds: HINT_S } },
    pollErrors: {},
    silent: {},
    polls: 1,
    startedAt: 1,
    configDigest: 'config',
    refreshHintSeconds: HINT_S,
  };
  return { cluster, readAt: START + atS * SECOND, serverDown: false, server };
}

/** Takes readings in turn. @returns the verdict on a←b after each, and whether the reading raised an alarm */
function verdicts(...readings: ClusterReading[]): [EdgeVerdict | undefined, boolean][] {
  const settings = { federation: 'f', clusters: ['a', 'b'], refreshHintSeconds: HINT_S, repair: DEFAULT_REPAIR_POLICY };
  const known = () => ({ failures: 0, goodConfig: 'config' });
  const { state } = new WatchedFederation(settings, START);
  const watched = new WatchedFederation(settings, START, {
    ...state,
    clusters: { a: known(), b: known() },
    lastRoundAt: START,
  });
  return readings.map((each) => {
    const alarmed = watched.take(each, each.readAt);
    const edge = watched.health(each.readAt).edges.find(({ trusting }) => trusting === 'a');
    return [edge?.verdict, alarmed];
  });
}

test('keys that rotate between the two readings of a round: lagging, and nobody is alarmed', () => {
  expect(
    verdicts(
      reading('a', 0, 'a', 'old'),
      reading('b', SPREAD_S, 'new', 'a'),
      reading('a', INTERVAL_S, 'a', 'new'),
      reading('b', INTERVAL_S + SPREAD_S, 'new', 'a'),
    ),
  ).toEqual([
    ['unknown', false],
    ['lagging', false],
    ['fresh', false],
    ['fresh', false],
  ]);
});

test('a peer that is read late in a round is not blamed for what it may long have fetched', () => {
  expect(
    verdicts(
      reading('a', 0, 'a', 'old'),
      reading('b', 0, 'new', 'a'),
      // A round that hurried, and then one that did not: they are further apart than keys may differ.
      reading('b', INTERVAL_S + SPREAD_S / 2, 'new', 'a'),
      reading('a', INTERVAL_S + SPREAD_S, 'a', 'new'),
    ),
  ).toEqual([
    ['unknown', false],
    ['lagging', false],
    ['lagging', false],
    ['fresh', false],
  ]);
});

test('a peer that misses a rotation is found once both were seen to differ for too long', () => {
  expect(
    verdicts(
      reading('a', 0, 'a', 'old'),
      reading('b', SPREAD_S, 'new', 'a'),
      reading('a', INTERVAL_S, 'a', 'old'),
      reading('b', INTERVAL_S + SPREAD_S, 'new', 'a'),
      reading('a', 2 * INTERVAL_S, 'a', 'old'),
      reading('b', 2 * INTERVAL_S + SPREAD_S, 'new', 'a'),
    ).slice(2),
  ).toEqual([
    ['lagging', false],
    ['lagging', false],
    ['lagging', false],
    ['stale', true],
  ]);
});
