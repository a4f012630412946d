import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, Connection, isGrpcDeadlineError, ServiceError, type WorkflowHandle } from '@temporalio/client';
import { projectRoot } from '../sandbox/projectRoot.js';
import type { FederationHealth } from '../src/contract/health.js';
import { DEFAULT_REPAIR_POLICY, HEALTH_QUERY, STOP_SIGNAL, type MonitorInput } from '../src/contract/monitor.js';
import { DEFAULT_REFRESH_HINT_SECONDS, monitorWorkflowId, TASK_QUEUE } from '../src/contract/names.js';
import { WatchedFederation } from '../src/federation/watchedFederation.js';
import { Engine } from './engine.js';
import type { FleetReady } from './fleetServer.js';
import { cpuSeconds, median, memoryMb } from './measure.js';
import type { Figure } from './report.js';

export const FLEET_FEDERATION = 'fleet';
/** SPIRE polls, and the monitor looks, this often by default. */
const INTERVAL_S = DEFAULT_REFRESH_HINT_SECONDS / 4;
/** The first ones open connections and watches. */
const WARM_UP = 2;
const MEASURED = 3;
const ROUNDS_LIMIT_MS = (WARM_UP + MEASURED + 4) * INTERVAL_S * 1000;
/** A look at hundreds of clusters is work for the worker, too. */
const LOOK_MS = 3_000;

/** What one federation of so many clusters costs to be watched over when all is well; FLEET names other sizes. */
export async function benchFleet(directory: string): Promise<Figure[]> {
  const sizes = (process.env['FLEET'] ?? '100').split(',').map(Number);
  const figures: Figure[] = [];
  for (const size of sizes) figures.push(...(await benchSize(`${directory}-fleet`, size)));
  return figures;
}

async function benchSize(folder: string, size: number): Promise<Figure[]> {
  return withFleet(folder, size, 'dist/bench/worker.js', measure);
}

/** A fleet that a worker watches over. */
export interface Fleet {
  engine: Engine;
  process: ChildProcess;
  clusters: string[];
  monitor: WorkflowHandle;
  client: Client;
}

/**
 * Runs with a fleet of so many clusters, a federation of them all and its monitor.
 * @param script the worker's, relative to the project
 */
export async function withFleet<T>(
  folder: string,
  size: number,
  script: string,
  work: (fleet: Fleet) => Promise<T>,
): Promise<T> {
  const server = path.join(projectRoot(), 'dist', 'bench', 'fleetServer.js');
  const fleet = fork(server, [folder, String(size), FLEET_FEDERATION]);
  let engine: Engine | undefined;
  try {
    const [{ digests }] = (await Promise.race([once(fleet, 'message'), failed(fleet)])) as [FleetReady];
    engine = await Engine.start(folder, script);
    const connection = await Connection.connect({ address: process.env['TEMPORAL_ADDRESS'] ?? '' });
    try {
      const client = new Client({ connection });
      const monitor = await client.workflow.start('monitor', {
        workflowId: monitorWorkflowId(FLEET_FEDERATION),
        taskQueue: TASK_QUEUE,
        args: [monitorInput(digests)],
      });
      const result = await work({ engine, process: fleet, clusters: Object.keys(digests), monitor, client });
      await monitor.signal(STOP_SIGNAL);
      return result;
    } finally {
      await connection.close();
    }
  } finally {
    await engine?.stop();
    fleet.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure({ engine, process: fleet, clusters, monitor: handle, client }: Fleet): Promise<Figure[]> {
  const edges = clusters.length * (clusters.length - 1);
  const worker = engine.worker.pid ?? 0;
  const { rounds: known } = await untilRound(handle, WARM_UP);
  const runs = new Set<string>();
  const [before, usedBefore, fleetBefore, callsBefore] = [
    await historyOf(client, runs),
    cpuSeconds(worker),
    cpuSeconds(fleet.pid ?? 0),
    await engine.calls(),
  ];
  const startedAt = performance.now();
  let memory = 0;
  let measured = 0;
  const durations: number[] = [];
  for (let round = 1; round <= MEASURED; round++) {
    const health = await untilRound(handle, known + round, async () => {
      memory = Math.max(memory, memoryMb(worker));
      runs.add((await handle.describe()).runId);
    });
    if (health.counts.fresh !== edges)
      throw new Error(`not all of ${edges} edges are fresh: ${JSON.stringify(health.counts)}`);
    durations.push(roundSeconds(health));
    measured = health.rounds - known;
  }
  const elapsed = (performance.now() - startedAt) / 1000;
  const [after, calls] = [await historyOf(client, runs), await engine.calls()];
  const [events, bytes] = [after.events - before.events, after.bytes - before.bytes];
  const perClusterRound = (value: number) => value / measured / clusters.length;
  const of = `${clusters.length} clusters, ${edges} edges: `;
  return [
    { name: `${of}a round`, value: median(durations), unit: 's', target: INTERVAL_S, samples: durations },
    { name: '  memory of the worker, at most', value: memory, unit: 'MB' },
    {
      name: '  processor of the worker',
      value: ((cpuSeconds(worker) - usedBefore) / elapsed) * 100,
      unit: '% of a core',
    },
    {
      name: '  processor of the fleet',
      value: ((cpuSeconds(fleet.pid ?? 0) - fleetBefore) / elapsed) * 100,
      unit: '% of a core',
    },
    {
      name: '  requests and commands per cluster and round',
      value: perClusterRound(calls.requests + calls.execs - callsBefore.requests - callsBefore.execs),
      unit: '',
      target: 3,
    },
    {
      name: '  requests and commands per cluster and minute',
      value:
        ((calls.requests + calls.execs - callsBefore.requests - callsBefore.execs) / clusters.length / elapsed) * 60,
      unit: '',
    },
    { name: '  history events per cluster and round', value: perClusterRound(events), unit: '', target: 12 },
    { name: '  history per round', value: bytes / measured / 1024, unit: 'KiB' },
    { name: '  runs of the monitor that these rounds took', value: runs.size, unit: '' },
    { name: '  history per day', value: (bytes / measured / 1024 / 1024) * ((24 * 3600) / INTERVAL_S), unit: 'MiB' },
  ];
}

/** Events and bytes of these runs of the monitor and of the current one, which is added to them. */
async function historyOf(client: Client, runs: Set<string>): Promise<{ events: number; bytes: number }> {
  const workflowId = monitorWorkflowId(FLEET_FEDERATION);
  runs.add((await client.workflow.getHandle(workflowId).describe()).runId);
  const described = await Promise.all([...runs].map((run) => client.workflow.getHandle(workflowId, run).describe()));
  return {
    events: described.reduce((sum, { historyLength }) => sum + historyLength, 0),
    bytes: described.reduce((sum, { historySize = 0 }) => sum + historySize, 0),
  };
}

/** A monitor that has found every configuration to be good: what is measured is the steady state. */
function monitorInput(digests: Record<string, string>): MonitorInput {
  const settings = {
    federation: FLEET_FEDERATION,
    clusters: Object.keys(digests),
    refreshHintSeconds: DEFAULT_REFRESH_HINT_SECONDS,
    repair: DEFAULT_REPAIR_POLICY,
  };
  const clusters = Object.fromEntries(
    Object.entries(digests).map(([name, goodConfig]) => [name, { failures: 0, goodConfig }]),
  );
  const { state } = new WatchedFederation(settings, Date.now());
  return { ...settings, state: { ...state, clusters } };
}

/** Waits until every cluster was read in a round. */
export async function untilRound(
  handle: WorkflowHandle,
  round: number,
  onLook: () => Promise<void> = () => Promise.resolve(),
): Promise<FederationHealth> {
  const deadline = Date.now() + ROUNDS_LIMIT_MS;
  while (Date.now() < deadline) {
    await onLook();
    const health = await queryHealth(handle);
    const since = health?.lastRoundAt ?? Number.POSITIVE_INFINITY;
    const isRead = health?.clusters.every(({ readAt }) => readAt !== undefined && readAt >= since) === true;
    if (health !== undefined && health.rounds >= round && isRead) return health;
    await delay(LOOK_MS);
  }
  throw new Error(`round ${round} has not come to its end`);
}

/** Undefined where the worker has too much to do to answer in time. */
async function queryHealth(handle: WorkflowHandle): Promise<FederationHealth | undefined> {
  try {
    return await handle.query<FederationHealth>(HEALTH_QUERY);
  } catch (error) {
    if (isGrpcDeadlineError(error) || (error instanceof ServiceError && isGrpcDeadlineError(error.cause)))
      return undefined;
    throw error;
  }
}

/** From a round's beginning to the beginning of its last reading. */
function roundSeconds({ lastRoundAt = 0, clusters }: FederationHealth): number {
  return (Math.max(...clusters.map(({ readAt = 0 }) => readAt)) - lastRoundAt) / 1000;
}

async function failed(child: ChildProcess): Promise<never> {
  const [code] = (await once(child, 'exit')) as [number | null];
  throw new Error(`the fleet ended with code ${code ?? 'none'}`);
}
