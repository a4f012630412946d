import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { addFault, down, heal, up } from '../../sandbox/client.js';
import type { Fault } from '../../sandbox/faults.js';
import { connects, freePort } from '../../sandbox/ports.js';
import { parseSpireVersions } from '../../sandbox/spireVersions.js';
import { toolPath } from '../../sandbox/tools/toolPath.js';
import { FederatorClient } from '../../src/client.js';

declare global {
  /** Set by test/compat.config.mjs: what the sandbox is made with. */
  var spireVersions: string[] | undefined;
}

/** A worker gives its activities 10 s to end. */
const ENDS_WITHIN_MS = 40_000;

const ROOT = path.resolve(__dirname, '../..');

export interface CommandResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** A sandbox, a Temporal dev server and workers as processes of their own: the engine as its users run it. */
export class Testbed {
  readonly directory: string;
  readonly environment: Record<string, string>;
  private readonly processes = new Set<ChildProcess>();

  private port = 0;
  private temporalServer: ChildProcess | undefined;
  private connected: Promise<FederatorClient> | undefined;

  private constructor(
    readonly folder: string,
    private readonly persistentTemporal: boolean,
  ) {
    this.directory = path.join(folder, '.sandbox');
    this.environment = {
      SPIRE_FEDERATOR_INVENTORY: path.join(this.directory, 'inventory.yaml'),
      NO_COLOR: '1',
      // Most tests break and mend things themselves; those of the monitor start one.
      SPIRE_FEDERATOR_MONITOR: 'off',
    };
  }

  /**
   * @param clusters 0: no sandbox, only Temporal
   * @param persistentTemporal whether Temporal keeps what it knows over its death, which costs time
   */
  static async start({ clusters = 2, operators = [] as string[], persistentTemporal = false } = {}): Promise<Testbed> {
    const folder = mkdtempSync(path.join(os.tmpdir(), 'federator-test-'));
    const testbed = new Testbed(folder, persistentTemporal);
    const spireVersions = parseSpireVersions(globalThis.spireVersions ?? []);
    const started = await Promise.allSettled([
      clusters > 0 && up({ directory: testbed.directory, clusters, spireVersions, operators }),
      testbed.startTemporal(),
    ]);
    const failed = started.find((each) => each.status === 'rejected');
    if (failed === undefined) return testbed;
    await testbed.stop();
    throw failed.reason;
  }

  /** Brings the sandbox to so many clusters; those that run are left alone. */
  async grow(clusters: number): Promise<void> {
    await up({
      directory: this.directory,
      clusters,
      spireVersions: parseSpireVersions(globalThis.spireVersions ?? []),
    });
  }

  /** The engine as programs use it: to look often, as each start of the command line takes most of a second of a processor. */
  client(): Promise<FederatorClient> {
    Object.assign(process.env, this.environment);
    this.connected ??= FederatorClient.connect();
    return this.connected;
  }

  async stop(): Promise<void> {
    await (await this.connected)?.close();
    const ended = await Promise.allSettled([...this.processes].map(end));
    await down({ directory: this.directory });
    rmSync(this.folder, { recursive: true, force: true });
    for (const each of ended) if (each.status === 'rejected') throw each.reason;
  }

  /**
   * Starts a worker and waits until it polls. With a fault, one that fails, dies or hangs at that step, and whose undos
   * fail: each of them twice, or one (`<activity>/<cluster>`) for good.
   * @param clockShiftMs by which the worker's clock is ahead of everybody else's
   */
  async startWorker(
    fault?: {
      step: string;
      mode: 'fail' | 'kill' | 'hang';
      undo?: 'twice' | `${string}/${string}`;
    },
    clockShiftMs = 0,
    settings: Record<string, string> = {},
  ): Promise<ChildProcess> {
    const script = fault === undefined ? 'dist/src/worker.js' : 'test/support/faultyWorker.mjs';
    const environment: Record<string, string> = {
      ...settings,
      ...(fault === undefined ? {} : { FAULT_STEP: fault.step, FAULT_MODE: fault.mode, FAULT_UNDO: fault.undo ?? '' }),
    };
    if (clockShiftMs !== 0) {
      environment['CLOCK_SHIFT_MS'] = String(clockShiftMs);
      environment['NODE_OPTIONS'] = `--require ${path.join(ROOT, 'test/support/shiftedClock.cjs')}`;
    }
    const worker = this.spawn(process.execPath, [path.join(ROOT, script)], 'worker', environment);
    await line(worker.stdout, /Worker on task queue/);
    return worker;
  }

  /** Starts the API on a port that is free. @returns its address */
  async startApi(environment: Record<string, string>): Promise<string> {
    const api = this.spawn(process.execPath, [path.join(ROOT, 'dist/src/api/main.js')], 'api', {
      SPIRE_FEDERATOR_API_ADDRESS: '127.0.0.1:0',
      ...environment,
    });
    const [, address = ''] = /^API on (\S+)/.exec(await line(api.stdout, /^API on/)) ?? [];
    return address;
  }

  async stopWorker(worker: ChildProcess): Promise<void> {
    await end(worker);
    this.processes.delete(worker);
  }

  /** Runs the command line to its end. */
  async federator(...args: string[]): Promise<CommandResult> {
    return this.federatorWith({}, ...args);
  }

  /** Runs the command line with some of its environment changed. */
  async federatorWith(environment: Record<string, string>, ...args: string[]): Promise<CommandResult> {
    const command = this.spawn(
      process.execPath,
      [path.join(ROOT, 'dist/src/cli/main.js'), ...args],
      'cli',
      environment,
    );
    const [stdout, stderr] = [collect(command.stdout), collect(command.stderr)];
    const code = await new Promise<number>((resolve) => command.once('exit', (status) => resolve(status ?? -1)));
    this.processes.delete(command);
    return { code, stdout: await stdout, stderr: await stderr };
  }

  /** Starts the command line and leaves it running. */
  startFederator(...args: string[]): ChildProcess {
    return this.spawn(process.execPath, [path.join(ROOT, 'dist/src/cli/main.js'), ...args], 'cli');
  }

  /** Temporal's own command line against the testbed's server. */
  async temporal(...args: string[]): Promise<string> {
    const command = this.spawn(toolPath('temporal'), [...args, '--address', `127.0.0.1:${this.port}`], 'temporal-cli');
    const stdout = collect(command.stdout);
    await new Promise((resolve) => command.once('exit', resolve));
    this.processes.delete(command);
    return stdout;
  }

  async addFault(fault: Fault): Promise<void> {
    await addFault({ directory: this.directory, fault });
  }

  async heal(): Promise<void> {
    await heal({ directory: this.directory });
  }

  /** Kills Temporal, and starts it again with what it knew. */
  async killTemporal(): Promise<void> {
    const { temporalServer: server } = this;
    if (server === undefined || !this.persistentTemporal) throw new Error('this Temporal keeps nothing over its death');
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGKILL');
    await ended;
    this.processes.delete(server);
    const started = await this.spawnTemporal(this.port, await freePort());
    if (started.exitCode !== null) throw new Error(`Temporal ended with code ${started.exitCode}`);
    this.temporalServer = started;
  }

  /** A port that was free may be taken before Temporal listens on it: tests run beside others. */
  private async startTemporal(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const [port, uiPort] = [await freePort(), await freePort()];
      const server = await this.spawnTemporal(port, uiPort);
      if (server.exitCode === null) {
        this.port = port;
        this.temporalServer = server;
        this.environment['TEMPORAL_ADDRESS'] = `127.0.0.1:${port}`;
        return;
      }
      this.processes.delete(server);
      if (attempt === 3) throw new Error(`Temporal ended with code ${server.exitCode}`);
    }
  }

  private async spawnTemporal(port: number, uiPort: number): Promise<ChildProcess> {
    const kept = this.persistentTemporal ? [`--db-filename=${path.join(this.folder, 'temporal.db')}`] : [];
    const address = ['--ip=127.0.0.1', `--port=${port}`, `--ui-port=${uiPort}`];
    const server = this.spawn(
      toolPath('temporal'),
      ['server', 'start-dev', ...address, '--log-level=error', ...kept],
      'temporal',
    );
    while (server.exitCode === null && !(await connects(port))) await delay(50);
    return server;
  }

  private spawn(command: string, args: string[], name: string, environment: Record<string, string> = {}): ChildProcess {
    const child = spawn(command, args, {
      cwd: this.folder,
      env: { ...process.env, ...this.environment, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = createWriteStream(path.join(this.folder, `${name}.log`), { flags: 'a' });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.processes.add(child);
    // Its output may still be read after it has exited.
    child.once('close', () => log.end());
    return child;
  }
}

/** Waits until a process prints a line that fits. */
export async function line(output: Readable | null, pattern: RegExp): Promise<string> {
  if (output === null) throw new Error('the process has no output');
  for await (const text of createInterface({ input: output })) {
    if (pattern.test(text)) {
      output.resume();
      return text;
    }
  }
  throw new Error(`the process ended without printing ${pattern}`);
}

async function collect(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = '';
  for await (const chunk of stream ?? []) text += String(chunk);
  return text;
}

/** Asks a process to end, as an operator or an orchestrator does. @throws when it has to be killed */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  let killed = false;
  const forced = setTimeout(() => (killed = child.kill('SIGKILL')), ENDS_WITHIN_MS);
  await exited;
  clearTimeout(forced);
  if (killed) throw new Error(`${child.spawnargs.join(' ')} did not end within ${ENDS_WITHIN_MS / 1000} s of SIGTERM`);
}
