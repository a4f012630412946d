import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { federationName } from '../contract/change.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { addExamples } from './examples.js';
import { repairTable } from './health.js';
import { lookAndFix } from './lookAndFix.js';
import { looking } from './looking.js';
import { checked } from './options.js';
import { addOutputOption, printResult, type OutputOptions } from './output.js';

interface RepairOptions extends OutputOptions {
  federation: string;
  yes?: boolean;
  history?: boolean;
}

/** `repair`: what is wrong, and have the engine repair it. */
export function repairCommand(): Command {
  const command = new Command('repair')
    .description(
      'show what is wrong and what the engine can repair of it, ask, repair it, and look again; exit code 0, 1, or 2: could not look',
    )
    .argument(
      '[findings...]',
      'only these, as status shows them, also what waits for approval: unknownAuthority@client-1←server-1',
    )
    .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
    .option('--yes', 'do not ask')
    .option('--history', 'only list the repairs that the monitor remembers')
    .action((findings: string[], options: RepairOptions) =>
      looking(() => (options.history === true ? showHistory(findings, options) : repair(findings, options))),
    );
  return addExamples(
    addOutputOption(command),
    'npm run federator -- repair --federation prod',
    "npm run federator -- repair 'unknownAuthority@client-1←server-1' --federation prod --yes",
    'npm run federator -- repair --history --federation prod',
  );
}

async function repair(findings: string[], { federation, yes = false, ...output }: RepairOptions): Promise<void> {
  await lookAndFix(federation, findings.length === 0 ? {} : { findings }, { yes }, output);
}

async function showHistory(findings: string[], { federation, ...output }: RepairOptions): Promise<void> {
  const client = await FederatorClient.connect();
  try {
    const all = (await client.health(checked(federationName, federation))).repairs;
    const repairs = findings.length === 0 ? all : all.filter(({ findingId }) => findings.includes(findingId));
    printResult({ federation, repairs }, output, () =>
      console.log(repairs.length === 0 ? 'The monitor remembers no repair.' : repairTable(repairs)),
    );
  } finally {
    await client.close();
  }
}
