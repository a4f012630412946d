import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { down, up } from '../sandbox/client.js';
import { clusterName } from '../sandbox/layout.js';
import { formatTable } from '../src/cli/table.js';
import { setupMeshInputSchema, verifyInputSchema } from '../src/contract/change.js';
import type { FederationHealth } from '../src/contract/health.js';
import { edgeName, monitorWorkflowId } from '../src/contract/names.js';
import type { Place } from '../test/support/edgeFaults.js';
import { Engine } from './engine.js';
import { median, memoryMb } from './measure.js';
import { formatFigures, type Figure } from './report.js';
import { EVENTS, type SoakEvent } from './soakEvents.js';

const FEDERATION = 'soak';
/** The shortest that SPIRE knows: it polls, and the monitor looks, at a quarter of it. */
const REFRESH_HINT_S = 60;
const INTERVAL_MS = (REFRESH_HINT_S / 4) * 1000;
/** What only looks like a fault must stay without a finding for so long. */
const QUIET_MS = 2.5 * INTERVAL_MS;
const LOOK_MS = 300;
const HEALED_WITHIN_MS = 5 * 60_000;
/** Share of events during which the worker or Temporal is killed, and during which the monitor is paused for a moment. */
const CRASHES = { worker: 0.3, Temporal: 0.1 };
const PAUSES = 0.3;
/** Share of faults that do not come alone. */
const PAIRS = 0.25;
/** Temporal suggests a new run at 4,096 events and warns at 10,240 (its defaults limit.historyCount.*). */
const HISTORY_LIMIT = 10_240;
/** Of the worker, by design: flat from the first half to the second, give or take the garbage. */
const MEMORY_LIMIT_MB = 300;
const MEMORY_GROWTH = 1.25;

/** Name of the table's row for two faults at once. */
const TWO = 'two faults at once';

type Crash = keyof typeof CRASHES;

/** What came of one event, or of two at once. */
interface Outcome {
  event: string;
  place: string;
  killed?: Crash;
  /** Seconds from the fault to its finding, and to its end; absent where nothing is to be found. */
  found?: number;
  healed?: number;
  problem?: string;
  memory: number;
  historyEvents: number;
}

/** Random faults in a row, each until it is healed: a federation of three that must come out of all of them well. */
class Soak {
  readonly outcomes: Outcome[] = [];

  constructor(
    private readonly engine: Engine,
    private readonly temporal: Client,
    private readonly directory: string,
    private readonly clusters: readonly string[],
    private readonly random: () => number,
  ) {}

  async run(endsAt: number): Promise<void> {
    await this.until('every edge is fresh at first', isWell);
    while (Date.now() < endsAt) {
      const outcome = await this.next();
      this.outcomes.push(outcome);
      console.error(describe(outcome));
      // What was not healed would be taken for the next event's.
      if (outcome.healed === undefined && outcome.problem !== undefined) break;
    }
  }

  private async next(): Promise<Outcome> {
    const event = this.pick(EVENTS);
    const place = this.place();
    const chance = this.random();
    const killed =
      chance < CRASHES.worker ? 'worker' : chance < CRASHES.worker + CRASHES.Temporal ? 'Temporal' : undefined;
    const pauses = this.random() < PAUSES;
    const crashesAfter = this.random() * INTERVAL_MS;
    const second =
      this.random() < PAIRS ? { event: this.pick(EVENTS.filter(isFault)), place: this.place() } : undefined;
    // Not in step with the monitor's rounds.
    await delay(this.random() * INTERVAL_MS);
    const madeAt = Date.now();
    const made = [{ event, place }, ...(second !== undefined && isFault(event) ? [second] : [])];
    // What asks SPIRE server comes before what restarts it.
    const restartsLast = made.toSorted((a, b) => Number(a.event.restarts ?? false) - Number(b.event.restarts ?? false));
    for (const each of restartsLast) await each.event.make(each.place);
    const crash = killed === undefined ? undefined : delay(crashesAfter).then(() => this.crash(killed));
    const seen: Pick<Outcome, 'found' | 'healed' | 'problem'> = await this.watch(made, madeAt).catch(
      (error: unknown) => ({ problem: (error as Error).message }),
    );
    await crash;
    await this.until('the engine answers', () => true);
    const { problem = (await this.wrong()) ?? (pauses ? await this.pauseAndResume() : undefined) } = seen;
    const { historyLength } = await this.temporal.workflow.getHandle(monitorWorkflowId(FEDERATION)).describe();
    return {
      event: made.map((each) => each.event.name).join(' and '),
      place: made.map((each) => `${each.place.trusting}←${each.place.trusted}`).join(', '),
      ...(killed === undefined ? {} : { killed }),
      ...seen,
      ...(problem === undefined ? {} : { problem }),
      memory: memoryMb(this.engine.worker.pid ?? 0),
      historyEvents: historyLength,
    };
  }

  /** What failed tasks of the monitor said, in all its runs: its code, unlike its worker, must never fail. */
  async failedTasks(): Promise<string[]> {
    const workflowId = monitorWorkflowId(FEDERATION);
    const said: string[] = [];
    for await (const { runId } of this.temporal.workflow.list({ query: `WorkflowId = "${workflowId}"` })) {
      const { events } = await this.temporal.workflow.getHandle(workflowId, runId).fetchHistory();
      for (const { workflowTaskFailedEventAttributes: failed } of events ?? [])
        if (failed != null) said.push(failed.failure?.message ?? `cause ${failed.cause}`);
    }
    return said;
  }

  private place(): Place {
    const trusting = this.pick(this.clusters);
    const trusted = this.pick(this.clusters.filter((cluster) => cluster !== trusting));
    return { directory: this.directory, trusting, trusted };
  }

  private crash(killed: Crash): Promise<void> {
    return killed === 'worker' ? this.engine.crashWorker() : this.engine.crashTemporal();
  }

  /** Of two faults the one may hide the other, and be healed with it: then one of the two is found. */
  private async watch(made: readonly { event: SoakEvent; place: Place }[], madeAt: number) {
    const wanted = made.flatMap(({ event, place }) => event.finds?.(place) ?? []);
    if (wanted.length === 0) return this.staysQuiet(madeAt);
    for (const { event, place } of made) {
      if (event.end === undefined) continue;
      await this.until(`any of ${wanted.join(', ')} is found`, (health) => isFound(health, wanted, madeAt));
      await event.end(place);
    }
    return this.heals(wanted, madeAt);
  }

  private async heals(wanted: readonly string[], madeAt: number): Promise<Pick<Outcome, 'found' | 'healed'>> {
    let foundAt: number | undefined;
    const repairsOf = ({ repairs }: FederationHealth) =>
      repairs.filter(({ findingId, startedAt }) => wanted.includes(findingId) && startedAt >= madeAt);
    const health = await this.until(`${wanted.join(', ')} is healed`, (each) => {
      foundAt ??= each.findings.find(({ id }) => wanted.includes(id))?.since ?? repairsOf(each).at(0)?.startedAt;
      return foundAt !== undefined && isWell(each) && (each.lastRoundAt ?? 0) > madeAt;
    });
    const ends = repairsOf(health).map(({ startedAt, durationMs = 0 }) => startedAt + durationMs);
    return {
      found: ((foundAt ?? madeAt) - madeAt) / 1000,
      healed: ((ends.length === 0 ? Date.now() : Math.max(...ends)) - madeAt) / 1000,
    };
  }

  /** @throws Error when anything is found, or repaired, although nothing is wrong */
  private async staysQuiet(madeAt: number): Promise<Pick<Outcome, 'healed'>> {
    const quietAt = Date.now() + QUIET_MS;
    while (Date.now() < quietAt) {
      const last = await this.health();
      const finding = last?.findings[0]?.id ?? last?.repairs.find(({ startedAt }) => startedAt >= madeAt)?.findingId;
      if (finding !== undefined) throw new Error(`false alarm: ${finding}`);
      await delay(LOOK_MS);
    }
    await this.until('every edge is fresh again', isWell);
    return {};
  }

  /** @returns what was lost of two messages to the monitor */
  private async pauseAndResume(): Promise<string | undefined> {
    const { client } = this.engine;
    const { paused } = await client.pauseMonitor(FEDERATION, { reason: 'soak' });
    const resumed = await client.resumeMonitor(FEDERATION);
    return paused?.reason === 'soak' && resumed.paused === undefined ? undefined : 'a pause or its end was lost';
  }

  /** What verify, which knows nothing of the monitor, finds wrong. */
  private async wrong(): Promise<string | undefined> {
    const { verdict, checks } = await this.engine.client.verify(verifyInputSchema.parse({ federation: FEDERATION }));
    if (verdict === 'ok') return undefined;
    const wrong = checks.filter((check) => check.verdict !== 'ok').map(({ name, scope }) => `${name}@${scope}`);
    return `verify finds: ${wrong.join(', ')}`;
  }

  private async until(what: string, isWanted: (health: FederationHealth) => boolean): Promise<FederationHealth> {
    const deadline = Date.now() + HEALED_WITHIN_MS;
    let seen: FederationHealth | undefined;
    while (Date.now() < deadline) {
      seen = await this.health();
      if (seen !== undefined && isWanted(seen)) return seen;
      await delay(LOOK_MS);
    }
    throw new Error(
      `not within ${HEALED_WITHIN_MS / 60_000} min: ${what}; ${seen === undefined ? 'no worker answers' : stateOf(seen)}`,
    );
  }

  /** Undefined while no worker answers: it may just have been killed. */
  private async health(): Promise<FederationHealth | undefined> {
    try {
      return await this.engine.client.health(FEDERATION);
    } catch (error) {
      if (error instanceof Error && error.name === 'FederatorError') return undefined;
      throw error;
    }
  }

  private pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.random() * from.length)];
    if (picked === undefined) throw new Error('there is nothing to pick from');
    return picked;
  }
}

const isFault = ({ finds }: SoakEvent) => finds !== undefined;

function isFound({ findings, repairs }: FederationHealth, wanted: readonly string[], since: number): boolean {
  return (
    findings.some(({ id }) => wanted.includes(id)) ||
    repairs.some(({ findingId, startedAt }) => wanted.includes(findingId) && startedAt >= since)
  );
}

function isWell({ verdict, findings, edges }: FederationHealth): boolean {
  return verdict === 'ok' && findings.length === 0 && edges.every((edge) => edge.verdict === 'fresh');
}

/** What is not as it should be. */
function stateOf({ verdict, findings, edges }: FederationHealth): string {
  const found = findings.map(({ id, state }) => `${id} ${state}`).join(', ');
  const wrong = edges.filter((edge) => edge.verdict !== 'fresh');
  const words = wrong.map((edge) => `${edgeName(edge.trusting, edge.trusted)} ${edge.verdict}: ${edge.evidence}`);
  return [`verdict ${verdict}`, `found: ${found || 'nothing'}`, ...words].join('; ');
}

function describe({ event, place, killed, found, healed, problem }: Outcome): string {
  const times = found === undefined ? '' : ` found ${found.toFixed(1)} s, healed ${healed?.toFixed(1) ?? '–'} s`;
  return `${problem === undefined ? '✓' : '✗'} ${event} (${place})${killed === undefined ? '' : `, ${killed} killed`}${times}${problem === undefined ? '' : `: ${problem}`}`;
}

/** What happened, by event; two faults at once are one row. */
function eventTable(outcomes: readonly Outcome[]): string {
  const seconds = (values: number[]) =>
    values.length === 0 ? '' : `${median(values).toFixed(1)} / ${Math.max(...values).toFixed(1)} s`;
  const kinds = [...EVENTS.map(({ name }) => name), TWO];
  const kindOf = ({ event }: Outcome) => (kinds.includes(event) ? event : TWO);
  const rows = kinds
    .map((kind) => ({ kind, each: outcomes.filter((outcome) => kindOf(outcome) === kind) }))
    .filter(({ each }) => each.length > 0)
    .map(({ kind, each }) => [
      kind,
      String(each.length),
      String(each.filter(({ killed }) => killed === 'worker').length),
      String(each.filter(({ killed }) => killed === 'Temporal').length),
      seconds(each.flatMap(({ found }) => found ?? [])),
      seconds(each.flatMap(({ healed }) => healed ?? [])),
      each.flatMap(({ problem }) => problem ?? []).join('; ') || 'none',
    ]);
  return formatTable(
    ['event', 'times', 'worker killed', 'Temporal killed', 'found (median / max)', 'healed (median / max)', 'problems'],
    rows,
  );
}

/** What must not grow, and what must not be at all. */
function figures(outcomes: readonly Outcome[]): (Figure & { target: number })[] {
  const memories = outcomes.map(({ memory }) => memory);
  const half = Math.ceil(memories.length / 2);
  const growth = median(memories.slice(-half)) / median(memories.slice(0, half));
  return [
    { name: 'problems', value: outcomes.filter(({ problem }) => problem !== undefined).length, unit: '', target: 0 },
    { name: 'memory of the worker, at most', value: Math.max(...memories), unit: 'MB', target: MEMORY_LIMIT_MB },
    { name: 'memory, second half to first', value: growth, unit: '×', target: MEMORY_GROWTH },
    {
      name: "events in the monitor's history, at most",
      value: Math.max(...outcomes.map(({ historyEvents }) => historyEvents)),
      unit: '',
      target: HISTORY_LIMIT,
    },
  ];
}

/** The same numbers from 0 to 1 for the same seed (Mulberry32): a soak can be repeated. */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function settings(): { minutes: number; seed: number; clusters: number } | undefined {
  const number = { type: 'string' } as const;
  try {
    const { values } = parseArgs({ options: { minutes: number, seed: number, clusters: number } });
    const { minutes = 30, seed = Date.now() % 100_000, clusters = 3 } = values;
    const asked = { minutes: Number(minutes), seed: Number(seed), clusters: Number(clusters) };
    if (asked.minutes > 0 && Number.isInteger(asked.seed) && Number.isInteger(asked.clusters) && asked.clusters >= 2)
      return asked;
    console.error('--minutes is a number above 0, --seed and --clusters (2 or more) are integers.');
  } catch (error) {
    console.error(`${(error as Error).message}\nnpm run soak -- [--minutes 30] [--seed 7] [--clusters 3]`);
  }
  return undefined;
}

async function main(): Promise<void> {
  const asked = settings();
  if (asked === undefined) {
    process.exitCode = 1;
    return;
  }
  const { minutes, seed } = asked;
  console.error(`Soak of ${minutes} min with ${asked.clusters} clusters; again with --seed ${seed}`);
  const folder = mkdtempSync(path.join(os.tmpdir(), 'federator-soak-'));
  const directory = path.join(folder, '.sandbox');
  const clusters = Array.from({ length: asked.clusters }, (_, index) => clusterName(index));
  try {
    await up({ directory, clusters: clusters.length });
    const engine = await Engine.start(directory, path.join('dist', 'src', 'worker.js'), { persistent: true });
    const connection = await Connection.connect({ address: process.env['TEMPORAL_ADDRESS'] ?? '' });
    try {
      const input = { federation: FEDERATION, clusters, refreshHintSeconds: REFRESH_HINT_S, probe: false };
      await engine.change('setupMesh', setupMeshInputSchema.parse({ ...input, monitor: true }));
      const soak = new Soak(engine, new Client({ connection }), directory, clusters, randomOf(seed));
      await soak.run(Date.now() + minutes * 60_000);
      const failed = await soak.failedTasks();
      for (const said of failed) console.error(`A task of the monitor failed: ${said}`);
      const measured = [
        ...figures(soak.outcomes),
        { name: 'tasks of the monitor that failed', value: failed.length, unit: '', target: 0 },
      ];
      console.log(`${eventTable(soak.outcomes)}\n\n${formatFigures(measured)}`);
      if (measured.some(({ value, target }) => value > target)) process.exitCode = 1;
      await engine.client.stopMonitor(FEDERATION);
    } finally {
      await connection.close();
      await engine.stop();
    }
  } finally {
    await down({ directory });
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
