import type { CountedEdge, LoggedPoll, RefreshWindow } from '../../src/contract/rotation.js';
import { intervalStatistics, RefreshCount, watchLimitMs } from '../../src/federation/refreshes.js';
import { holdFailure, rotationSteps, unfresh, type EdgeLook } from '../../src/federation/rotation.js';

const EDGES: CountedEdge[] = [
  { trusting: 'a', trusted: 'b', trustDomain: 'b.test', expectedMs: 15_000 },
  { trusting: 'b', trusted: 'a', trustDomain: 'a.test', expectedMs: 15_000 },
];

const at = (trustDomain: string, ...seconds: number[]): LoggedPoll[] =>
  seconds.map((second) => ({ at: second * 1000, trustDomain, ok: true }));

function counted(...windows: Partial<RefreshWindow>[]): RefreshCount {
  const count = new RefreshCount(EDGES);
  for (const window of windows) count.take({ cluster: 'a', polls: [], ...window });
  return count;
}

const edgeOf = (count: RefreshCount, index = 0) =>
  count.report('demo', { since: 0, until: 60_000, finished: false }).edges[index];

describe('the count of refreshes', () => {
  test('takes every line once, however often and in whatever pieces it comes', () => {
    const count = counted(
      { polls: at('b.test', 0, 15) },
      { polls: at('b.test', 15, 30) },
      { polls: at('b.test', 0, 15, 30, 45) },
    );
    expect(edgeOf(count)).toMatchObject({ refreshes: 4, onDemand: 0, intervals: { count: 3, minMs: 15_000 } });
  });

  test('goes on from what the run before handed over', () => {
    const before = counted({ polls: at('b.test', 0, 15) });
    const state = JSON.parse(JSON.stringify(before.state)) as typeof before.state;
    const count = new RefreshCount(state.edges, state);
    count.take({ cluster: 'a', polls: at('b.test', 15, 30) });
    expect(edgeOf(count)).toMatchObject({ refreshes: 3, intervals: { count: 2, maxMs: 15_000 } });
  });

  test('counts a fetch on demand apart, and measures regular polls only', () => {
    const count = counted({ polls: at('b.test', 0, 4, 15, 30) }, { polls: at('b.test', 4) });
    expect(edgeOf(count)).toMatchObject({
      refreshes: 4,
      onDemand: 1,
      intervals: { count: 2, minMs: 15_000, maxMs: 15_000 },
    });
    expect(count.hasAll(0)).toBe(true);
    expect(count.hasAll(1)).toBe(false);
  });

  test('takes no interval across the start of another process', () => {
    const count = counted({ polls: at('b.test', 0, 15) }, { polls: at('b.test', 60, 75), startedAt: 58_000 });
    expect(edgeOf(count)).toMatchObject({ refreshes: 4, intervals: { count: 2, maxMs: 15_000 } });
  });

  test('counts failed polls once, with the words of the newest', () => {
    const failed = { at: 5_000, trustDomain: 'b.test', ok: false, error: 'no route to host' };
    expect(edgeOf(counted({ polls: [failed] }, { polls: [failed] }))).toMatchObject({
      refreshes: 0,
      failures: 1,
      lastError: 'no route to host',
    });
  });

  test('passes over trust domains that are no members', () => {
    expect(edgeOf(counted({ polls: at('stranger.test', 0, 15) }))).toMatchObject({ refreshes: 0 });
  });

  test('is complete with enough refreshes, equal keys and no gap', () => {
    const count = counted(
      { polls: at('b.test', 0, 15), own: 'A', stored: { 'b.test': 'B' } },
      { cluster: 'b', polls: at('a.test', 1, 16), own: 'B', stored: { 'a.test': 'A' } },
    );
    const complete = (rotations: number) =>
      count.report('demo', { since: 0, until: 20_000, rotations, finished: true }).complete;
    expect([complete(2), complete(3)]).toEqual([true, false]);
    count.take({ cluster: 'b', polls: [], stored: { 'a.test': 'other' } });
    expect(complete(2)).toBe(false);
    expect(edgeOf(count, 1)).toMatchObject({ keysEqual: false });
    count.take({ cluster: 'b', polls: [], stored: { 'a.test': 'A' }, gap: { from: 1, to: 2 } });
    expect(complete(2)).toBe(false);
  });

  test('hands over a bounded number of intervals', () => {
    const seconds = Array.from({ length: 2_000 }, (_, index) => index * 15);
    const count = counted({ polls: at('b.test', ...seconds) });
    expect(edgeOf(count)).toMatchObject({ refreshes: 2_000, intervals: { count: 500 } });
  });
});

test.each([
  [[], { count: 0 }],
  [[7], { count: 1, minMs: 7, medianMs: 7, p95Ms: 7, maxMs: 7 }],
  [
    Array.from({ length: 100 }, (_, index) => 100 - index),
    { count: 100, minMs: 1, medianMs: 50, p95Ms: 95, maxMs: 100 },
  ],
])('statistics of intervals: %j', (intervals, expected) => {
  expect(intervalStatistics(intervals)).toEqual(expected);
});

test('a watch ends though refreshes do not come', () => {
  expect(watchLimitMs(EDGES, 3)).toBe(5 * 15_000 + 60_000);
});

describe('a rotation', () => {
  const fresh: EdgeLook = { stored: 'A', own: 'A', problem: undefined };
  const looks = (a: Partial<EdgeLook>, b: Partial<EdgeLook>) =>
    new Map([
      ['a←b', { ...fresh, ...a }],
      ['b←a', { ...fresh, refresh: { at: 1, ok: true, stored: 'A' }, ...b }],
    ]);
  const open = (a: Partial<EdgeLook>, b: Partial<EdgeLook>) =>
    [...unfresh({ edges: EDGES, cluster: 'a' }, looks(a, b))].map(([edge]) => edge);

  test('finds every edge fresh by its keys, and those of the rotated member by a fetch', () => {
    expect(open({}, {})).toEqual([]);
    expect(open({ stored: 'other' }, {})).toEqual(['a←b']);
    expect(open({ own: undefined }, {})).toEqual(['a←b']);
    expect(open({ problem: 'unreachable' }, {})).toEqual(['a←b']);
    expect(open({}, { refresh: { at: 1, ok: false, message: 'unknown authority' } })).toEqual(['b←a']);
    expect(open({}, { refresh: { at: 1, ok: true, stored: 'older' } })).toEqual(['b←a']);
  });

  test('activates after every peer holds the next CA, and revokes last', () => {
    expect(rotationSteps('a', ['b', 'c'], true).map(({ id }) => id)).toEqual([
      'check',
      'prepare',
      'hold/b',
      'hold/c',
      'activate',
      'prove',
      'taint',
      'revoke',
      'proveRevoked',
    ]);
    expect(rotationSteps('a', ['b'], false).map(({ id }) => id)).not.toContain('revoke');
  });

  test('says which peers do not hold the next CA, and that the old one stays', () => {
    const message = holdFailure('a', [
      { peer: 'b', why: 'no route' },
      { peer: 'c', why: 'no bundle' },
    ]);
    expect(message).toMatch(/b, c do not hold[^]*b: no route[^]*c: no bundle[^]*old CA stays active/);
  });
});
