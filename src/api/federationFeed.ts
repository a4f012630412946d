import { setTimeout as delay } from 'node:timers/promises';
import type { ChangeDescription, FederatorClient } from '../client.js';
import type { FederationHealth } from '../contract/health.js';
import type { EventStream } from './eventStream.js';
import { knownHealth } from './federationDetail.js';

/** So often it is asked whether there is something new, once for all who follow. */
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

/** Tells those who follow a federation what is new about it. */
export class FederationFeed {
  private readonly asked = new Map<string, { at: number; known: Promise<Known> }>();

  constructor(private readonly client: FederatorClient) {}

  async follow(federation: string, { send, signal }: EventStream): Promise<void> {
    const said = new Map<string, string>();
    const until = Date.now() + FOLLOWED_MS;
    while (!signal.aborted && Date.now() < until) {
      for (const [event, data] of Object.entries(await this.known(federation))) {
        const text = JSON.stringify(data);
        if (said.get(event) === text) continue;
        said.set(event, text);
        send(event, data);
      }
      // Aborted: nobody reads any more.
      await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private known(federation: string): Promise<Known> {
    const last = this.asked.get(federation);
    if (last !== undefined && Date.now() - last.at < POLL_MS) return last.known;
    for (const [name, { at }] of this.asked) if (Date.now() - at > POLL_MS) this.asked.delete(name);
    const known = this.ask(federation);
    this.asked.set(federation, { at: Date.now(), known });
    known.catch(() => this.asked.delete(federation));
    return known;
  }

  private async ask(federation: string): Promise<Known> {
    const [health, changes] = await Promise.all([
      knownHealth(this.client, federation),
      this.client.listChanges({ federation, limit: CHANGES }),
    ]);
    return { health: health ?? null, changes };
  }
}
