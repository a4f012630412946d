import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { FederatorError } from '../contract/errors.js';
import { errorColours } from './colours.js';

/** What a worker gives its activities, and some more. */
const ENDS_WITHIN_MS = 30_000;
/** Of names, so that what the processes say stands in one column. */
const NAME_WIDTH = 8;

interface Started {
  name: string;
  child: ChildProcess;
  exited: Promise<void>;
  /** The line that it said last. */
  words: string;
}

/**
 * Processes that end with this one. Each is a process group of its own: a Ctrl-C in the terminal reaches none of them, so
 * that they can be ended in order. What they say goes to standard error, line by line, under their names.
 */
export class EngineProcesses {
  private readonly started: Started[] = [];
  private stopping = false;
  private fail: (error: FederatorError) => void = () => undefined;
  /** Rejects as soon as one of them ends by itself; never resolves. */
  readonly failed = new Promise<never>((_resolve, reject) => (this.fail = reject));

  /**
   * Starts a Node script.
   * @param ready what it says when it is ready
   * @returns that line
   */
  start(name: string, script: string, args: readonly string[], ready: RegExp): Promise<string> {
    if (this.stopping) return this.failed;
    const child = spawn(process.execPath, ['--enable-source-maps', script, ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
    const started: Started = { name, child, exited, words: '' };
    this.started.push(started);
    child.once('error', (error) =>
      this.fail(new FederatorError('Internal', `${name} did not start: ${error.message}`)),
    );
    child.once('close', (code, signal) => {
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      const words = started.words === '' ? '' : `: ${started.words}`;
      if (!this.stopping) this.fail(new FederatorError('Internal', `${name} has ended (${how})${words}`));
    });
    return new Promise((resolve) => {
      for (const input of [child.stdout, child.stderr])
        createInterface({ input }).on('line', (line) => {
          started.words = line;
          console.error(`${errorColours.dim(`${name.padEnd(NAME_WIDTH)} │`)} ${line}`);
          if (ready.test(line)) resolve(line);
        });
    });
  }

  /** Ends them, the newest first: what others need stays until they are gone. */
  async stop(): Promise<void> {
    this.stopping = true;
    for (const { child, exited } of this.started.toReversed()) {
      child.kill('SIGTERM');
      const forced = setTimeout(() => signalGroup(child, 'SIGKILL'), ENDS_WITHIN_MS);
      await exited;
      clearTimeout(forced);
    }
  }

  /** Ends them at once. */
  kill(): void {
    for (const { child } of this.started) signalGroup(child, 'SIGKILL');
  }
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
