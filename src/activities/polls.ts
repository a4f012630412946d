import type { PollError, ServerReading } from '../contract/health.js';
import { classifyPollError, pollDueMs } from '../federation/freshness.js';
import { parsePollLine, type PollLine } from '../spire/pollLog.js';

interface Times {
  /** When the log was read, by the worker's clock. */
  readAt: number;
  /** When SPIRE server was started, by its cluster's clock, which the log has as well. */
  startedAt: number;
  /** By how much the cluster's clock is ahead of the worker's. */
  aheadMs: number;
}

/**
 * What the log says of the polls of the stored peers, in the worker's time. A poll that failed is no good one, but its
 * poller is at work: only where neither is seen is a peer silent.
 */
export function readPolls(
  log: readonly string[],
  peers: readonly string[],
  pollIntervalMs: number,
  { readAt, startedAt, aheadMs }: Times,
): Required<Pick<ServerReading, 'pollErrors' | 'silent' | 'polls' | 'lastPolls'>> {
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
      { at, cause: classifyPollError(error), message: error.slice(0, 300) },
    ]);
  const due = readAt - pollDueMs(pollIntervalMs);
  return {
    pollErrors: Object.fromEntries(errors),
    silent: Object.fromEntries(
      peers.map((peer) => [peer, newest.get(peer)?.at ?? 0] as const).filter(([, at]) => at < due),
    ),
    polls: refreshed.length,
    lastPolls: Object.fromEntries(refreshed.map(({ trustDomain, at }) => [trustDomain, at])),
  };
}
