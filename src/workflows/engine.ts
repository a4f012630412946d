import type { WatchRequest } from '../contract/activities.js';
import type { Timeouts } from '../contract/change.js';
import { rootMessage } from './failure.js';
import { runStep } from './activities.js';

/** Lets a repair that is under way stop first: it sees that a change runs before everything it does. */
export async function awaitNoRepair(federation: string, { attempts, rolloutMs }: Timeouts): Promise<void> {
  const step = { id: 'awaitNoRepair', title: 'See that no repair is under way' };
  await runStep('awaitNoRepair', step, attempts, { federation, timeoutMs: rolloutMs });
}

/** Has a federation watched over as it is now. @returns what could not be done about it; the change stands all the same */
export async function watchOver(request: WatchRequest, { attempts }: Timeouts): Promise<string[]> {
  const { federation, start } = request;
  const step = { id: 'watchOver', title: `Watch over federation ${federation}` };
  try {
    await runStep('watchOver', step, attempts, request);
    return [];
  } catch (error) {
    const again = start ? ` Start it: npm run federator -- monitor start --federation ${federation}` : '';
    return [`the monitor of federation ${federation} could not be told of the change: ${rootMessage(error)}${again}`];
  }
}

/** Ends the watch over a federation, before what it would take for faults is done on purpose. */
export async function stopWatching(federation: string, timeouts: Timeouts): Promise<boolean> {
  const step = { id: 'stopWatching', title: `End the watch over federation ${federation}` };
  const { note } = await runStep('stopWatching', step, timeouts.attempts, { federation });
  await awaitNoRepair(federation, timeouts);
  return note !== undefined;
}
