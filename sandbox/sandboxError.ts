/** A sandbox that does not run, a wish that cannot be had, or an answer of the supervisor that says what is wrong. */
export class SandboxError extends Error {}
