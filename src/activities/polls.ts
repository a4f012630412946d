import type { PollError, ServerReading, StoredBundle } from '../contract/health.js';
import { classifyPollError, peerIntervalMs, pollDueMs } from '../federation/freshness.js';
import { lineTime, parsePollLine, type PollLine } from '../spire/pollLog.js';

interface Times {
  /** When the log was read, by the worker's clock. */
  readAt: number;
  /** When SPIRE server was started, by its cluster's clock, which the log has as well. */
  startedAt: number;
  /** By how much the cluster's clock is ahead of the worker's. */
  aheadMs: number;
  /** Since when the log has every line, by the worker's clock. */
  wholeSince: number;
}

/**
 * Since when a log has every line, by the worker's clock. One that has as many lines as were asked for begins with the
 * first of them; where that tells no time, nothing is known.
 * @param askedSince so far back it was asked for
 */
export function wholeLogSince(log: readonly string[], mostLines: number, askedSince: number, aheadMs: number): number {
  if (log.length < mostLines) return askedSince;
  for (const line of log) {
    const at = lineTime(line);
    if (at !== undefined) return Math.max(askedSince, at - aheadMs);
  }
  return Infinity;
}

/**
 * What the log says of the polls of the stored peers, in the worker's time. A poll that failed is no good one, but its
 * poller is at work: only where neither is seen is a peer silent. Of one that is polled less often than the log reaches
 * back, it tells nothing.
 */
export function readPolls(
  log: readonly string[],
  stored: Readonly<Record<string, Pick<StoredBundle, 'refreshHintSeconds'>>>,
  pollIntervalMs: number,
  { readAt, startedAt, aheadMs, wholeSince }: Times,
): Pick<ServerReading, 'pollErrors' | 'silent' | 'untold' | 'polls'> & { lastPolls: Record<string, number> } {
  const lines = log
    .flatMap((text) => parsePollLine(text) ?? [])
    // Lines of the process before this one say nothing of its polls.
    .filter(({ at, kind }) => at >= startedAt && (kind === 'refreshed' || kind === 'failed'))
    .map((line) => ({ ...line, at: line.at - aheadMs }));
  const newest = new Map(lines.map((line): [string, PollLine] => [line.trustDomain, line]));
  const refreshed = lines.filter(({ kind }) => kind === 'refreshed');
  const errors = [...newest.values()]
    .filter(({ kind }) => kind === 'failed')
    .map(({ trustDomain, at, error = '' }): [string, PollError] => [
      trustDomain,
      { at, cause: classifyPollError(error), message: inFewWords(error) },
    ]);
  const silent: Record<string, number> = {};
  const untold: string[] = [];
  for (const [peer, { refreshHintSeconds }] of Object.entries(stored)) {
    const due = readAt - pollDueMs(peerIntervalMs(pollIntervalMs, refreshHintSeconds));
    const at = newest.get(peer)?.at;
    if (at === undefined && wholeSince > due) untold.push(peer);
    else if (at === undefined || at < due) silent[peer] = at ?? 0;
  }
  return {
    pollErrors: Object.fromEntries(errors),
    silent,
    ...(untold.length === 0 ? {} : { untold }),
    polls: refreshed.length,
    lastPolls: Object.fromEntries(refreshed.map(({ trustDomain, at }) => [trustDomain, at])),
  };
}

/** The newest error of each of many peers is part of one answer. */
const WORDS_AT_MOST = 300;

/** Go names the cause last, after an address that everybody knows and that is long. */
function inFewWords(error: string): string {
  return error.length <= WORDS_AT_MOST ? error : error.replace(/Get "[^"]*": /, '').slice(0, WORDS_AT_MOST);
}
