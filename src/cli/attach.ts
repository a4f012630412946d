import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { federationName } from '../contract/change.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { followChange } from './follow.js';
import { checked } from './options.js';
import { printChange } from './report.js';

/** `attach`: follows the newest change of a federation again, or shows how it ended. */
export function attachCommand(): Command {
  return new Command('attach')
    .description('follow the newest change of a federation')
    .argument('[federation]', 'name of the federation', DEFAULT_FEDERATION)
    .option('--json', 'print the result as JSON')
    .action(async (federation: string, { json = false }: { json?: boolean }) => {
      const client = await FederatorClient.connect();
      try {
        const handle = await client.findChange(checked(federationName, federation));
        if (!json) console.error(`${handle.workflowId}: ${handle.link}\n`);
        const result = await followChange(client, handle, { quiet: json });
        if (result === undefined) return;
        if (json) console.log(JSON.stringify(result, undefined, 2));
        else printChange(result);
      } finally {
        await client.close();
      }
    });
}
