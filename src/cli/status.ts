import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { federationName } from '../contract/change.js';
import { FederatorError } from '../contract/errors.js';
import type { FederationVerdict } from '../contract/health.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { healthText, printHealth } from './health.js';
import { checked } from './options.js';

const REDRAW_MS = 2_000;

/** Exit codes: all is well (or becomes so by itself), something is wrong, it could not be told. */
const EXIT_CODES: Readonly<Record<FederationVerdict, number>> = {
  ok: 0,
  lagging: 0,
  repairing: 1,
  attention: 1,
  unknown: 2,
};

interface StatusOptions {
  federation: string;
  json?: boolean;
  watch?: boolean;
}

/** `status`: what the monitor knows of a federation; asks no cluster. */
export function statusCommand(): Command {
  return new Command('status')
    .description(
      'what the monitor knows: edges and their freshness, what is wrong, what was repaired; exit code 0, 1 or 2',
    )
    .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
    .option('--watch', 'keep showing it, until Ctrl-C')
    .option('--json', 'print it as JSON')
    .addHelpText('after', '\nExample:\n  npm run federator -- status --federation demo --watch')
    .action(async (options: StatusOptions) => {
      try {
        await status(options);
      } catch (error) {
        // Whatever keeps it from being told, nothing is known to be well.
        if (!(error instanceof FederatorError)) throw error;
        console.error(error.message);
        process.exitCode = EXIT_CODES.unknown;
      }
    });
}

async function status({ federation, json = false, watch = false }: StatusOptions): Promise<void> {
  const name = checked(federationName, federation);
  const client = await FederatorClient.connect();
  const interrupted = new AbortController();
  const onInterrupt = () => interrupted.abort();
  if (watch) process.once('SIGINT', onInterrupt);
  try {
    for (;;) {
      const health = await client.health(name);
      process.exitCode = EXIT_CODES[health.verdict];
      if (!watch) return printHealth(health, { json });
      // The screen is drawn anew on a terminal; elsewhere one state follows the other.
      if (process.stdout.isTTY && !json) process.stdout.write(`\x1b[2J\x1b[H${healthText(health)}\n`);
      else printHealth(health, { json });
      await delay(REDRAW_MS, undefined, { signal: interrupted.signal }).catch(() => undefined);
      if (interrupted.signal.aborted) return;
    }
  } finally {
    process.off('SIGINT', onInterrupt);
    await client.close();
  }
}
