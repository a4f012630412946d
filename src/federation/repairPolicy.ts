/** So often the same thing is repaired in a row; then a person has to look. */
export const MAX_ATTEMPTS = 3;
/** The pause after the first attempt; it doubles with each. */
const COOL_DOWN_MS = 30_000;

/** Whether the next attempt may be made. */
export function isDue(attempts: { count: number; at: number } | undefined, now: number, roundMs: number): boolean {
  if (attempts === undefined) return true;
  if (attempts.count >= MAX_ATTEMPTS) return false;
  return now - attempts.at >= Math.max(COOL_DOWN_MS, roundMs) * 2 ** (attempts.count - 1);
}
