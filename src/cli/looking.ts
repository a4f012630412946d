import { temporalUnreachable } from '../client/unreachable.js';
import { FederatorError } from '../contract/errors.js';
import { EXIT_CODES } from './exitCodes.js';

/** Runs a command that tells by its exit code how things are: whatever keeps it from looking, nothing is known to be well. */
export async function looking(look: () => Promise<void>): Promise<void> {
  try {
    await look();
  } catch (error) {
    const told = error instanceof FederatorError ? error : temporalUnreachable(error);
    if (told === undefined) throw error;
    console.error(told.message);
    process.exitCode = EXIT_CODES.unknown;
  }
}
