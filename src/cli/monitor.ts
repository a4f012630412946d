import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { federationName } from '../contract/change.js';
import type { FederationHealth } from '../contract/health.js';
import { monitorSettingsSchema, pauseSchema } from '../contract/monitorSettings.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { addExamples } from './examples.js';
import { printHealth } from './health.js';
import { addInventoryOption, checked, inventoryClusters, requireKnown } from './options.js';
import { addOutputOption, printResult, type OutputOptions } from './output.js';

interface MonitorOptions extends OutputOptions {
  federation: string;
}

interface StartOptions extends MonitorOptions {
  clusters?: string;
  inventory?: string;
  refreshHint?: number;
  interval?: number;
  hub?: string;
  repair: boolean;
  caChange?: string;
}

/** `monitor …`: the watch over a federation. */
export function monitorCommand(): Command {
  const monitor = new Command('monitor').description('the watch over a federation; see also: status');
  const command = (name: string, description: string, example = name) =>
    addExamples(
      addOutputOption(
        new Command(name)
          .description(description)
          .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION),
      ),
      `npm run federator -- monitor ${example} --federation prod`,
    );
  return monitor
    .addCommand(
      addInventoryOption(
        command(
          'start',
          'start the watch over a federation, or tell a running one of other members and settings',
          'start --clusters client-1,server-1',
        ),
      )
        .requiredOption('--clusters <names>', 'members by their inventory names, separated by commas')
        .option('--refresh-hint <seconds>', 'refresh hint of the bundles', Number)
        .option('--interval <seconds>', 'between two rounds (default: as before, else as often as SPIRE polls)', Number)
        .option('--hub <cluster>', 'the hub, where the federation has one')
        .option('--no-repair', 'find what is wrong, and repair nothing that is not approved')
        .option('--ca-change <policy>', 'a CA that changed outside a rotation: automatic, or approval')
        .action(start),
    )
    .addCommand(
      command('stop', 'end the watch over a federation').action(({ federation, ...options }: MonitorOptions) =>
        withClient(async (client) => {
          await client.stopMonitor(checked(federationName, federation));
          printResult({ federation, monitor: 'ends' }, options, () =>
            console.log(`The monitor of federation ${federation} ends.`),
          );
        }),
      ),
    )
    .addCommand(
      command('check', 'read everything of a federation now, and show what is known then').action(
        (options: MonitorOptions) =>
          show(options, (client) => client.checkNow(checked(federationName, options.federation))),
      ),
    )
    .addCommand(
      command('pause', 'raise nothing and repair nothing, for maintenance', 'pause --reason maintenance --for 60')
        .requiredOption('--reason <text>', 'why')
        .option('--for <minutes>', 'go on by itself after this', Number)
        .action((options: MonitorOptions & { reason: string; for?: number }) =>
          show(options, (client) =>
            client.pauseMonitor(
              checked(federationName, options.federation),
              checked(pauseSchema, {
                reason: options.reason,
                ...(options.for === undefined ? {} : { forSeconds: options.for * 60 }),
              }),
            ),
          ),
        ),
    )
    .addCommand(
      command('resume', 'go on after a pause').action((options: MonitorOptions) =>
        show(options, (client) => client.resumeMonitor(checked(federationName, options.federation))),
      ),
    )
    .addCommand(
      command('approve', 'allow a repair that waits for it', "approve 'unknownAuthority@client-1←server-1'")
        .argument('<finding>', 'as status shows it, e.g. unknownAuthority@client-1←server-1')
        .action((finding: string, options: MonitorOptions) =>
          show(options, (client) => client.approve(checked(federationName, options.federation), finding)),
        ),
    );
}

async function start(options: StartOptions): Promise<void> {
  const clusters = (options.clusters ?? '').split(',').filter((name) => name !== '');
  requireKnown(clusters, await inventoryClusters(options.inventory));
  const { refreshHint, interval, hub, caChange, repair } = options;
  const settings = checked(monitorSettingsSchema, {
    federation: options.federation,
    clusters,
    repair: { automatic: repair, ...(caChange === undefined ? {} : { caChange }) },
    ...(refreshHint === undefined ? {} : { refreshHintSeconds: refreshHint }),
    ...(interval === undefined ? {} : { intervalSeconds: interval }),
    ...(hub === undefined ? {} : { hub }),
  });
  await withClient(async (client) => {
    const handle = await client.startMonitor(settings);
    printResult(handle, options, () => console.log(`Federation ${options.federation} is watched over: ${handle.link}`));
  });
}

function show(options: MonitorOptions, ask: (client: FederatorClient) => Promise<FederationHealth>): Promise<void> {
  return withClient(async (client) => printHealth(await ask(client), options));
}

async function withClient(use: (client: FederatorClient) => Promise<void>): Promise<void> {
  const client = await FederatorClient.connect();
  try {
    await use(client);
  } finally {
    await client.close();
  }
}
