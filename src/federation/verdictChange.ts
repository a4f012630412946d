import type { FederationHealth, FederationVerdict } from '../contract/health.js';
import type { Occurrence } from '../contract/scheduledHealth.js';
import type { Verdict } from '../contract/verify.js';

/** How bad a verdict is, of a look and of the monitor; 0 is nothing that anybody has to hear of. */
const BADNESS: Readonly<Record<Verdict | FederationVerdict, number>> = {
  ok: 0,
  lagging: 0,
  repairing: 1,
  warning: 1,
  unknown: 2,
  attention: 3,
  failed: 3,
};

/**
 * What happened since somebody was last told; undefined when that is nothing worth telling.
 * @param told undefined when nobody was ever told anything: then all was well, as far as they know
 */
export function occurrenceOf(
  told: Verdict | FederationVerdict | undefined,
  now: Verdict | FederationVerdict,
): Occurrence | undefined {
  const [before, after] = [BADNESS[told ?? 'ok'], BADNESS[now]];
  if (before === after) return undefined;
  if (before === 0) return 'new';
  if (after === 0) return 'healed';
  return after > before ? 'escalated' : 'eased';
}

/** Rounds after which a cluster that was never read is away, rather than slow to begin with. */
const ROUNDS_TO_KNOW = 3;

/**
 * What the monitor's verdict is worth telling as; undefined while that is not settled: it is paused, a change runs whose
 * traces are no fault, or it has not looked often enough.
 */
export function tellableVerdict({
  verdict,
  findings,
  counts,
  rounds,
  paused,
}: Pick<FederationHealth, 'verdict' | 'findings' | 'counts' | 'rounds' | 'paused'>): FederationVerdict | undefined {
  if (paused !== undefined) return undefined;
  if (findings.length > 0) return verdict;
  if (counts.stale + counts.broken > 0) return undefined;
  return verdict === 'unknown' && rounds < ROUNDS_TO_KNOW ? undefined : verdict;
}
