import type { ClusterReading, EdgeRefresh, Finding } from '../contract/health.js';

/** SPIRE dates a certificate back by this much, for clocks that differ (spire: pkg/server/credtemplate, NotBeforeCushion). */
const CUSHION_MS = 10_000;

/**
 * How far each cluster's clock is ahead of the one that most go by, in milliseconds. Where the clock that
 * readings go by is itself wrong, all clusters differ from it alike, and none from the others. Pure.
 * @param ahead of the clock that readings go by, in milliseconds, by cluster
 */
export function clockDeviations(ahead: Readonly<Record<string, number>>): Record<string, number> {
  const clocks = [0, ...Object.values(ahead)].sort((a, b) => Math.abs(a) - Math.abs(b));
  const agreeing = (clock: number) => clocks.filter((each) => Math.abs(each - clock) <= CUSHION_MS).length;
  let [agreed, most] = [0, 0];
  for (const clock of new Set(clocks)) {
    const count = agreeing(clock);
    // Of two that as many go by, the one that is nearer to that clock.
    if (count > most) [agreed, most] = [clock, count];
  }
  return Object.fromEntries(Object.entries(ahead).map(([cluster, each]) => [cluster, each - agreed]));
}

/** The clocks that are too far from the others'; none where SPIRE makes up for it. Pure. */
export function clockFindings(ahead: Readonly<Record<string, number>>): Finding[] {
  return Object.entries(clockDeviations(ahead))
    .filter(([, each]) => Math.abs(each) > CUSHION_MS)
    .map(([cluster, each]) => ({
      check: 'clock',
      scope: cluster,
      evidence: `the clock of ${cluster} is ${Math.round(Math.abs(each) / 1000)} s ${each > 0 ? 'ahead of' : 'behind'} the others; SPIRE makes up for ${CUSHION_MS / 1000} s: ${
        each > 0
          ? 'what its SPIRE server has just issued is not valid yet for its peers'
          : "what its peers' SPIRE servers have just issued is not valid yet for it"
      }`,
      remedy: `Set the clocks of the nodes of ${cluster} right: on each, look at its time service (chronyc tracking, timedatectl).`,
    }));
}

/**
 * A reading with its times by the clock of who asked for it, which is what they are compared with. `startedAt` tells one
 * start of a server from another and stays as it is. Pure.
 * @param askedAt when it was asked for, and `now`, in milliseconds since the Unix epoch by that clock
 */
export function atAskersTime(reading: ClusterReading, askedAt: number, now: number): ClusterReading {
  const shift = leastShift(reading.readAt, askedAt, now);
  if (shift === 0) return reading;
  const moved = (times: Readonly<Record<string, number>>) =>
    Object.fromEntries(Object.entries(times).map(([name, at]) => [name, at === 0 ? 0 : at - shift]));
  const { server } = reading;
  if (server === undefined) return { ...reading, readAt: reading.readAt - shift };
  const { silent, pollErrors, lastPolls, clockAheadMs = 0, ...rest } = server;
  // Two workers may differ, and two clusters must not differ by that; the shift is known to within the time it took.
  const aheadMs = towardsZero(clockAheadMs + shift, now - askedAt);
  return {
    ...reading,
    readAt: reading.readAt - shift,
    server: {
      ...rest,
      ...(aheadMs === 0 ? {} : { clockAheadMs: aheadMs }),
      silent: moved(silent),
      pollErrors: Object.fromEntries(
        Object.entries(pollErrors).map(([name, error]) => [name, { ...error, at: error.at - shift }]),
      ),
      ...(lastPolls === undefined ? {} : { lastPolls: moved(lastPolls) }),
    },
  };
}

/** As atAskersTime, for what came of fetches. Pure. */
export function fetchesAtAskersTime(
  fetches: Readonly<Record<string, EdgeRefresh>>,
  askedAt: number,
  now: number,
): Record<string, EdgeRefresh> {
  return Object.fromEntries(
    Object.entries(fetches).map(([name, fetch]) => [
      name,
      { ...fetch, at: fetch.at - leastShift(fetch.at, askedAt, now) },
    ]),
  );
}

function towardsZero(value: number, by: number): number {
  return Math.sign(value) * Math.max(0, Math.abs(value) - by);
}

/** By how much a clock is at least ahead, where what happened between two times happened at `at` by it. */
function leastShift(at: number, earliest: number, latest: number): number {
  return Math.max(0, at - latest) + Math.min(0, at - earliest);
}
