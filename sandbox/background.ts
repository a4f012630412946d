import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { endRecordedProcesses, livingProcesses, recordProcess } from './processes.js';

export interface BackgroundProcess {
  /** Folder of the records; a sandbox's own, so that taking the sandbox down ends it too. */
  records: string;
  name: string;
  command: string;
  args: string[];
  env?: NodeJS.ProcessEnv;
  log: string;
}

/** Whether a background process of that name lives. */
export function runsInBackground(records: string, name: string): boolean {
  return livingProcesses(records).some((each) => each.name === name);
}

/** Starts a process that outlives this one; it is recorded, and ends with the sandbox. */
export function startInBackground({ records, name, command, args, env, log }: BackgroundProcess): void {
  mkdirSync(path.dirname(log), { recursive: true });
  const output = openSync(log, 'a');
  const child = spawn(command, args, { detached: true, stdio: ['ignore', output, output], env: env ?? process.env });
  if (child.pid !== undefined) recordProcess(path.join(records, `${name}.json`), child.pid, name);
  child.unref();
}

/** Ends one background process. */
export async function endInBackground(records: string, name: string): Promise<void> {
  await endRecordedProcesses(records, (each) => each === name);
}

/** The end of a log, for when its process did not come up. */
export function logTail(log: string): string {
  return existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-8).join('\n') : '(no log)';
}
