/** What the exit codes of all commands mean, as the documentation says it. */
export const EXIT_CODES = {
  /** It was done, or all is well. */
  ok: 0,
  /** It failed, or was refused; or something is wrong. */
  failed: 1,
  /** `status`, `diagnose`, `repair` and `clusters`: it could not be looked, so nothing is known to be well. */
  unknown: 2,
  /** --timeout passed: the change goes on, and nobody waits for it any more. */
  goesOn: 3,
} as const;
