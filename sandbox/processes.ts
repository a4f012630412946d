import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A process as it is known after whoever started it is gone. */
interface ProcessRecord {
  pid: number;
  /** Tells a process from a later one with the same number. */
  startTime: string;
  name: string;
}

export interface ProcessOptions {
  name: string;
  command: string;
  args: string[];
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** File that its output is appended to; undefined when `onOutput` takes it. */
  log?: string;
  onOutput?: (stream: 'stdout' | 'stderr', chunk: Buffer) => void;
  /** Folder where the process is recorded, so that it is found even after its starter was killed. */
  records: string;
}

/** A process of the sandbox: recorded while it lives. */
export class SandboxProcess {
  readonly exited: Promise<string>;
  /** Once it has ended and all of its output has arrived, which may be later. */
  readonly drained: Promise<void>;
  private readonly child: ChildProcess;
  private readonly record: string;
  private end: string | undefined;
  private asked = false;

  constructor(readonly options: ProcessOptions) {
    const { command, args, cwd, env, log, onOutput, records, name } = options;
    const output = log === undefined ? 'pipe' : openSync(log, 'a');
    this.child = spawn(command, args, {
      stdio: ['ignore', output, output],
      ...(cwd === undefined ? {} : { cwd }),
      env: env ?? process.env,
    });
    if (typeof output === 'number') closeSync(output);
    if (onOutput !== undefined) {
      this.child.stdout?.on('data', (chunk: Buffer) => onOutput('stdout', chunk));
      this.child.stderr?.on('data', (chunk: Buffer) => onOutput('stderr', chunk));
    }
    this.record = path.join(records, `${name.replaceAll('/', '_')}.json`);
    if (this.child.pid !== undefined) recordProcess(this.record, this.child.pid, name);
    this.drained = new Promise((resolve) => {
      this.child.once('close', () => resolve());
      this.child.once('error', () => resolve());
    });
    this.exited = new Promise((resolve) => {
      const ended = (how: string) => {
        if (this.end !== undefined) return;
        this.end = how;
        rmSync(this.record, { force: true });
        resolve(how);
      };
      this.child.once('error', (error) => ended(error.message));
      this.child.once('exit', (code, signal) => ended(signal === null ? `exit code ${code}` : `signal ${signal}`));
    });
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get running(): boolean {
    return this.end === undefined;
  }

  /** How it ended; undefined while it runs. */
  get ending(): string | undefined {
    return this.end;
  }

  /** Whether it is to be stopped, or was. */
  get stopAsked(): boolean {
    return this.asked;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends it, by force when it does not go by itself. */
  async stop(graceMs = 5_000): Promise<void> {
    this.asked = true;
    if (!this.running) return;
    this.child.kill('SIGTERM');
    const forced = setTimeout(() => this.child.kill('SIGKILL'), graceMs);
    await this.exited;
    clearTimeout(forced);
  }
}

/** Notes a process down in a file of its own. */
export function recordProcess(file: string, pid: number, name: string): void {
  const startTime = processStartTime(pid);
  if (startTime === undefined) return;
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify({ pid, startTime, name } satisfies ProcessRecord));
}

/** Ends every recorded process that still lives, or those whose name fits; for after their starter is gone. */
export async function endRecordedProcesses(
  folder: string,
  fits: (name: string) => boolean = () => true,
): Promise<number> {
  const alive = readRecords(folder).filter((record) => fits(record.name) && isAlive(record));
  for (const { pid } of alive) kill(pid, 'SIGTERM');
  const deadline = Date.now() + 5_000;
  while (alive.some(isAlive) && Date.now() < deadline) await delay(50);
  for (const record of alive.filter(isAlive)) kill(record.pid, 'SIGKILL');
  while (alive.some(isAlive)) await delay(20);
  return alive.length;
}

/** Recorded processes that still live. */
export function livingProcesses(folder: string): { pid: number; name: string }[] {
  return readRecords(folder).filter(isAlive);
}

function readRecords(folder: string): ProcessRecord[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(path.join(folder, file), 'utf8')) as ProcessRecord);
}

function isAlive({ pid, startTime }: ProcessRecord): boolean {
  return processStartTime(pid) === startTime;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Start time in clock ticks since boot (proc(5), stat, field 22); undefined when there is no such process, or only its remains. */
function processStartTime(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? undefined : fields[19];
}
