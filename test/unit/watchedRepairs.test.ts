import type { ClusterReading, Finding } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import { MOST_RETURNS, RETURN_ROUNDS } from '../../src/federation/repairPolicy.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';

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
  watched.takeDiagnosis({ federation: 'f', clusters: ['a', 'b'], verdict: 'ok', checks: [], findings, members: [] });
  watched.reconcile(START);
  watched.rounds++;
  return watched.due.map(({ id }) => id);
}

/** Finds it, and that it is repaired. */
function comeAndGo(watched: WatchedFederation): string[] {
  const due = find(watched, LOST);
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

test('what comes back seldom is repaired every time', () => {
  const watched = new WatchedFederation(settings(['a', 'b']), START);
  for (let times = 0; times < 3 * MOST_RETURNS; times++) {
    expect(comeAndGo(watched)).toEqual([ID]);
    for (let rounds = 0; rounds < RETURN_ROUNDS / MOST_RETURNS; rounds++) find(watched);
  }
});
