import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { federationName } from '../contract/change.js';
import type { FederationVerdict } from '../contract/health.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { addExamples } from './examples.js';
import { EXIT_CODES } from './exitCodes.js';
import { healthText, printHealth } from './health.js';
import { checked } from './options.js';
import { looking } from './looking.js';
import { addOutputOption, isTable, type OutputOptions } from './output.js';

const REDRAW_MS = 2_000;

/** What lags becomes fresh by itself. */
const EXIT_CODE_OF: Readonly<Record<FederationVerdict, number>> = {
  ok: EXIT_CODES.ok,
  lagging: EXIT_CODES.ok,
  repairing: EXIT_CODES.failed,
  attention: EXIT_CODES.failed,
  unknown: EXIT_CODES.unknown,
};

interface StatusOptions extends OutputOptions {
  federation: string;
  watch?: boolean;
}

/** `status`: what the monitor knows of a federation; asks no cluster. */
export function statusCommand(): Command {
  const command = new Command('status')
    .description(
      'what the monitor knows: edges and their freshness, what is wrong, what was repaired; exit code 0, 1 or 2',
    )
    .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
    .option('--watch', 'keep showing it, until Ctrl-C')
    .action((options: StatusOptions) => looking(() => status(options)));
  return addExamples(addOutputOption(command), 'npm run federator -- status --federation prod --watch');
}

async function status({ federation, watch = false, ...options }: StatusOptions): Promise<void> {
  const name = checked(federationName, federation);
  const client = await FederatorClient.connect();
  const interrupted = new AbortController();
  const onInterrupt = () => interrupted.abort();
  if (watch) process.once('SIGINT', onInterrupt);
  try {
    for (;;) {
      const health = await client.health(name);
      process.exitCode = EXIT_CODE_OF[health.verdict];
      if (!watch) return printHealth(health, options);
      // The screen is drawn anew on a terminal; elsewhere one state follows the other.
      if (process.stdout.isTTY && isTable(options)) process.stdout.write(`\x1b[2J\x1b[H${healthText(health)}\n`);
      else {
        if (options.output === 'yaml') console.log('---');
        printHealth(health, options);
      }
      await delay(REDRAW_MS, undefined, { signal: interrupted.signal }).catch(() => undefined);
      if (interrupted.signal.aborted) return;
    }
  } finally {
    process.off('SIGINT', onInterrupt);
    await client.close();
  }
}
