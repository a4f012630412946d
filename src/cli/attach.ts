import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { federationName } from '../contract/change.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { addExamples } from './examples.js';
import { followChange } from './follow.js';
import { addTimeoutOption, checked, type FollowOptions } from './options.js';
import { addOutputOption, isTable, printResult } from './output.js';
import { printChange } from './report.js';

/** `attach`: follows the newest change of a federation again, or shows how it ended. */
export function attachCommand(): Command {
  const command = new Command('attach')
    .description('follow the newest change of a federation, or show how it ended')
    .argument('[federation]', 'name of the federation', DEFAULT_FEDERATION)
    .action(async (federation: string, options: FollowOptions) => {
      const client = await FederatorClient.connect();
      try {
        const handle = await client.findChange(checked(federationName, federation));
        if (isTable(options)) console.error(`${handle.workflowId}: ${handle.link}\n`);
        const result = await followChange(client, handle, options);
        if (result !== undefined) printResult({ ...result, link: handle.link }, options, () => printChange(result));
      } finally {
        await client.close();
      }
    });
  return addExamples(addTimeoutOption(addOutputOption(command)), 'npm run federator -- attach prod');
}
