import { Command } from 'commander';
import { loadFederationFile } from '../config.js';
import { applyOptionsSchema } from '../contract/change.js';
import { runChange } from './change.js';
import { addExamples } from './examples.js';
import {
  addChangeOptions,
  changeInput,
  checked,
  inventoryClusters,
  monitorInput,
  requireKnown,
  type ChangeOptions,
} from './options.js';

interface ApplyOptions extends ChangeOptions {
  file: string;
  probe?: boolean;
}

/** `apply -f`: gets a federation to what its file says; a second time it has nothing to do. */
export function applyCommand(): Command {
  const command = fileCommand('apply', 'get a federation to what its file says')
    .option('--no-probe', 'leave out the mTLS probe between test workloads')
    .option('--no-monitor', 'start no monitor that watches over the federation afterwards')
    .action((options: ApplyOptions) => apply(options, false));
  return addExamples(command, 'npm run federator -- apply -f federation.yaml --timeout 10m');
}

/** `plan -f`: the difference between a federation's file and the clusters; changes nothing. */
export function planCommand(): Command {
  const command = fileCommand(
    'plan',
    'show what apply would create, change, restart and remove; changes nothing',
  ).action((options: ApplyOptions) => apply(options, true));
  return addExamples(command, 'npm run federator -- plan -f federation.yaml');
}

function fileCommand(name: string, description: string): Command {
  return addChangeOptions(new Command(name).description(description), 'file').requiredOption(
    '-f, --file <file>',
    'the federation file (YAML)',
  );
}

async function apply(options: ApplyOptions, planOnly: boolean): Promise<void> {
  const file = await loadFederationFile(options.file);
  requireKnown(file.clusters, await inventoryClusters(options.inventory));
  const { federation } = file;
  const how = checked(applyOptionsSchema, {
    ...changeInput({ ...options, federation, plan: planOnly || options.plan === true }),
    probe: options.probe ?? true,
    ...monitorInput(options),
  });
  await runChange('applyFederation', { ...how, ...file }, options);
}
