import { Command } from 'commander';
import { setupInputSchema, teardownInputSchema } from '../contract/change.js';
import { FederatorError } from '../contract/errors.js';
import { runChange } from './change.js';
import { addChangeOptions, checked, inventoryClusters, requireKnown, timeouts, type ChangeOptions } from './options.js';

interface StartOptions extends ChangeOptions {
  relationships?: string;
  refreshHint?: number;
  probe: boolean;
}

/** `start-workflow <name>`: the workflows that change a federation. */
export function startWorkflowCommand(): Command {
  return addChangeOptions(
    new Command('start-workflow')
      .description('start a workflow: setupPair federates two clusters, teardown ends a federation')
      .argument('<name>', 'setupPair | teardown'),
  )
    .option('--relationships <kind>', 'setupPair: static (also federates_with in server.conf) or dynamic')
    .option('--refresh-hint <seconds>', 'setupPair: refresh hint of the bundles; peers poll at a quarter of it', Number)
    .option('--no-probe', 'setupPair: leave out the mTLS probe between test workloads')
    .action(async (name: string, options: StartOptions) => {
      const known = await inventoryClusters(options.inventory);
      requireKnown(options.clusters ?? [], known);
      const common = { federation: options.federation, planOnly: options.plan ?? false, timeouts: timeouts(options) };
      switch (name) {
        case 'setupPair': {
          const input = {
            ...common,
            clusters: options.clusters ?? pairOf(known),
            probe: options.probe,
            ...(options.relationships === undefined ? {} : { relationships: options.relationships }),
            ...(options.refreshHint === undefined ? {} : { refreshHintSeconds: options.refreshHint }),
          };
          return runChange('setupPair', checked(setupInputSchema, input), options);
        }
        case 'teardown':
          return runChange(
            'teardown',
            checked(teardownInputSchema, { ...common, clusters: options.clusters ?? [] }),
            options,
          );
        default:
          throw new FederatorError('InvalidInput', `There is no workflow ${name}. There are: setupPair, teardown.`);
      }
    });
}

/** The two clusters that a bare setupPair can only mean. */
function pairOf(known: readonly string[]): string[] {
  if (known.length === 2) return [...known];
  throw new FederatorError(
    'InvalidInput',
    known.length < 2
      ? `The inventory has only one cluster, ${known.join()}. Federating takes two.`
      : `The inventory has ${known.length} clusters. Say which two: npm run start-workflow setupPair -- --clusters ${known.slice(0, 2).join(',')}\nIt has: ${known.join(', ')}`,
  );
}
