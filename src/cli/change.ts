import { FederatorClient, type Changes } from '../client.js';
import type { ChangeResult } from '../contract/change.js';
import { followChange } from './follow.js';
import type { ChangeOptions } from './options.js';
import { printChange } from './report.js';

/**
 * Starts a change and, unless told not to, follows it to its end and prints what came of it.
 * @returns what came of it, or undefined when it was not waited for
 */
export async function runChange<K extends keyof Changes>(
  name: K,
  input: Changes[K],
  { json = false, wait }: Pick<ChangeOptions, 'json' | 'wait'>,
): Promise<ChangeResult | undefined> {
  const client = await FederatorClient.connect();
  try {
    const handle = await client.startChange(name, input);
    if (!wait) {
      if (json) console.log(JSON.stringify(handle, undefined, 2));
      else
        console.log(
          `Started ${handle.workflowId}: ${handle.link}\nFollow it with: npm run federator -- attach ${handle.federation}`,
        );
      return undefined;
    }
    if (!json) console.error(`${name} ${input.federation}: ${handle.link}\n`);
    const result = await followChange(client, handle, { quiet: json });
    if (result === undefined) return undefined;
    if (json) console.log(JSON.stringify({ ...result, link: handle.link }, undefined, 2));
    else printChange(result);
    return result;
  } finally {
    await client.close();
  }
}
