import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { connects, freePort } from '../sandbox/ports.js';
import { projectRoot } from '../sandbox/projectRoot.js';
import { toolPath } from '../sandbox/tools/toolPath.js';
import { FederatorClient, type Changes } from '../src/client.js';
import type { ChangeResult } from '../src/contract/change.js';
import { SEARCH_ATTRIBUTES } from '../src/contract/names.js';
import type { Calls } from './worker.js';

/** A change that takes longer has stopped for good, and a measurement must come to its end. */
const CHANGE_LIMIT_MS = 5 * 60_000;
const START_LIMIT_MS = 3 * 60_000;

/** A Temporal dev server, a worker and a client for one sandbox. */
export class Engine {
  private constructor(
    private temporal: ChildProcess,
    private process: ChildProcess,
    readonly client: FederatorClient,
    private readonly script: string,
    private readonly startTemporal: () => Promise<ChildProcess>,
  ) {}

  get worker(): ChildProcess {
    return this.process;
  }

  /**
   * @param script the worker's, relative to the project
   * @param persistent whether Temporal keeps what it knows over its death, which costs time
   */
  static async start(directory: string, script: string, { persistent = false } = {}): Promise<Engine> {
    const port = await freePort();
    Object.assign(process.env, {
      TEMPORAL_ADDRESS: `127.0.0.1:${port}`,
      SPIRE_FEDERATOR_INVENTORY: path.join(directory, 'inventory.yaml'),
    });
    const kept = persistent ? [`--db-filename=${path.join(directory, 'temporal.db')}`] : [];
    const start = () => startTemporal(port, kept);
    const temporal = await start();
    return new Engine(temporal, await startWorker(script), await FederatorClient.connect(), script, start);
  }

  /** Kills the worker as a crash would, and starts another one. */
  async crashWorker(): Promise<void> {
    const gone = once(this.process, 'exit');
    this.process.kill('SIGKILL');
    await gone;
    this.process = await startWorker(this.script);
  }

  /** Kills Temporal as a crash would, and starts it again with what it knew. */
  async crashTemporal(): Promise<void> {
    const gone = once(this.temporal, 'exit');
    this.temporal.kill('SIGKILL');
    await gone;
    this.temporal = await this.startTemporal();
  }

  /** Runs a change to its end. */
  async change<K extends keyof Changes>(name: K, input: Changes[K]): Promise<ChangeResult> {
    const handle = await this.client.startChange(name, input);
    return within(CHANGE_LIMIT_MS, `${name} comes to its end`, this.client.result(handle));
  }

  /** What the worker has asked of the clusters; bench/worker.ts can tell. */
  async calls(): Promise<Calls> {
    const answer = once(this.worker, 'message');
    this.worker.send('calls');
    const [calls] = (await within(START_LIMIT_MS, 'the worker says what it asked', answer)) as [Calls];
    return calls;
  }

  async stop(): Promise<void> {
    await this.client.close();
    for (const child of [this.worker, this.temporal]) await stopProcess(child);
  }
}

async function startTemporal(port: number, options: readonly string[]): Promise<ChildProcess> {
  const attributes = SEARCH_ATTRIBUTES.flatMap((name) => ['--search-attribute', `${name}=Keyword`]);
  const temporal = spawn(
    toolPath('temporal'),
    [
      ...['server', 'start-dev', '--ip=127.0.0.1', `--port=${port}`, '--headless', '--log-level=error'],
      ...attributes,
      ...options,
    ],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  const listening = async () => {
    while (!(await connects(port))) await delay(50);
  };
  await within(START_LIMIT_MS, 'the Temporal server starts', Promise.race([listening(), ended(temporal)]));
  return temporal;
}

async function startWorker(script: string): Promise<ChildProcess> {
  return (await startProcess(script, 'Worker on task queue')).child;
}

/**
 * Starts a script of the project, and waits until it says that it is ready.
 * @param script relative to the project
 * @param says what the line has by which it is known
 * @returns with that line
 */
export async function startProcess(
  script: string,
  says: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [path.join(projectRoot(), script)], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: { ...process.env, ...environment },
  });
  const output = child.stdout ?? never();
  const lines = createInterface({ input: output });
  const ready = new Promise<string>((resolve) => {
    lines.on('line', (line) => {
      if (line.includes(says)) resolve(line);
    });
  });
  const line = await within(START_LIMIT_MS, `${script} starts`, Promise.race([ready, ended(child)]));
  lines.close();
  output.resume();
  return { child, line };
}

export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

async function ended(child: ChildProcess): Promise<never> {
  const [code] = (await once(child, 'exit')) as [number | null];
  throw new Error(`${child.spawnargs.join(' ')} ended with code ${code ?? 'none'}`);
}

async function within<T>(limitMs: number, what: string, work: Promise<T>): Promise<T> {
  const timer = new AbortController();
  try {
    const late = delay(limitMs, undefined, { signal: timer.signal }).then(() => {
      throw new Error(`Not within ${limitMs / 1000} s: ${what}`);
    });
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}

function never(): never {
  throw new Error('the process has no output');
}
