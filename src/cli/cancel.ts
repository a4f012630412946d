import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { federationName } from '../contract/change.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { addExamples } from './examples.js';
import { checked } from './options.js';
import { addOutputOption, printResult, type OutputOptions } from './output.js';

/** `cancel`: stops the running change of a federation, which then undoes what it did. */
export function cancelCommand(): Command {
  const command = new Command('cancel')
    .description(
      'stop the running change of a federation; a setup puts every cluster back as it was, a removal stops where it is',
    )
    .argument('[federation]', 'name of the federation', DEFAULT_FEDERATION)
    .action(async (federation: string, options: OutputOptions) => {
      const client = await FederatorClient.connect();
      try {
        const handle = await client.findChange(checked(federationName, federation));
        await client.cancel(handle);
        printResult(handle, options, () =>
          console.log(
            `Cancelling ${handle.workflowId}: ${handle.link}\nFollow it with: npm run federator -- attach ${federation}`,
          ),
        );
      } finally {
        await client.close();
      }
    });
  return addExamples(addOutputOption(command), 'npm run federator -- cancel prod');
}
