import type { EdgeCause, EdgeRefresh, PollError } from '../contract/health.js';
import type { EdgeJudgement } from '../contract/monitor.js';
import { MIN_REFRESH_HINT_SECONDS } from '../contract/names.js';

/** SPIRE polls this often per refresh hint (spire: pkg/server/bundle/client/manager.go via bundleutil.CalculateRefreshHint). */
const POLLS_PER_HINT = 4;
/** A poll takes its time, clocks differ, and a reading is not instant. */
const MARGIN_MS = 5_000;

/** How often a SPIRE server polls a peer whose bundle has this hint, in milliseconds: 75 s at 300 s. */
export function pollIntervalMs(refreshHintSeconds: number): number {
  return (Math.max(refreshHintSeconds, MIN_REFRESH_HINT_SECONDS) / POLLS_PER_HINT) * 1000;
}

/**
 * How often one peer is polled, in milliseconds: SPIRE goes by the hint of the bundle that it stored of that peer, which
 * may be longer than the federation's. Where there is none (0), it is to be polled as the others are.
 */
export function peerIntervalMs(intervalMs: number, storedHintSeconds = 0): number {
  return Math.max(intervalMs, pollIntervalMs(storedHintSeconds));
}

/** What is known of an edge when it is judged. Times are milliseconds since the Unix epoch. */
export interface EdgeEvidence {
  now: number;
  /** When the newest reading of each side was made: nothing is known to have lasted for longer. */
  trustingReadAt: number;
  trustedReadAt: number;
  pollIntervalMs: number;
  /** The refresh hint of the bundle that is stored of the peer; 0: it has none, and the next regular poll is far away. */
  storedHintSeconds?: number;
  /** Whether each side can be asked. One failed look does not count: the caller says `false` after the second. */
  trustingReadable: boolean;
  trustedReadable: boolean;
  /** Since when SPIRE server of a side has not been running; absent while it runs. */
  trustingDownSince?: number;
  trustedDownSince?: number;
  /** When SPIRE server of the trusted cluster was first seen to run again: what failed before says nothing of now. */
  trustedBackAt?: number;
  /** Fingerprint of the peer's bundle as it is stored; null when none is. */
  stored?: string | null;
  /** Fingerprint of the bundle that the peer itself reports. */
  own?: string;
  differsSince?: number;
  /** What was judged before: it stays broken until a fetch works. */
  wasBroken?: boolean;
  /** Since when the endpoint of the trusted cluster has not served the engine. */
  endpointFailsSince?: number;
  /** The newest poll failed, by the log. */
  pollError?: PollError;
  /** How old a failed fetch may be before it is tried again. */
  retryAfterMs: number;
  /** What came of a fetch on demand that was made because something was suspicious. */
  refresh?: EdgeRefresh;
  /** Since when none of those got through, and when the newest did that got through. */
  fetchFailsSince?: number;
  gotThroughAt?: number;
  /** When the newest regular poll was, where the next one is due and the log would show it. */
  silentSince?: number;
}

/** For how long a way may fail without anybody being told, at the most: half a round where that is less. */
const MOMENT_MS = 15_000;

/** How long after a failed fetch another has to fail, so that it counts. */
export function retryAfterMs(roundMs: number): number {
  return Math.min(MOMENT_MS, roundMs / 2);
}

/** A SPIRE server may be away for this long without anybody being told: a restart, a rescheduled pod. */
export function restartGraceMs(intervalMs: number): number {
  return Math.max(60_000, intervalMs);
}

/** Keys may differ for this long: until the next regular poll, which may just have been missed by the reading. */
export function lagLimitMs(intervalMs: number): number {
  return intervalMs + MARGIN_MS;
}

/** From when on a regular poll is missing. */
export function pollDueMs(intervalMs: number): number {
  return intervalMs + 2 * MARGIN_MS;
}

/**
 * How long no regular poll may be seen, though fetches on demand work, before the poller counts as stalled. SPIRE waits
 * 60 s where it found no bundle (spire: pkg/server/bundle/client/manager.go), so after a setup the first one comes late.
 */
export function silenceLimitMs(intervalMs: number): number {
  return Math.max(2 * intervalMs, intervalMs + 60_000) + MARGIN_MS;
}

/**
 * Judges one edge. The keys decide; the log alone never raises an alarm, as its silence may have other reasons, and one
 * failed poll does not: a fetch on demand has to fail as well, and a while later where a moment's trouble on the way would
 * explain both.
 */
export function judgeEdge(evidence: EdgeEvidence): EdgeJudgement {
  const { now, pollIntervalMs: interval, stored, own, differsSince, pollError, refresh } = evidence;
  if (!evidence.trustingReadable) return unknown('the trusting cluster cannot be asked');
  const grace = restartGraceMs(interval);
  for (const [side, since] of [
    ['trusting', evidence.trustingDownSince],
    ['trusted', evidence.trustedDownSince],
  ] as const) {
    if (since === undefined) continue;
    const seconds = Math.round((now - since) / 1000);
    return now - since > grace
      ? broken('serverDown', `SPIRE server of the ${side} cluster has not been running for ${seconds} s`)
      : lagging(`SPIRE server of the ${side} cluster is restarting, ${seconds} s so far`);
  }
  if (stored === null) return broken('neverBootstrapped', 'no bundle of the peer is stored');
  if (!evidence.trustedReadable) return unknown('the trusted cluster cannot be asked for its own bundle');
  if (stored === undefined || own === undefined) return unknown('nothing was read yet');
  const since = differsSince ?? now;
  const differedMs = Math.max(0, Math.min(evidence.trustingReadAt, evidence.trustedReadAt) - since);
  const equal = stored === own;
  const failed = refresh !== undefined && !refresh.ok;
  if (failed) {
    const cause = refresh.cause ?? 'endpointUnreachable';
    // One that hangs fails for as long as it takes.
    const fetchFailsSince = evidence.fetchFailsSince ?? refresh.at - (refresh.tookMs ?? 0);
    const pollFailedSince = pollError !== undefined && pollError.at > (evidence.gotThroughAt ?? 0);
    const failedSince = Math.min(fetchFailsSince, pollFailedSince ? pollError.at : fetchFailsSince);
    const failsSince = Math.max(failedSince, evidence.trustedBackAt ?? 0);
    const retryInMs = evidence.retryAfterMs - (refresh.at - failsSince);
    const mayBeOver =
      cause === 'endpointUnreachable' && evidence.wasBroken !== true && now - since <= lagLimitMs(interval);
    // What is wrong may be the peer itself, which only a reading of it can tell.
    if (mayBeOver && (retryInMs > 0 || evidence.trustedReadAt < failsSince)) {
      const judged = equal ? fresh('keys are equal, but a fetch failed just now') : differing(differedMs);
      if (retryInMs <= 0) return { ...judged, suspicious: false };
      return { ...judged, suspicious: now - refresh.at > retryInMs, retryInMs };
    }
    // It stays broken until a fetch works, and is tried again all the while.
    const evidenceOf = `a fetch on demand failed too: ${refresh.message ?? cause}`;
    return { ...broken(cause, evidenceOf), suspicious: now - refresh.at > evidence.retryAfterMs };
  }
  const refreshedSince = (at: number) => refresh !== undefined && refresh.at >= at;
  if (equal) {
    if (pollError !== undefined && !refreshedSince(pollError.at))
      return { ...fresh('keys are equal, but the newest poll failed'), suspicious: true };
    const { endpointFailsSince } = evidence;
    if (endpointFailsSince !== undefined && !refreshedSince(endpointFailsSince))
      return { ...fresh('keys are equal, but the engine cannot fetch from the endpoint'), suspicious: true };
    const silentMs = evidence.trustingReadAt - (evidence.silentSince ?? evidence.trustingReadAt);
    if (evidence.storedHintSeconds === 0 && !refreshedSince(now - pollDueMs(interval)))
      return { ...fresh('keys are equal, but the stored bundle has no refresh hint'), suspicious: true };
    const polled = peerIntervalMs(interval, evidence.storedHintSeconds);
    if (silentMs > pollDueMs(polled)) {
      const seconds = Math.round(silentMs / 1000);
      if (!refreshedSince(now - pollDueMs(polled)))
        return { ...fresh(`keys are equal, but no regular poll was seen for ${seconds} s`), suspicious: true };
      if (silentMs > silenceLimitMs(polled))
        return broken('pollerStalled', `no regular poll for ${seconds} s, though fetches on demand work`);
    }
    return FRESH;
  }
  if (differedMs > lagLimitMs(interval)) {
    const words = `keys differ for ${Math.round(differedMs / 1000)} s`;
    return {
      verdict: 'stale',
      evidence: refreshedSince(since) ? `${words}, a fetch on demand did not help` : words,
      suspicious: true,
    };
  }
  // The next regular poll would do, and may be most of an interval away; a fetch that fails tells what is wrong.
  return { ...differing(differedMs), suspicious: pollError !== undefined || !refreshedSince(since) };
}

/** Of most edges, of which there may be hundreds of thousands. */
export const FRESH: EdgeJudgement = Object.freeze(fresh('keys are equal'));

function fresh(evidence: string): EdgeJudgement {
  return { verdict: 'fresh', evidence, suspicious: false };
}

function differing(forMs: number): EdgeJudgement {
  return lagging(`keys differ for ${Math.round(forMs / 1000)} s`);
}

function lagging(evidence: string): EdgeJudgement {
  return { verdict: 'lagging', evidence, suspicious: false };
}

function unknown(evidence: string): EdgeJudgement {
  return { verdict: 'unknown', evidence, suspicious: false };
}

function broken(cause: EdgeCause, evidence: string): EdgeJudgement {
  return { verdict: 'broken', cause, evidence, suspicious: false };
}

/** What SPIRE's words about a failed fetch mean (spire: pkg/server/bundle/client; go-spiffe: x509bundle, spiffetls). */
export function classifyPollError(message: string): EdgeCause {
  if (/https_spiffe instead of https_web|could not get leaf SPIFFE ID|unexpected ID/i.test(message))
    return 'wrongProfile';
  // Go's own words, with whichever profile (go: crypto/x509, Expired).
  if (/certificate has expired or is not yet valid/i.test(message)) return 'certificateTime';
  // Go's own words, for SPIRE leaves the verification of https_web to it; those about SVIDs are go-spiffe's.
  if (/tls: failed to verify certificate/i.test(message)) return 'webCertificate';
  if (/local copy of bundle not found|bundle not found/i.test(message)) return 'neverBootstrapped';
  if (/unknown authority|certificate is not trusted|could not verify leaf certificate/i.test(message))
    return 'unknownAuthority';
  if (/no federation relationship/i.test(message)) return 'relationshipMissing';
  return 'endpointUnreachable';
}

/** Of a certificate whose time has not come: it comes by itself (go: crypto/x509, CertificateInvalidError). */
export function isNotYetValid(message: string): boolean {
  return /current time \S+ is before/.test(message);
}

/** What to do about a failed fetch where SPIRE's words alone do not tell; undefined where they do, or time may mend it. */
export function fetchAdvice(message: string): string | undefined {
  const cause = classifyPollError(message);
  if (cause === 'certificateTime') {
    return isNotYetValid(message)
      ? 'The certificate of the endpoint is not valid yet by the clock of this cluster: set the clocks of both clusters right; SPIRE makes up for 10 s.'
      : 'The certificate of the endpoint has expired by the clock of this cluster: see that the SPIRE server behind it renews it (its log), that it is renewed where it comes from files, and that the clocks of both clusters are right.';
  }
  if (cause === 'wrongProfile') {
    return /instead of https_web/.test(message)
      ? 'The endpoint serves https_spiffe, and is asked for https_web: restart the SPIRE server that asks, if that is not what it is configured with.'
      : 'The endpoint serves https_web, and is asked for https_spiffe: restart the SPIRE server that asks, if that is not what it is configured with; or another server answers there.';
  }
  if (cause !== 'webCertificate') return undefined;
  if (/unknown authority/.test(message)) {
    return "SPIRE server verifies https_web against the authorities of its own container's system, and takes no others (spire#5331): mount a file with the authority of that certificate into its StatefulSet and set SSL_CERT_FILE to it.";
  }
  return 'Issue the certificate of that endpoint for the host in its address.';
}
