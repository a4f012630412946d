import { WorkflowNotFoundError, type Client, type WorkflowExecutionInfo } from '@temporalio/client';
import type { FederationHealth } from '../contract/health.js';
import { HEALTH_QUERY } from '../contract/monitor.js';
import { monitorWorkflowId, TASK_QUEUE } from '../contract/names.js';
import type { DumpEngineRequest, MissingPiece } from '../contract/sysdump.js';
import { readableHistory } from '../federation/readableHistory.js';
import { Collected } from './collected.js';
import { decodedHistory } from './decodedHistory.js';
import type { DumpedText } from './dumpPacking.js';

/** Runs that are listed, the newest. */
const RUNS_LISTED = 200;
/** Histories of one kind of workflow, the newest: a fault shows in the last runs. */
const HISTORIES_PER_TYPE = 3;
/** Of a monitor's or a repair's answer nobody waits longer. */
const QUERY_MS = 5_000;
/** Task queue type of workflows, as Temporal's API numbers them. */
const WORKFLOW_QUEUE = 1;

/** What a bug report needs of the engine's own side: versions, the monitor's knowledge, and what ran how. */
export async function collectEngine(
  client: Client,
  { federation }: DumpEngineRequest,
): Promise<{ texts: DumpedText[]; missing: MissingPiece[] }> {
  const collected = new Collected();
  const { payloadCodecs } = client.options.loadedDataConverter;
  const runs = (await collected.have('workflows', () => newestRuns(client, federation))) ?? [];
  const texts = await Promise.all([
    collected.file('versions.json', async () => json(await versions(client))),
    collected.file('monitor.json', async () => json((await health(client, federation)) ?? 'no monitor has run')),
    [{ path: 'workflows.json', text: json(runs.map(describe)) }],
    ...chosen(runs).map(({ workflowId, runId, type }) =>
      collected.file(`histories/${type}-${runId}.json`, async () => {
        const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
        return json(readableHistory(await decodedHistory(history, payloadCodecs)));
      }),
    ),
  ]);
  return { texts: texts.flat(), missing: collected.missing };
}

async function newestRuns(client: Client, federation: string): Promise<WorkflowExecutionInfo[]> {
  const runs: WorkflowExecutionInfo[] = [];
  for await (const run of client.workflow.list({ query: `Federation = "${federation}"` })) {
    runs.push(run);
    if (runs.length === RUNS_LISTED) break;
  }
  return runs;
}

/** The newest of each kind, those that failed first; a report about reports helps nobody. */
function chosen(runs: readonly WorkflowExecutionInfo[]): WorkflowExecutionInfo[] {
  const newest = [...runs].sort((a, b) => b.startTime.getTime() - a.startTime.getTime());
  const taken = new Map<string, number>();
  return newest
    .filter(({ type }) => type !== 'sysdump')
    .filter(({ type }) => {
      const count = (taken.get(type) ?? 0) + 1;
      taken.set(type, count);
      return count <= HISTORIES_PER_TYPE;
    })
    .sort((a, b) => Number(b.status.name === 'FAILED') - Number(a.status.name === 'FAILED'));
}

function describe({
  workflowId,
  runId,
  type,
  status,
  startTime,
  closeTime,
  historyLength,
  historySize,
}: WorkflowExecutionInfo) {
  return {
    workflowId,
    runId,
    type,
    status: status.name,
    startTime: startTime.toISOString(),
    ...(closeTime === undefined ? {} : { closeTime: closeTime.toISOString() }),
    events: historyLength,
    ...(historySize === undefined ? {} : { bytes: historySize }),
  };
}

/** What the monitor knows; undefined where none has run. */
async function health(client: Client, federation: string): Promise<FederationHealth | undefined> {
  try {
    return await client.withDeadline(Date.now() + QUERY_MS, () =>
      client.workflow.getHandle(monitorWorkflowId(federation)).query<FederationHealth>(HEALTH_QUERY),
    );
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

async function versions(client: Client) {
  const { workflowService } = client.connection;
  const { namespace } = client.options;
  const [{ serverVersion }, { pollers }] = await Promise.all([
    workflowService.getSystemInfo({}),
    workflowService.describeTaskQueue({ namespace, taskQueue: { name: TASK_QUEUE }, taskQueueType: WORKFLOW_QUEUE }),
  ]);
  return {
    worker: { node: process.version, platform: `${process.platform} ${process.arch}`, pid: process.pid },
    temporal: { server: serverVersion, namespace },
    workers: (pollers ?? []).map(({ identity }) => identity),
  };
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
