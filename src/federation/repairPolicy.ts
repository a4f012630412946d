import type { RepairAction } from '../contract/health.js';

/** So often the same thing is repaired in a row; then a person has to look. */
export const MAX_ATTEMPTS = 3;
/** So often what was repaired may come back within so many rounds (50 minutes, at the default interval). */
export const MOST_RETURNS = 10;
export const RETURN_ROUNDS = 40;
/** The same of what a restart is to mend: after one all looks well for a while, whatever it was. */
export const MOST_RESTARTS = 3;
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

/** How often what this mends may come back before a person has to look. */
export function mostReturns(action: RepairAction | undefined): number {
  return action === 'restart' ? MOST_RESTARTS : MOST_RETURNS;
}

/** Why what came back so often is not repaired any more. */
export function returnsEvidence(action: RepairAction | undefined): string {
  const why = action === 'restart' ? 'a restart helps only for a while' : 'something undoes the repair';
  return `it came back ${mostReturns(action)} times in ${RETURN_ROUNDS} rounds: ${why}`;
}
