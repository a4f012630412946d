import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault } from './faults.js';
import { sandboxPaths } from './layout.js';
import { endRecordedProcesses, livingProcesses } from './processes.js';
import { projectRoot } from './projectRoot.js';
import { SandboxError } from './sandboxError.js';
import { assignSpireVersions, SPIRE_BUILDS, type SpireVersion, type SpireVersionChoice } from './spireVersions.js';
import type { SandboxState, SandboxStatus } from './supervisor.js';
import { toolPath } from './tools/toolPath.js';

/** Of all that runs in a sandbox: a third of the weight of what runs beside it (kernel: sched_prio_to_weight). */
const NICENESS = 5;

export interface SandboxOptions {
  /** State folder; `.sandbox` of the current folder by default. */
  directory: string;
  onProgress?: (message: string) => void;
}

/** What `up` is asked for. */
export interface Wanted {
  clusters: number;
  /** Of new clusters. */
  spireVersions?: SpireVersionChoice;
  /** Clusters whose SPIRE the stand-in for ZTWIM's operator is to configure. */
  operators?: readonly string[];
}

/** Starts a sandbox, or brings a running or half-started one to at least that many clusters. */
export async function up({
  directory,
  clusters,
  spireVersions = { byCluster: {} },
  operators = [],
  onProgress,
}: SandboxOptions & Wanted): Promise<SandboxStatus> {
  if (process.platform !== 'linux')
    throw new SandboxError('The sandbox needs Linux: it gives every pod a loopback address of its own.');
  const versions = plannedSpireVersions({ directory, clusters, spireVersions });
  for (const version of new Set(Object.values(versions))) toolPath(SPIRE_BUILDS[version].server);
  await ensureSupervisor(directory);
  return ask<SandboxStatus>(directory, '/up', { clusters, spireVersions, operators }, onProgress);
}

/**
 * Which version of SPIRE each cluster will run, without starting anything.
 * @throws SandboxError when that cannot be
 */
export function plannedSpireVersions({
  directory,
  clusters,
  spireVersions = { byCluster: {} },
}: SandboxOptions & Wanted): Record<string, SpireVersion> {
  const { state } = sandboxPaths(directory);
  const known = existsSync(state) ? (JSON.parse(readFileSync(state, 'utf8')) as SandboxState) : undefined;
  return assignSpireVersions(clusters, spireVersions, known?.spireVersions ?? {});
}

/**
 * Ends everything and removes every file; right also when the supervisor was killed.
 * @returns the names of the processes that ran; undefined when there was no sandbox
 */
export async function down({ directory }: SandboxOptions): Promise<string[] | undefined> {
  const paths = sandboxPaths(directory);
  const ended = existsSync(paths.directory) ? livingProcesses(paths.processes).map(({ name }) => name) : undefined;
  if (await isRunning(directory)) await ask(directory, '/down', {});
  // The supervisor ends by itself after its answer; whatever it left behind, or it itself, ends here.
  await endRecordedProcesses(paths.processes);
  rmSync(paths.sockets, { recursive: true, force: true });
  rmSync(paths.directory, { recursive: true, force: true, maxRetries: 5 });
  return ended;
}

/** Ends a sandbox, and says what it ended. */
export async function downAndSay({ directory }: SandboxOptions): Promise<void> {
  const ended = await down({ directory });
  if (ended === undefined) return console.log(`There is no sandbox in ${directory}: nothing was to be ended.`);
  // Each cluster has dozens of processes, named <cluster>/<process>.
  const names = new Set(ended.map((name) => name.split('/')[0]));
  const processes =
    ended.length === 0 ? 'No process ran' : `Ended ${ended.length} processes (${[...names].join(', ')})`;
  console.log(`${processes}; ${directory} is removed.`);
}

/** @throws SandboxError when there is no sandbox */
export async function status({ directory }: SandboxOptions): Promise<SandboxStatus> {
  return ask(directory, '/status', {});
}

export async function addFault({ directory, fault }: SandboxOptions & { fault: Fault }): Promise<SandboxStatus> {
  return ask(directory, '/fault', { fault });
}

/** Takes one fault away, or all. */
export async function heal({ directory, fault }: SandboxOptions & { fault?: Fault }): Promise<SandboxStatus> {
  return ask(directory, '/heal', { fault });
}

/** Makes a SPIRE server change its CA now, and with `revoke` forget the old one. */
export async function rotateCa(options: SandboxOptions & { cluster: string; revoke: boolean }): Promise<SandboxStatus> {
  return ask(options.directory, '/rotate-ca', { cluster: options.cluster, revoke: options.revoke });
}

async function ensureSupervisor(directory: string): Promise<void> {
  const paths = sandboxPaths(directory);
  if (await isRunning(directory)) return;
  // Processes of a supervisor that died would hold the addresses.
  await endRecordedProcesses(paths.processes);
  mkdirSync(paths.directory, { recursive: true });
  mkdirSync(paths.sockets, { recursive: true, mode: 0o700 });
  const log = openSync(paths.supervisorLog, 'a');
  const supervisor = spawn(
    process.execPath,
    [path.join(projectRoot(), 'dist', 'sandbox', 'supervisor.js'), paths.directory],
    {
      detached: true,
      stdio: ['ignore', log, log],
    },
  );
  supervisor.unref();
  if (supervisor.pid !== undefined) giveWay(supervisor.pid);
  const deadline = Date.now() + 20_000;
  while (!(await isRunning(directory))) {
    if (supervisor.exitCode !== null || Date.now() > deadline) {
      throw new SandboxError(
        `The sandbox's supervisor did not start:\n${readFileSync(paths.supervisorLog, 'utf8').slice(-2_000)}`,
      );
    }
    await delay(30);
  }
}

/** Its clusters stand for other machines: where processors are short they give way to what does not run in them. */
function giveWay(pid: number): void {
  os.setPriority(pid, Math.max(os.getPriority(), NICENESS));
  // A kernel that shares out processors among sessions counts priorities within each; this is the one of the session
  // (sched(7), autogroup), which the supervisor has to itself. Others have no such file.
  const ofSession = `/proc/${pid}/autogroup`;
  if (existsSync(ofSession)) writeFileSync(ofSession, String(NICENESS));
}

async function isRunning(directory: string): Promise<boolean> {
  const { control } = sandboxPaths(directory);
  if (!existsSync(control)) return false;
  try {
    await ask(directory, '/status', {});
    return true;
  } catch {
    return false;
  }
}

/** Asks the supervisor; progress lines come before the result. */
async function ask<T>(
  directory: string,
  url: string,
  body: object,
  onProgress?: (message: string) => void,
): Promise<T> {
  const { control, processes, supervisorLog } = sandboxPaths(directory);
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const request = http.request({ socketPath: control, path: url, method: 'POST' }, resolve);
    request.once('error', (error: NodeJS.ErrnoException) => {
      const left = livingProcesses(processes).length;
      const why =
        left > 0
          ? `its supervisor is gone, ${left} of its processes still run: npm run sandbox -- down, then up`
          : 'start one with: npm run sandbox -- up';
      reject(new SandboxError(`There is no running sandbox in ${directory} (${error.code}); ${why}.`));
    });
    request.end(JSON.stringify(body));
  });
  for await (const line of createInterface({ input: response })) {
    const message = JSON.parse(line) as { progress?: string; error?: string; result?: T };
    if (message.error !== undefined) throw new SandboxError(message.error);
    if (message.result !== undefined) return message.result;
    if (message.progress !== undefined) onProgress?.(message.progress);
  }
  throw new SandboxError(`The sandbox's supervisor went away while it worked; its log: ${supervisorLog}`);
}
