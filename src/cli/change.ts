import { FederatorClient, type Changes } from '../client.js';
import type { ChangeResult } from '../contract/change.js';
import { followChange, wayBack } from './follow.js';
import type { ChangeOptions } from './options.js';
import { isTable, printResult } from './output.js';
import { printChange } from './report.js';

/**
 * Starts a change and, unless told not to, follows it to its end and prints what came of it.
 * @returns what came of it, or undefined when it was not waited for
 */
export async function runChange<K extends keyof Changes>(
  name: K,
  input: Changes[K],
  options: Pick<ChangeOptions, 'output' | 'wait' | 'timeout'>,
): Promise<ChangeResult | undefined> {
  const client = await FederatorClient.connect();
  try {
    const handle = await client.startChange(name, input);
    if (!options.wait) {
      const again = wayBack(handle);
      printResult(handle, options, () => {
        console.log(`Started ${handle.workflowId}: ${handle.link}`);
        if (again !== undefined) console.log(`Follow it with: npm run federator -- ${again}`);
      });
      return undefined;
    }
    if (isTable(options)) console.error(`${name} ${input.federation}: ${handle.link}\n`);
    const result = await followChange(client, handle, options);
    if (result !== undefined) printResult({ ...result, link: handle.link }, options, () => printChange(result));
    return result;
  } finally {
    await client.close();
  }
}
