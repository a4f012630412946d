import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Clock ticks per second that /proc counts in; 100 on every Linux that Node runs on (sysconf(_SC_CLK_TCK)). */
const TICKS_PER_SECOND = 100;

export interface Usage {
  /** Proportional set size: memory that is shared is shared out among those who share it. */
  memoryMb: number;
  /** Percent of one core. */
  cpuPercent: number;
}

/** Memory now, and processor time over a window, of all processes that a sandbox has recorded. */
export async function sandboxUsage(directory: string, windowMs: number): Promise<Usage> {
  const folder = path.join(directory, 'processes');
  const pids = readdirSync(folder).map(
    (file) => (JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as { pid: number }).pid,
  );
  const before = sum(pids.map(cpuSeconds));
  await delay(windowMs);
  const used = sum(pids.map(cpuSeconds)) - before;
  return { memoryMb: sum(pids.map(memoryMb)), cpuPercent: (used / (windowMs / 1000)) * 100 };
}

/** Memory of one process in MB; 0 when it has ended. */
export function memoryMb(pid: number): number {
  const pss = /^Pss:\s+(\d+) kB/m.exec(proc(pid, 'smaps_rollup'))?.[1];
  return Number(pss ?? 0) / 1024;
}

/** Resident memory of one process in MB, what it shares with others included; 0 when it has ended. */
export function residentMb(pid: number): number {
  const rss = /^VmRSS:\s+(\d+) kB/m.exec(proc(pid, 'status'))?.[1];
  return Number(rss ?? 0) / 1024;
}

/** Processor time of one process so far; 0 when it has ended. */
export function cpuSeconds(pid: number): number {
  const stat = proc(pid, 'stat');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND;
}

function proc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}

export function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function median(values: number[]): number {
  return quantile(values, 0.5);
}

/** The value that so much of all, from 0 to 1, is not above (nearest rank). */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0;
}

/** Runs and tells how long it took, in seconds. */
export async function timed<T>(work: () => Promise<T>): Promise<{ seconds: number; result: T }> {
  const startedAt = performance.now();
  const result = await work();
  return { seconds: (performance.now() - startedAt) / 1000, result };
}
