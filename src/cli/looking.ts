import { FederatorError } from '../contract/errors.js';
import { EXIT_CODES } from './exitCodes.js';

/** Runs a command that tells by its exit code how things are: whatever keeps it from looking, nothing is known to be well. */
export async function looking(look: () => Promise<void>): Promise<void> {
  try {
    await look();
  } catch (error) {
    if (!(error instanceof FederatorError)) throw error;
    console.error(error.message);
    process.exitCode = EXIT_CODES.unknown;
  }
}
