import { Command } from 'commander';
import { apiTokenCommand } from './apiToken.js';
import { applyCommand, planCommand } from './apply.js';
import { attachCommand } from './attach.js';
import { cancelCommand } from './cancel.js';
import { clustersCommand } from './clusters.js';
import { allCommands } from './commandTree.js';
import { completionCommand } from './completion.js';
import { diagnoseCommand } from './diagnose.js';
import { healthCommand } from './healthSchedule.js';
import { monitorCommand } from './monitor.js';
import { probeCommand } from './probe.js';
import { repairCommand } from './repair.js';
import { rotateWatchCommand } from './rotateWatch.js';
import { startWorkflowCommand } from './startWorkflow.js';
import { statusCommand } from './status.js';
import { sysdumpCommand } from './sysdump.js';
import { teardownCommand } from './teardown.js';
import { verifyCommand } from './verify.js';
import { ownVersion } from '../version.js';
import { upCommand } from './up.js';
import { workloadCommand } from './workload.js';

/** The whole command line. Usage errors are thrown, once they are printed, and end no process. */
export function federatorProgram(): Command {
  const program = new Command('federator')
    .description('Federates SPIRE servers across Kubernetes clusters and keeps them federated.')
    .version(ownVersion(), '-V, --version', 'print the version')
    .addCommand(upCommand())
    .addCommand(startWorkflowCommand())
    .addCommand(planCommand())
    .addCommand(applyCommand())
    .addCommand(verifyCommand())
    .addCommand(diagnoseCommand())
    .addCommand(repairCommand())
    .addCommand(sysdumpCommand())
    .addCommand(statusCommand())
    .addCommand(monitorCommand())
    .addCommand(healthCommand())
    .addCommand(rotateWatchCommand())
    .addCommand(probeCommand())
    .addCommand(workloadCommand())
    .addCommand(clustersCommand())
    .addCommand(teardownCommand())
    .addCommand(attachCommand())
    .addCommand(cancelCommand())
    .addCommand(apiTokenCommand())
    .addCommand(completionCommand());
  for (const { command } of allCommands(program)) command.exitOverride();
  return program;
}
