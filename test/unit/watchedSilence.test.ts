import type { ServerReading } from '../../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY } from '../../src/contract/monitor.js';
import { pollDueMs, pollIntervalMs } from '../../src/federation/freshness.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';
import { clusterReading, domainOf, storedOf } from '../support/clusterReading.js';

const START = Date.parse('2030-01-01T12:00:00Z');
const ROUND = pollIntervalMs(60);
const CLUSTERS = ['a', 'b'];
const PEER = domainOf('b');

function watched(): WatchedFederation {
  const settings = { federation: 'f', clusters: CLUSTERS, refreshHintSeconds: 60, repair: DEFAULT_REPAIR_POLICY };
  return new WatchedFederation(settings, START);
}

/** Reads both in so many rounds, with fetches on demand that work wherever one is wanted. @returns what is found then */
function pass(federation: WatchedFederation, rounds: number, but: (now: number) => Partial<ServerReading>): string[] {
  let now = START;
  for (let round = 0; round < rounds; round++, now += ROUND) {
    federation.take(clusterReading('b', now, { stored: storedOf(['a']) }), now);
    federation.take(clusterReading('a', now, { stored: storedOf(['b']), ...but(now) }), now);
    if (federation.suspicious('a').length > 0)
      federation.takeRefreshes('a', { [PEER]: { at: now, ok: true, stored: 'b' } }, now);
  }
  return federation.reconcile(now).opened.map(({ id }) => id);
}

const ofHint = (refreshHintSeconds: number) => ({ stored: { [PEER]: { fingerprint: 'b', refreshHintSeconds } } });

test('a poller that is silent, though fetches on demand work, is stalled', () => {
  expect(pass(watched(), 10, () => ({ silent: { [PEER]: 0 } }))).toEqual(['pollerStalled@a←b']);
});

test('a peer whose server.conf came to have another hint is polled by that: nobody is restarted for it', () => {
  const due = (now: number) => now - START > pollDueMs(pollIntervalMs(600));
  const reading = (now: number) => ({ ...ofHint(600), ...(due(now) ? { silent: { [PEER]: 0 } } : { untold: [PEER] }) });
  expect(pass(watched(), 15, reading)).toEqual([]);
  expect(pass(watched(), 30, reading)).toEqual(['pollerStalled@a←b']);
});

test('a log that does not tell of a peer does not tell that fetches from it work again', () => {
  const federation = watched();
  const untold = { ...ofHint(3600), untold: [PEER] };
  pass(federation, 1, () => untold);
  const failed = { ok: false, cause: 'unknownAuthority' as const, message: 'unknown authority', stored: 'b' };
  federation.takeRefreshes('a', { [PEER]: { ...failed, at: START + 1_000 } }, START + 1_000);
  const later = START + ROUND;
  federation.take(clusterReading('a', later, untold), later);
  expect(federation.reconcile(later).opened.map(({ id }) => id)).toEqual(['unknownAuthority@a←b']);
});
