import type { ProbeMatrixInput } from './change.js';
import type { Check, Verdict } from './verify.js';

/** Checks that a report lists; where more are wrong, one cause makes most of them. */
export const CHECKS_REPORTED = 50;

/** One look at a federation, as a schedule has it taken. */
export interface HealthCheckInput {
  federation: string;
  /** Name of the schedule; a look that somebody asked for has none. */
  schedule?: string;
  /** When that looks, as people say it. */
  when?: string;
  /** Also prove mTLS between test workloads; absent: only look. */
  probe?: ProbeMatrixInput;
}

/** What a look came to; the next one of the same schedule compares itself with it. */
export interface HealthReport {
  federation: string;
  /** Absent when nothing was looked at: a change ran, or the monitor was paused. */
  verdict?: Verdict;
  /** Why nothing, or not everything, was looked at. */
  skipped?: string;
  /** Milliseconds since the Unix epoch. */
  at: number;
  /** What is not ok, at most CHECKS_REPORTED, and how many checks there are of either kind. */
  checks: Check[];
  wrong: number;
  well: number;
  /** The verdict that whoever is to be told was told last, and still has to be told of another. */
  told?: Verdict;
  /** What came of telling. */
  notified?: string;
}

/** What happened to a verdict. */
export type Occurrence = 'new' | 'escalated' | 'eased' | 'healed';

/** What whoever is to be told gets to know; the worker alone knows where to and with which secret. */
export interface NotifyRequest {
  federation: string;
  source: { kind: 'schedule'; name: string } | { kind: 'monitor' };
  occurrence: Occurrence;
  verdict: string;
  before: string;
  /** Milliseconds since the Unix epoch. */
  at: number;
  findings: NotifiedFinding[];
  /** How many there are, of which the first are listed. */
  wrong: number;
}

export type NotifiedFinding = Pick<Check, 'name' | 'scope' | 'evidence'> & { remedy?: string; state?: string };

export interface NotifyOutcome {
  /** False where the worker has nobody to tell. */
  sent: boolean;
  note: string;
}

/** A schedule as it is now. */
export interface HealthSchedule {
  federation: string;
  name: string;
  /** As people say it: "every 10m", or a cron expression. */
  when: string;
  probe: boolean;
  paused?: string;
  next?: string;
  /** The newest run that has ended, or runs; its status as Temporal names it, or GONE past retention, or UNREADABLE. */
  last?: { at: string; status: string; report?: HealthReport };
}
