import { createHash } from 'node:crypto';
import path from 'node:path';
import { cacheDirectory, projectRoot } from './cache.mjs';
import { compile, compiledIsCurrent } from './compile.mjs';
import { dependenciesAreCurrent, installDependencies } from './dependencies.mjs';
import { withLock } from './lock.mjs';
import { say } from './progress.mjs';

const steps = {
  dependencies: { isCurrent: dependenciesAreCurrent, make: installDependencies },
  compiled: { isCurrent: () => dependenciesAreCurrent() && compiledIsCurrent(), make: compile },
};

/**
 * Brings what a command needs up to date; does nothing, quickly, when it is.
 * @param {('dependencies' | 'compiled')[]} needs in order
 * @returns {Promise<void>}
 */
export async function prepare(needs) {
  const outdated = () => needs.map((need) => steps[need]).filter(({ isCurrent }) => !isCurrent());
  if (outdated().length === 0) return;
  const checkout = createHash('sha256').update(projectRoot).digest('hex').slice(0, 16);
  const lock = path.join(cacheDirectory(), 'locks', checkout);
  const onWait = (pid) => say(`Waiting for process ${pid}, which prepares this checkout …`);
  await withLock(lock, onWait, async () => {
    for (const need of needs) if (!steps[need].isCurrent()) await steps[need].make();
  });
}
