import type { Finding } from './health.js';
import type { Check, Verdict } from './verify.js';

/** What a thorough look at a federation came to. */
export interface Diagnosis {
  federation: string;
  clusters: string[];
  verdict: Verdict;
  checks: Check[];
  /** Of the checks, those that somebody or the engine has to do something about. */
  findings: Finding[];
}
