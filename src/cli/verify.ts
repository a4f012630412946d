import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { verifyInputSchema } from '../contract/change.js';
import { addExamples } from './examples.js';
import { EXIT_CODES } from './exitCodes.js';
import { addCommonOptions, checked, inventoryClusters, requireKnown, type CommonOptions } from './options.js';
import { printResult } from './output.js';
import { printVerification } from './report.js';

/** `verify`: looks and changes nothing; exit code 0 when all is well, 1 otherwise. */
export function verifyCommand(): Command {
  const command = addCommonOptions(
    new Command('verify').description('check every cluster and every edge; changes nothing'),
  )
    .option('--all', 'list the checks that are ok, too')
    .action(async (options: CommonOptions & { all?: boolean }) => {
      requireKnown(options.clusters ?? [], await inventoryClusters(options.inventory));
      const input = checked(verifyInputSchema, { federation: options.federation, clusters: options.clusters ?? [] });
      const client = await FederatorClient.connect();
      try {
        const result = await client.verify(input);
        printResult(result, options, () => printVerification(result, { all: options.all === true }));
        if (result.verdict === 'failed' || result.verdict === 'unknown') process.exitCode = EXIT_CODES.failed;
      } finally {
        await client.close();
      }
    });
  return addExamples(command, 'npm run federator -- verify --federation prod --all');
}
