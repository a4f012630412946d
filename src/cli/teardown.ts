import { Command } from 'commander';
import { teardownInputSchema } from '../contract/change.js';
import { runChange } from './change.js';
import { addExamples } from './examples.js';
import { addChangeOptions, checked, inventoryClusters, requireKnown, timeouts, type ChangeOptions } from './options.js';

/** `teardown`: short for `start-workflow teardown`. */
export function teardownCommand(): Command {
  const command = addChangeOptions(
    new Command('teardown').description('end a federation and put every member back to what it was before'),
  ).action(async (options: ChangeOptions) => {
    const { federation, clusters = [], plan = false } = options;
    requireKnown(clusters, await inventoryClusters(options.inventory));
    await runChange(
      'teardown',
      checked(teardownInputSchema, { federation, clusters, planOnly: plan, timeouts: timeouts(options) }),
      options,
    );
  });
  return addExamples(command, 'npm run federator -- teardown --federation prod --plan');
}
