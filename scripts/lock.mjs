import { existsSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const pollMs = 200;

/**
 * Runs `work` while holding a lock file, so that two commands started at the same moment do not build the same thing
 * twice. The lock of a process that no longer lives is taken over.
 * @template T
 * @param {string} file
 * @param {(holderPid: number) => void} onWait called once if another process holds the lock
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(file, onWait, work) {
  mkdirSync(path.dirname(file), { recursive: true });
  const claim = `${file}.${process.pid}`;
  writeFileSync(claim, JSON.stringify({ pid: process.pid, startTime: startTime(process.pid) }));
  // Also on a signal: whoever handles signals ends by process.exit.
  const release = () => {
    if (readHolder(file)?.pid === process.pid) rmSync(file, { force: true });
    rmSync(claim, { force: true });
  };
  process.on('exit', release);
  try {
    for (let waited = false; !tryLink(claim, file);) {
      const holder = readHolder(file);
      if (holder && !isAlive(holder)) {
        takeAway(file, holder);
        continue;
      }
      if (holder && !waited) {
        onWait(holder.pid);
        waited = true;
      }
      await sleep(pollMs);
    }
    return await work();
  } finally {
    release();
    process.removeListener('exit', release);
  }
}

/** Linking a finished file is atomic, so a lock is never seen without its holder's pid in it. */
function tryLink(claim, file) {
  try {
    linkSync(claim, file);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function readHolder(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw new Error(`the lock file ${file} is not readable: remove it if no other command runs`, { cause: error });
  }
}

function isAlive({ pid, startTime: started }) {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    if (error.code !== 'EPERM') throw error;
  }
  // A pid is reused; the moment its process started is not.
  return startTime(pid) === started;
}

/** Clock ticks since boot at which a process started; undefined where there is no /proc (macOS). */
function startTime(pid) {
  const file = `/proc/${pid}/stat`;
  if (!existsSync(file)) return undefined;
  const stat = readFileSync(file, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
}

function takeAway(file, stale) {
  const aside = `${file}.${process.pid}.stale`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  const taken = readHolder(aside);
  // Someone quicker took the stale lock over and this is theirs: give it back.
  if (taken && (taken.pid !== stale.pid || taken.startTime !== stale.startTime)) tryLink(aside, file);
  for (const left of [aside, `${file}.${stale.pid}`]) rmSync(left, { force: true });
}
