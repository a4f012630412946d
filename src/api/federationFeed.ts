import { setTimeout as delay } from 'node:timers/promises';
import type { ChangeDescription } from '../client.js';
import type { FederationHealth } from '../contract/health.js';
import type { EventStream } from './eventStream.js';
import type { Reads } from './reads.js';

/** So often it is asked whether there is something new. */
const POLL_MS = 2_000;
const CHANGES = 20;
/** Whoever follows has to show a token again after this: one that was taken back is of no use for longer. */
const FOLLOWED_MS = 5 * 60_000;

/** What is known of a federation: an event for each part, told again whenever it is another. */
interface Known {
  /** Null where nobody watches. */
  health: FederationHealth | null;
  /** The newest changes. */
  changes: ChangeDescription[];
}

/** Tells whoever follows a federation what is new about it. */
export async function followFederation(reads: Reads, federation: string, { send, signal }: EventStream): Promise<void> {
  const said = new Map<string, string>();
  const until = Date.now() + FOLLOWED_MS;
  while (!signal.aborted && Date.now() < until) {
    for (const [event, data] of Object.entries(await known(reads, federation))) {
      const text = JSON.stringify(data);
      if (said.get(event) === text) continue;
      said.set(event, text);
      send(event, data);
    }
    // Aborted: nobody reads any more.
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function known(reads: Reads, federation: string): Promise<Known> {
  const [health, changes] = await Promise.all([reads.knownHealth(federation), reads.changes(federation, CHANGES)]);
  return { health: health ?? null, changes };
}
