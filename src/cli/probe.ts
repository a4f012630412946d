import { Command } from 'commander';
import { probeInputSchema } from '../contract/change.js';
import { runChange } from './change.js';
import { addCommonOptions, checked, inventoryClusters, requireKnown, type CommonOptions } from './options.js';

/** How long a handshake may fail before it counts as failed: a new workload has its identity within seconds. */
const DEFAULT_TIMEOUT_SECONDS = 30;

interface ProbeOptions extends CommonOptions {
  timeout: number;
  wait: boolean;
}

/** `probe`: the matrix of mTLS handshakes between all members; exit code 1 when one is not as it must be. */
export function probeCommand(): Command {
  return addCommonOptions(
    new Command('probe').description('mTLS between test workloads of all members, both ways, and its refusal'),
  )
    .option('--timeout <seconds>', 'how long a handshake may take to succeed', Number, DEFAULT_TIMEOUT_SECONDS)
    .option('--no-wait', 'start it and return at once')
    .action(async (options: ProbeOptions) => {
      const { federation, clusters = [], timeout } = options;
      requireKnown(clusters, await inventoryClusters(options.inventory));
      const input = checked(probeInputSchema, {
        federation,
        clusters,
        timeouts: { probeMs: timeout * 1000, attempts: 1 },
      });
      const result = await runChange('probe', input, options);
      if (result?.probes.some(({ ok }) => !ok) === true) process.exitCode = 1;
    });
}
