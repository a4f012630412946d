import { CommanderError } from 'commander';
import { temporalUnreachable } from '../client/unreachable.js';
import { FederatorError } from '../contract/errors.js';
import { inSpan } from '../tracing/span.js';
import { startTracing, type Tracing } from '../tracing/tracing.js';
import { commandLine } from './commandTree.js';
import { EXIT_CODES } from './exitCodes.js';
import { federatorProgram } from './program.js';

let tracing: Tracing | undefined;
try {
  tracing = await startTracing('spire-federator-cli', (message) => console.error(message));
  const program = federatorProgram();
  await inSpan('federator', {}, async (span) => {
    program.hook('preAction', (_program, command) => void span.updateName(commandLine(command)));
    try {
      await program.parseAsync();
    } catch (error) {
      // Help and usage errors are printed already.
      if (!(error instanceof CommanderError)) throw error;
      process.exitCode = error.exitCode;
    }
  });
} catch (error) {
  process.exitCode = EXIT_CODES.failed;
  const told = error instanceof FederatorError ? error : temporalUnreachable(error);
  console.error(told?.message ?? error);
} finally {
  await tracing?.shutdown();
}
