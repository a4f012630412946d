import { Command } from 'commander';
import { FederatorError } from '../contract/errors.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { parseWorkloadReference, type WorkloadReference } from '../contract/workload.js';
import { addExamples } from './examples.js';
import { lookAndFix } from './lookAndFix.js';
import { looking } from './looking.js';
import { addInventoryOption, inventoryClusters, requireKnown } from './options.js';
import { addOutputOption, type OutputOptions } from './output.js';

interface DiagnoseOptions extends OutputOptions {
  federation: string;
  cluster?: string;
  edge?: string;
  workload?: string;
  fix?: boolean;
  yes?: boolean;
  inventory?: string;
}

/** `diagnose`: what is wrong, why, and what to do about it; changes nothing unless `--fix` is said. */
export function diagnoseCommand(): Command {
  const command = new Command('diagnose')
    .description('what is wrong, why, and the command for it; exit code 0, 1, or 2: could not look')
    .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
    .option('--cluster <name>', 'only what is about this cluster')
    .option('--edge <edge>', 'only one edge: <trusting>:<trusted>, or <trusting>←<trusted>')
    .option('--workload <workload>', 'only one workload: <namespace>/<pod>, the UID of a pod, or a SPIFFE ID')
    .option('--fix', 'show what the engine can repair of it, ask, and repair it; the same as repair')
    .option('--yes', 'with --fix: do not ask')
    .action((options: DiagnoseOptions) => looking(() => diagnose(options)));
  return addExamples(
    addOutputOption(addInventoryOption(command)),
    'npm run federator -- diagnose --federation prod',
    'npm run federator -- diagnose --federation prod --edge client-1:server-1 --fix',
  );
}

async function diagnose(options: DiagnoseOptions): Promise<void> {
  const { federation, cluster, edge, workload, inventory, fix = false, yes = false } = options;
  if (yes && !fix) throw new FederatorError('InvalidInput', '--yes goes with --fix: without it nothing is changed.');
  if (workload !== undefined && (edge !== undefined || fix))
    throw new FederatorError('InvalidInput', '--workload goes with --cluster only: its remedies take a person.');
  const ends = edge === undefined ? undefined : parseEdge(edge);
  requireKnown([...(cluster === undefined ? [] : [cluster]), ...(ends ?? [])], await inventoryClusters(inventory));
  const asked = { cluster, ends, workload: workload === undefined ? undefined : parseWorkload(workload) };
  await lookAndFix(federation, asked, fix ? { yes } : undefined, options);
}

function parseWorkload(text: string): WorkloadReference {
  const workload = parseWorkloadReference(text);
  if (workload !== undefined) return workload;
  throw new FederatorError(
    'InvalidInput',
    `${text} is no workload. Write <namespace>/<pod>, the UID of a pod, or a SPIFFE ID.`,
  );
}

function parseEdge(edge: string): [string, string] {
  const [trusting, trusted, ...rest] = edge.split(/[:←]/);
  if (!trusting || !trusted || rest.length > 0 || trusting === trusted) {
    throw new FederatorError('InvalidInput', `${edge} is no edge. Write <trusting>:<trusted>, e.g. client-1:server-1.`);
  }
  return [trusting, trusted];
}
