import { homedir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the checkout that these scripts belong to. */
export const projectRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/**
 * The folder that outlives a checkout: built tools and locks.
 * @returns {string} `$SPIRE_FEDERATOR_CACHE`, else `$XDG_CACHE_HOME/spire-federator`, else `~/.cache/spire-federator`.
 */
export function cacheDirectory() {
  const own = process.env.SPIRE_FEDERATOR_CACHE;
  if (own) return path.resolve(own);
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'spire-federator');
}
