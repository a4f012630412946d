import { CommanderError } from 'commander';
import { FederatorError } from '../contract/errors.js';
import { EXIT_CODES } from './exitCodes.js';
import { federatorProgram } from './program.js';

try {
  await federatorProgram().parseAsync();
} catch (error) {
  // Help and usage errors are printed already.
  if (error instanceof CommanderError) process.exitCode = error.exitCode;
  else {
    process.exitCode = EXIT_CODES.failed;
    console.error(error instanceof FederatorError ? error.message : error);
  }
}
