import type { Problem } from './facts.js';
import type { Finding } from './health.js';
import type { KnownMember } from './monitor.js';
import type { Policy } from './policy.js';
import type { Check, Verdict } from './verify.js';
import type { WorkloadReference } from './workload.js';

/** What diagnose is asked to look at. Without clusters: all members. */
export interface DiagnoseInput {
  federation: string;
  clusters: string[];
  /** What is known of clusters that could not be read just now: they are not asked, so that nobody waits for them. */
  unread?: Problem[];
  /** Also judge by SPIRE servers' logs and polls, as the monitor does all the time by itself. */
  readings?: boolean;
  /** Of the checks, only those that are not ok: in a mesh of a hundred there are tens of thousands. */
  onlyWrong?: boolean;
  /** Polls that failed are tried again first, as after a repair: only what fails now counts. */
  retryPolls?: boolean;
  /** Those that the federation is known to have, also where no member has them any more. */
  policies?: Policy[];
  /** What its monitor was told; the members tell what is absent. */
  refreshHintSeconds?: number;
  topology?: 'mesh' | 'hub';
  hub?: string;
  /** What is known of the members: of those that cannot be read, the trust domains. */
  members?: KnownMember[];
  /** Only the identity of one workload, and whether its clusters are well. */
  workload?: WorkloadReference;
}

/** One thing that was looked at, and what else explains it. */
export interface DiagnosedCheck extends Check {
  /** Another check that is wrong and explains this one: `name@scope`. Mending that one mends this one, as a rule. */
  because?: string;
}

/** What a thorough look at a federation came to. */
export interface Diagnosis {
  federation: string;
  clusters: string[];
  verdict: Verdict;
  checks: DiagnosedCheck[];
  /** Of the checks, those that somebody or the engine has to do something about. */
  findings: Finding[];
  /** What is known of the members, as a repair needs it. */
  members: KnownMember[];
  /** What the members have, and what they were known to have. */
  policies?: Policy[];
  hub?: string;
}
