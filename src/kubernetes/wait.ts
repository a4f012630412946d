import { setTimeout as delay } from 'node:timers/promises';
import { FederatorError } from '../contract/errors.js';

export interface WaitOptions {
  /** What is awaited, for the message when it does not come: "pod spire-server-0 is ready". */
  what: string;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** First pause between two looks; it grows to `maxIntervalMs`, so that quick things are seen quickly and slow ones cost little. */
  intervalMs?: number;
  maxIntervalMs?: number;
  /** Called at every look with what was seen, e.g. to heartbeat. */
  onLook?: (seen: string) => void;
}

/** One look: done with a value, or not yet, with what was seen instead. */
export type Look<T> = { done: true; value: T } | { done: false; seen: string };

/**
 * Looks until done. A look that throws a retryable FederatorError counts as "not yet".
 * @throws FederatorError TimedOut when the time is over, with what was seen last; any other error of a look at once
 */
export async function waitFor<T>(look: () => Promise<Look<T>>, options: WaitOptions): Promise<T> {
  const { what, timeoutMs, signal, intervalMs = 50, maxIntervalMs = 1_000, onLook } = options;
  const deadline = Date.now() + timeoutMs;
  let pause = intervalMs;
  for (;;) {
    signal?.throwIfAborted();
    let seen: string;
    try {
      const result = await look();
      if (result.done) return result.value;
      ({ seen } = result);
    } catch (error) {
      if (!(error instanceof FederatorError && error.retryable)) throw error;
      seen = error.message;
    }
    onLook?.(seen);
    if (Date.now() >= deadline) {
      throw new FederatorError(
        'TimedOut',
        `Not true after ${Math.round(timeoutMs / 1000)} s: ${what}. Last seen: ${seen}`,
      );
    }
    await delay(Math.min(pause, Math.max(1, deadline - Date.now())), undefined, signal === undefined ? {} : { signal });
    pause = Math.min(pause * 1.3, maxIntervalMs);
  }
}
