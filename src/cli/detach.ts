import type { ChangeHandle } from '../client.js';
import { EXIT_CODES } from './exitCodes.js';
import type { FollowOptions } from './options.js';
import { printResult } from './output.js';

/** The longest that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Why nobody waits any more for what goes on. */
export type Detached = 'interrupted' | 'timedOut';

/**
 * Waits for Ctrl-C or the end of the timeout.
 * @param ended stops the waiting; the answer then never comes
 */
export function detachment({ timeout }: FollowOptions, ended: AbortSignal): Promise<Detached> {
  return new Promise((resolve) => {
    const onInterrupt = () => resolve('interrupted');
    process.once('SIGINT', onInterrupt);
    const timer =
      timeout === undefined ? undefined : setTimeout(() => resolve('timedOut'), Math.min(timeout, MAX_TIMER_MS));
    ended.addEventListener('abort', () => {
      process.off('SIGINT', onInterrupt);
      clearTimeout(timer);
    });
  });
}

/**
 * Says that it goes on, and how to follow it again; after a timeout also to programs, by the exit code and, as --no-wait
 * does, by what it prints.
 */
export function sayDetached(why: Detached, handle: ChangeHandle, options: FollowOptions, again?: string): void {
  const said = why === 'interrupted' ? 'Detached.' : `It has not ended within ${(options.timeout ?? 0) / 1000} s.`;
  console.error(
    `\n${said} It goes on; ${again === undefined ? `see ${handle.link}` : `follow it again with: npm run federator -- ${again}`}`,
  );
  if (why === 'interrupted') return;
  process.exitCode = EXIT_CODES.goesOn;
  printResult(handle, options, () => undefined);
}
