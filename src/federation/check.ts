import type { Check, Verdict } from '../contract/verify.js';

/**
 * Makes the checks of one cluster or edge.
 * @param about name of the one object of several that they are about
 */
export function checker(scope: string, about?: string) {
  return (name: string, verdict: Verdict, evidence: string, remedy?: string): Check => ({
    name,
    scope,
    verdict,
    evidence,
    ...(remedy === undefined ? {} : { remedy }),
    ...(about === undefined ? {} : { about }),
  });
}
