import type { EdgeCause, EdgeVerdict } from '../../src/contract/health.js';
import {
  classifyPollError,
  judgeEdge,
  lagLimitMs,
  pollDueMs,
  pollIntervalMs,
  restartGraceMs,
  silenceLimitMs,
  type EdgeEvidence,
} from '../../src/federation/freshness.js';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const INTERVAL = pollIntervalMs(300);

function evidence(change: Partial<EdgeEvidence> = {}): EdgeEvidence {
  return {
    now: NOW,
    trustingReadAt: NOW,
    trustedReadAt: NOW,
    pollIntervalMs: INTERVAL,
    trustingReadable: true,
    trustedReadable: true,
    retryAfterMs: 30_000,
    stored: 'keys',
    own: 'keys',
    ...change,
  };
}

const ago = (ms: number) => NOW - ms;
const failed = (cause: EdgeCause, at = NOW) => ({ at, ok: false, cause, message: cause });
const worked = (at = NOW) => ({ at, ok: true, stored: 'keys' });

test('SPIRE polls at a quarter of the hint, and of a minute where the hint is smaller', () => {
  expect(pollIntervalMs(300)).toBe(75_000);
  expect(pollIntervalMs(60)).toBe(15_000);
  expect(pollIntervalMs(10)).toBe(15_000);
});

const table: {
  what: string;
  given: Partial<EdgeEvidence>;
  verdict: EdgeVerdict;
  cause?: EdgeCause;
  suspicious?: boolean;
}[] = [
  { what: 'equal keys', given: {}, verdict: 'fresh' },
  {
    what: 'a single failed poll',
    given: { pollError: { at: NOW, cause: 'endpointUnreachable', message: 'refused' } },
    verdict: 'fresh',
    suspicious: true,
  },
  {
    what: 'a failed poll, after which a fetch on demand worked',
    given: { pollError: { at: ago(1_000), cause: 'endpointUnreachable', message: 'refused' }, refresh: worked() },
    verdict: 'fresh',
  },
  {
    what: 'a failed poll, and a fetch on demand that failed too',
    given: {
      pollError: { at: ago(1_000), cause: 'unknownAuthority', message: 'unknown authority' },
      refresh: failed('unknownAuthority'),
    },
    verdict: 'broken',
    cause: 'unknownAuthority',
  },
  {
    what: 'a poll and a fetch on demand that failed at about the same time',
    given: {
      pollError: { at: ago(29_000), cause: 'endpointUnreachable', message: 'refused' },
      fetchFailsSince: NOW,
      refresh: failed('endpointUnreachable'),
    },
    verdict: 'fresh',
  },
  {
    what: 'a poll and a fetch on demand that failed at about the same time, a while ago',
    given: {
      pollError: { at: ago(32_000), cause: 'endpointUnreachable', message: 'refused' },
      fetchFailsSince: ago(31_000),
      refresh: failed('endpointUnreachable', ago(31_000)),
    },
    verdict: 'fresh',
    suspicious: true,
  },
  {
    what: 'a failed poll, and a fetch on demand that failed much later',
    given: {
      pollError: { at: ago(30_000), cause: 'endpointUnreachable', message: 'refused' },
      fetchFailsSince: NOW,
      refresh: failed('endpointUnreachable'),
    },
    verdict: 'broken',
    cause: 'endpointUnreachable',
  },
  {
    what: 'fetches on demand that fail, of a bundle without a hint',
    given: { storedHintSeconds: 0, fetchFailsSince: ago(30_000), refresh: failed('endpointUnreachable') },
    verdict: 'broken',
    cause: 'endpointUnreachable',
  },
  {
    what: 'a fetch on demand that failed a while ago, and is tried again',
    given: { wasBroken: true, refresh: failed('endpointUnreachable', ago(40_000)) },
    verdict: 'broken',
    cause: 'endpointUnreachable',
    suspicious: true,
  },
  {
    what: 'keys that differ since now',
    given: { own: 'next', differsSince: NOW },
    verdict: 'lagging',
    suspicious: true,
  },
  {
    what: 'keys that differ for one interval, as in a clean rotation',
    given: { own: 'next', differsSince: ago(INTERVAL), refresh: worked(ago(INTERVAL)) },
    verdict: 'lagging',
  },
  {
    what: 'keys that differ, where the first fetch did not get through',
    given: { own: 'next', differsSince: ago(1_000), refresh: failed('endpointUnreachable') },
    verdict: 'lagging',
  },
  {
    what: 'keys that differ, where the first fetch did not get through a while ago',
    given: { own: 'next', differsSince: ago(31_000), refresh: failed('endpointUnreachable', ago(30_500)) },
    verdict: 'lagging',
    suspicious: true,
  },
  {
    what: 'keys that differ, where a later fetch did not get through either',
    given: {
      own: 'next',
      differsSince: ago(31_000),
      fetchFailsSince: ago(30_500),
      refresh: failed('endpointUnreachable'),
    },
    verdict: 'broken',
    cause: 'endpointUnreachable',
  },
  {
    what: 'keys that come to differ while no fetch gets through',
    given: {
      own: 'next',
      differsSince: ago(1_000),
      wasBroken: true,
      refresh: failed('endpointUnreachable', ago(20_000)),
    },
    verdict: 'broken',
    cause: 'endpointUnreachable',
  },
  {
    what: 'keys that differ, where the first fetch was refused',
    given: { own: 'next', differsSince: ago(1_000), refresh: failed('unknownAuthority') },
    verdict: 'broken',
    cause: 'unknownAuthority',
  },
  {
    what: 'keys that differ for longer than that',
    given: { own: 'next', differsSince: ago(lagLimitMs(INTERVAL) + 1) },
    verdict: 'stale',
    suspicious: true,
  },
  {
    what: 'keys that differ for longer than that, where the trusting cluster was read before it was so long',
    given: { own: 'next', differsSince: ago(lagLimitMs(INTERVAL) + 1), trustingReadAt: ago(INTERVAL / 4) },
    verdict: 'lagging',
    suspicious: true,
  },
  {
    what: 'keys that differ for longer than that, where the trusted cluster was read before they differed',
    given: {
      own: 'next',
      differsSince: ago(lagLimitMs(INTERVAL) + 1),
      trustedReadAt: ago(2 * INTERVAL),
      refresh: worked(),
    },
    verdict: 'lagging',
  },
  {
    what: 'keys that differ though a fetch on demand worked',
    given: { own: 'next', differsSince: ago(lagLimitMs(INTERVAL) + 1), refresh: worked() },
    verdict: 'stale',
    suspicious: true,
  },
  {
    what: 'keys that differ and a poll that failed',
    given: {
      own: 'next',
      differsSince: NOW,
      pollError: { at: NOW, cause: 'unknownAuthority', message: 'unknown authority' },
    },
    verdict: 'lagging',
    suspicious: true,
  },
  { what: 'no stored bundle', given: { stored: null }, verdict: 'broken', cause: 'neverBootstrapped' },
  {
    what: 'a stored bundle without a hint',
    given: { storedHintSeconds: 0 },
    verdict: 'fresh',
    suspicious: true,
  },
  {
    what: 'regular polls that are missing',
    given: { silentSince: ago(pollDueMs(INTERVAL) + 1) },
    verdict: 'fresh',
    suspicious: true,
  },
  {
    what: 'regular polls that are missing, while fetches on demand work',
    given: { silentSince: ago(pollDueMs(INTERVAL) + 1), refresh: worked() },
    verdict: 'fresh',
  },
  {
    what: 'regular polls that are missing for long, while fetches on demand work',
    given: { silentSince: ago(silenceLimitMs(INTERVAL) + 1), refresh: worked() },
    verdict: 'broken',
    cause: 'pollerStalled',
  },
  {
    what: 'no regular poll for long, of a peer that is polled less often by the hint of its stored bundle',
    given: { storedHintSeconds: 3600, silentSince: ago(silenceLimitMs(pollIntervalMs(3600)) - 1), refresh: worked() },
    verdict: 'fresh',
  },
  {
    what: 'no regular poll for two of its own intervals, of such a peer',
    given: { storedHintSeconds: 3600, silentSince: ago(silenceLimitMs(pollIntervalMs(3600)) + 1), refresh: worked() },
    verdict: 'broken',
    cause: 'pollerStalled',
  },
  {
    what: 'no regular poll for two intervals, of a peer whose hint is shorter than the federation’s',
    given: { storedHintSeconds: 60, silentSince: ago(silenceLimitMs(INTERVAL) - 1), refresh: worked() },
    verdict: 'fresh',
  },
  {
    what: 'regular polls that were missing when the log was read, and not for long then',
    given: {
      silentSince: ago(silenceLimitMs(INTERVAL) + 1),
      trustingReadAt: ago(INTERVAL / 4),
      refresh: worked(ago(INTERVAL / 4)),
    },
    verdict: 'fresh',
  },
  {
    what: 'the blind first minute of a server that found no bundle, at the fastest interval',
    given: { pollIntervalMs: 15_000, silentSince: ago(70_000), refresh: worked() },
    verdict: 'fresh',
  },
  {
    what: 'a peer that hangs',
    given: {
      silentSince: ago(pollDueMs(INTERVAL) + 1),
      refresh: { ...failed('endpointUnreachable'), tookMs: 30_000 },
    },
    verdict: 'broken',
    cause: 'endpointUnreachable',
  },
  {
    what: 'a moment in which a peer cannot be reached, while its regular polls are missing',
    given: { silentSince: ago(pollDueMs(INTERVAL) + 1), refresh: failed('endpointUnreachable') },
    verdict: 'fresh',
  },
  {
    what: 'fetches that fail since the peer was last read: it may be restarting',
    given: { trustedReadAt: ago(31_000), fetchFailsSince: ago(30_000), refresh: failed('endpointUnreachable') },
    verdict: 'fresh',
  },
  {
    what: 'a failed poll before a fetch that worked, and one that failed just now',
    given: {
      pollError: { at: ago(40_000), cause: 'endpointUnreachable', message: 'refused' },
      gotThroughAt: ago(35_000),
      refresh: failed('endpointUnreachable'),
    },
    verdict: 'fresh',
  },
  {
    what: 'an endpoint that stopped to serve the engine',
    given: { endpointFailsSince: ago(1_000), refresh: worked(ago(2_000)) },
    verdict: 'fresh',
    suspicious: true,
  },
  {
    what: 'an endpoint that does not serve the engine, and its peers all the same',
    given: { endpointFailsSince: ago(10_000), refresh: worked(ago(9_000)) },
    verdict: 'fresh',
  },
  { what: 'a restart of the trusted server', given: { trustedDownSince: ago(30_000) }, verdict: 'lagging' },
  {
    what: 'a trusted server that stays away',
    given: { trustedDownSince: ago(restartGraceMs(INTERVAL) + 1) },
    verdict: 'broken',
    cause: 'serverDown',
  },
  { what: 'a trusting cluster that cannot be asked', given: { trustingReadable: false }, verdict: 'unknown' },
  { what: 'a trusted cluster that cannot be asked', given: { trustedReadable: false }, verdict: 'unknown' },
];

test.each(table)('$what: $verdict $cause', ({ given, verdict, cause, suspicious = false }) => {
  const judgement = judgeEdge(evidence(given));
  expect({ verdict: judgement.verdict, cause: judgement.cause, suspicious: judgement.suspicious }).toEqual({
    verdict,
    cause,
    suspicious,
  });
  expect(judgement.evidence).not.toBe('');
});

test.each([
  ["can't perform SPIFFE Authentication: local copy of bundle not found", 'neverBootstrapped'],
  [
    'failed to fetch bundle: Get "https://x": x509svid: could not verify leaf certificate: x509: certificate signed by unknown authority',
    'unknownAuthority',
  ],
  [
    'failed to authenticate bundle endpoint using web authentication but the server certificate contains SPIFFE ID "spiffe://x/spire/server": maybe use https_spiffe instead of https_web',
    'wrongProfile',
  ],
  ['failed to fetch bundle: Get "https://x": dial tcp: connection refused', 'endpointUnreachable'],
  ['there is no federation relationship with trust domain "x"', 'relationshipMissing'],
])('SPIRE says %s: %s', (message, cause) => {
  expect(classifyPollError(message)).toBe(cause);
});
