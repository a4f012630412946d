import { performance } from 'node:perf_hooks';

/**
 * Writes one progress line to stderr, which leaves stdout to the command's own output (`--json`).
 * @param {string} text
 */
export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** An error whose message is all that the user needs: shown without a stack. */
export class UserError extends Error {}

/** A stopwatch: the returned function tells the seconds since it was made, as text. */
export function stopwatch() {
  const start = performance.now();
  return () => {
    const seconds = (performance.now() - start) / 1000;
    return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
  };
}

/**
 * Says something at once and again every so often until `work` ends, so that a long step is never silent.
 * @template T
 * @param {() => string} text what to say next
 * @param {Promise<T>} work
 * @param {number} everyMs
 * @returns {Promise<T>}
 */
export async function whileSaying(text, work, everyMs) {
  const timer = setInterval(() => say(text()), everyMs);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}
