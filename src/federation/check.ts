import type { Check, Verdict } from '../contract/verify.js';

/** Makes the checks of one cluster or edge. */
export function checker(scope: string) {
  return (name: string, verdict: Verdict, evidence: string, remedy?: string): Check => ({
    name,
    scope,
    verdict,
    evidence,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
