import { Command, CommanderError } from 'commander';
import { FederatorError } from '../contract/errors.js';
import { apiTokenCommand } from './apiToken.js';
import { applyCommand, planCommand } from './apply.js';
import { attachCommand } from './attach.js';
import { cancelCommand } from './cancel.js';
import { diagnoseCommand } from './diagnose.js';
import { healthCommand } from './healthSchedule.js';
import { monitorCommand } from './monitor.js';
import { probeCommand } from './probe.js';
import { rotateWatchCommand } from './rotateWatch.js';
import { startWorkflowCommand } from './startWorkflow.js';
import { statusCommand } from './status.js';
import { sysdumpCommand } from './sysdump.js';
import { teardownCommand } from './teardown.js';
import { verifyCommand } from './verify.js';
import { workloadCommand } from './workload.js';

/** Exit code of a command that could not do what it was asked. */
const FAILED = 1;

async function main(): Promise<void> {
  const program = new Command('federator')
    .description('Federates SPIRE servers across Kubernetes clusters and keeps them federated.')
    .addCommand(startWorkflowCommand())
    .addCommand(planCommand())
    .addCommand(applyCommand())
    .addCommand(verifyCommand())
    .addCommand(diagnoseCommand())
    .addCommand(sysdumpCommand())
    .addCommand(statusCommand())
    .addCommand(monitorCommand())
    .addCommand(healthCommand())
    .addCommand(rotateWatchCommand())
    .addCommand(probeCommand())
    .addCommand(workloadCommand())
    .addCommand(teardownCommand())
    .addCommand(attachCommand())
    .addCommand(cancelCommand())
    .addCommand(apiTokenCommand())
    .exitOverride();
  for (const command of program.commands.flatMap((each) => [each, ...each.commands])) command.exitOverride();
  try {
    await program.parseAsync();
  } catch (error) {
    // Help and usage errors are printed already.
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode;
      return;
    }
    process.exitCode = FAILED;
    if (error instanceof FederatorError) console.error(error.message);
    else console.error(error);
  }
}

await main();
