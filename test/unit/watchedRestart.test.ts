import type { ClusterReading } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import { retryAfterMs } from '../../src/federation/freshness.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';
import { clusterReading, domainOf, storedOf } from '../support/clusterReading.js';

const START = Date.parse('2030-01-01T12:00:00Z');
const RETRY_SECONDS = retryAfterMs(15_000) / 1000;
const PEER = domainOf('b');

/** Seconds after the start. */
const at = (seconds: number) => START + seconds * 1000;

class Watch {
  readonly federation = new WatchedFederation(
    {
      federation: 'f',
      clusters: ['a', 'b'],
      refreshHintSeconds: 60,
      intervalSeconds: 15,
      repair: DEFAULT_REPAIR_POLICY,
    },
    START,
  );

  constructor() {
    this.take(clusterReading('a', at(0), { stored: storedOf(['b']) }));
    this.takeB(1);
  }

  take(reading: ClusterReading): void {
    this.federation.take(reading, reading.readAt);
  }

  takeB(seconds: number, startedAt = 1): void {
    this.take(clusterReading('b', at(seconds), { stored: storedOf(['a']), startedAt }));
  }

  takeBDown(seconds: number): void {
    const problem = { type: 'SpireUnavailable' as const, message: 'there is no pod' };
    this.take({ cluster: 'b', readAt: at(seconds), serverDown: true, problem });
  }

  /** What the log of a says: its newest poll failed then. */
  pollFailed(seconds: number, readAtSeconds: number): void {
    const failure = { at: at(seconds), cause: 'endpointUnreachable' as const, message: 'connection refused' };
    this.take(clusterReading('a', at(readAtSeconds), { stored: storedOf(['b']), pollErrors: { [PEER]: failure } }));
  }

  fetchFailed(seconds: number, tookSeconds = 0): void {
    const refresh = {
      at: at(seconds),
      tookMs: tookSeconds * 1000,
      ok: false,
      cause: 'endpointUnreachable' as const,
      message: 'connection refused',
      stored: 'b',
    };
    this.federation.takeRefreshes('a', { [PEER]: refresh }, at(seconds));
  }

  found(seconds: number): string[] {
    this.federation.reconcile(at(seconds));
    return this.federation.health(at(seconds)).findings.map(({ id }) => id);
  }
}

/** SPIRE server of b goes at 5 s, and a cannot fetch from it twice, which is all that the engine sees of it so far. */
function away(): Watch {
  const watch = new Watch();
  watch.pollFailed(9, 10);
  watch.fetchFailed(10);
  watch.fetchFailed(18);
  expect(watch.found(18)).toEqual([]);
  return watch;
}

describe.each([
  [
    'that was seen to be away',
    (watch: Watch) => {
      watch.takeBDown(24);
      watch.takeB(39, at(33));
    },
  ],
  ['that was away between two readings', (watch: Watch) => watch.takeB(39, at(33))],
])('a SPIRE server %s', (_what, comesBack) => {
  test('is not found to be unreachable by fetches from before it was back, but tried again', () => {
    const watch = away();
    comesBack(watch);
    expect(watch.found(39)).toEqual([]);
    expect(watch.federation.suspectedBy('b')).toEqual(['a']);
  });

  test('is found where fetches fail as long after that as they have to', () => {
    const watch = away();
    comesBack(watch);
    // One that began before.
    watch.fetchFailed(40, 10);
    expect(watch.found(40)).toEqual([]);
    expect(watch.federation.failedJustNow('a')).toMatchObject({ trustDomains: [PEER] });
    watch.fetchFailed(39 + RETRY_SECONDS);
    expect(watch.found(39 + RETRY_SECONDS)).toEqual(['endpointUnreachable@a←b']);
  });
});

test('what fetches had told before stays told over a restart of the peer', () => {
  const watch = away();
  watch.takeB(20);
  expect(watch.found(20)).toEqual(['endpointUnreachable@a←b']);
  watch.takeB(39, at(33));
  expect(watch.found(39)).toEqual(['endpointUnreachable@a←b']);
});
