import type { ClusterReading, ServerReading } from '../../src/contract/health.js';
import { afterFetches, readingChecks } from '../../src/federation/readingChecks.js';

const NOW = Date.parse('2030-01-01T12:00:00Z');
const INTERVAL = 75_000;
const TRUSTING = { cluster: 'a', trustDomain: 'a.test' };
const TRUSTED = { cluster: 'b', trustDomain: 'b.test' };

const at = (secondsFromNow: number) => NOW + secondsFromNow * 1000;
const iso = (secondsFromNow: number) => new Date(at(secondsFromNow)).toISOString();

const WELL: ServerReading = {
  trustDomain: 'a.test',
  ownFingerprint: 'own',
  caExpiresAt: iso(20 * 3600),
  caRotatesAt: iso(16 * 3600),
  storedDigest: 'digest',
  stored: { 'b.test': { fingerprint: 'peer', refreshHintSeconds: 300 } },
  pollErrors: {},
  silent: {},
  lastPolls: { 'b.test': at(-30) },
  polls: 12,
  startedAt: at(-3600),
  configDigest: 'config',
  refreshHintSeconds: 300,
};

/** What is not ok, with its verdict. */
function wrong(server: Partial<ServerReading>, reading: Partial<ClusterReading> = {}): string[] {
  const readings: ClusterReading[] = [
    { cluster: 'a', readAt: NOW, serverDown: false, server: { ...WELL, ...server }, ...reading },
  ];
  return readingChecks({ now: NOW, pollIntervalMs: INTERVAL, readings }, [{ trusting: TRUSTING, trusted: TRUSTED }])
    .filter(({ verdict }) => verdict !== 'ok')
    .map(({ name, scope, verdict }) => `${name} of ${scope}: ${verdict}`);
}

const failedPoll = (cause: 'endpointUnreachable' | 'unknownAuthority' | 'neverBootstrapped', secondsAgo = 5) => ({
  pollErrors: { 'b.test': { at: at(-secondsAgo), cause, message: 'no' } },
});

test.each<[string, Partial<ServerReading>, string[]]>([
  ['all well', {}, []],
  ['the newest poll failed once', failedPoll('endpointUnreachable'), ['endpointUnreachable of a←b: warning']],
  [
    'polls fail for longer than one interval',
    { ...failedPoll('endpointUnreachable'), lastPolls: { 'b.test': at(-200) } },
    ['endpointUnreachable of a←b: failed'],
  ],
  ['the peer cannot be authenticated', failedPoll('unknownAuthority'), ['unknownAuthority of a←b: failed']],
  ['no bundle is stored, which the stored bundle tells', failedPoll('neverBootstrapped'), []],
  [
    'no refresh hint',
    { stored: { 'b.test': { fingerprint: 'peer', refreshHintSeconds: 0 } } },
    ['refresh-hint of a←b: warning'],
  ],
  ['no poll for two intervals', { lastPolls: { 'b.test': at(-156) } }, ['pollerStalled of a←b: failed']],
  ['no poll of this peer, but of others, since the start', { lastPolls: {} }, ['pollerStalled of a←b: failed']],
  ['no poll in the log at all, which may hide them', { lastPolls: {}, polls: 0 }, []],
  [
    'no poll for two intervals, but a fetch on demand just now',
    { lastPolls: { 'b.test': at(-1) }, silent: { 'b.test': at(-156) } },
    ['pollerStalled of a←b: failed'],
  ],
  [
    'a poll that failed, and none for two intervals',
    { ...failedPoll('endpointUnreachable', 156), silent: { 'b.test': at(-156) } },
    ['pollerStalled of a←b: failed'],
  ],
  [
    'the same, of a peer that cannot be authenticated',
    { ...failedPoll('unknownAuthority', 156), silent: { 'b.test': at(-156) } },
    ['unknownAuthority of a←b: failed'],
  ],
  [
    'no poll for two intervals, and a fetch on demand fails',
    { ...failedPoll('endpointUnreachable'), lastPolls: {}, silent: { 'b.test': at(-156) } },
    ['endpointUnreachable of a←b: failed'],
  ],
  [
    'no poll for two intervals, of a peer that is polled less often by the hint of its stored bundle',
    { stored: { 'b.test': { fingerprint: 'peer', refreshHintSeconds: 3600 } }, lastPolls: { 'b.test': at(-156) } },
    [],
  ],
  ['no poll of this peer in a log that does not reach back far enough', { lastPolls: {}, untold: ['b.test'] }, []],
  ['a server that has just started', { lastPolls: {}, startedAt: at(-20) }, []],
  ['the next CA is overdue', { caRotatesAt: iso(-60) }, ['ca-horizon of a: failed']],
  [
    'CAs that live too short for the interval',
    { caExpiresAt: iso(160), caRotatesAt: iso(100) },
    ['ca-horizon of a: warning'],
  ],
  ['CAs that live just long enough', { caExpiresAt: iso(175), caRotatesAt: iso(100) }, []],
])('%s', (_name, server, expected) => {
  expect(wrong(server)).toEqual(expected);
});

test('a server that does not run is named, and one that ends again and again is named otherwise', () => {
  const away = { server: undefined as never, serverDown: true };
  expect(wrong({}, away)).toEqual(['server-down of a: failed']);
  expect(wrong({}, { ...away, crashLoop: 'it ended' })).toEqual(['server-crash-loop of a: failed']);
});

test('a fetch on demand counts for more than the poll before it', () => {
  const reading: ClusterReading = {
    cluster: 'a',
    readAt: NOW,
    serverDown: false,
    server: { ...WELL, ...failedPoll('endpointUnreachable'), lastPolls: {} },
  };
  const works = afterFetches(reading, { 'b.test': { at: NOW, ok: true } });
  expect(wrong({}, reading)).toEqual(['endpointUnreachable of a←b: failed']);
  expect(wrong({}, works)).toEqual([]);
  const fails = afterFetches(reading, {
    'b.test': { at: NOW, ok: false, cause: 'unknownAuthority', message: 'x509: unknown authority' },
  });
  expect(wrong({}, fails)).toEqual(['unknownAuthority of a←b: failed']);
});
