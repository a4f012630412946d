/** So often the same thing is repaired in a row; then a person has to look. */
export const MAX_ATTEMPTS = 3;
/** So often what was repaired may come back within so many rounds (50 minutes, at the default interval). */
export const MOST_RETURNS = 10;
export const RETURN_ROUNDS = 40;
/** The same of what a restart alone is to mend: after one all looks well for a while, whatever it was. */
export const MOST_RESTARTS = 4;
/** Findings that a restart mends and nothing else, and why: everything is configured as it must be. */
export const RESTART_ALONE: Readonly<Record<string, string>> = {
  endpoint: 'serves no bundle',
  wrongProfile: 'asks by another profile than it is configured with',
  pollerStalled: 'does not poll any more',
};
/** The pause after the first attempt; it doubles with each. */
const COOL_DOWN_MS = 30_000;

/** How long what was worked on so often in a row is left alone, in milliseconds. */
export function coolDownMs(attempts: number, roundMs: number): number {
  return Math.max(COOL_DOWN_MS, roundMs) * 2 ** (attempts - 1);
}

/** Whether the next attempt may be made. */
export function isDue(attempts: { count: number; cooling: boolean } | undefined): boolean {
  return attempts === undefined || (attempts.count < MAX_ATTEMPTS && !attempts.cooling);
}

/** How often this finding may come back after a repair before a person has to look. */
export function mostReturns(check: string): number {
  return check in RESTART_ALONE ? MOST_RESTARTS : MOST_RETURNS;
}

/** Why what came back so often is not repaired any more. */
export function returnsEvidence(check: string): string {
  const why = check in RESTART_ALONE ? 'a restart helps only for a while' : 'something undoes the repair';
  return `it came back ${mostReturns(check)} times in ${RETURN_ROUNDS} rounds: ${why}`;
}
