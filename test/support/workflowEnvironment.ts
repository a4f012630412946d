import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, WorkflowFailedError, type WorkflowExecutionInfo, type WorkflowHandle } from '@temporalio/client';
import { defineSearchAttributeKey, type WorkerDeploymentVersion } from '@temporalio/common';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import {
  DefaultLogger,
  Runtime,
  Worker,
  type TelemetryOptions,
  type WorkerDeploymentOptions,
} from '@temporalio/worker';
import { FederatorActivityInterceptor } from '../../src/activities/heartbeat.js';
import { requireWorker } from '../../src/client/workers.js';
import { regionTaskQueue, SEARCH_ATTRIBUTES, TASK_QUEUE } from '../../src/contract/names.js';
import { payloadEncryption, type PayloadEncryption } from '../../src/encryption/payloadEncryption.js';
import { ClientSpans } from '../../src/tracing/clientSpans.js';
import type { Tracing } from '../../src/tracing/tracing.js';
import { workerTracing } from '../../src/tracing/workerTracing.js';
import { ACTIVATION_LIMIT, workflowBundle } from '../../src/workflowBundle.js';
import { toolPath } from '../../sandbox/tools/toolPath.js';
import type { History } from './historyFiles.js';
import type { RecordedActivities } from './recordedActivities.js';
import { eventually } from './spireTrustDomain.js';

/** As most tests have it: readable. */
const PLAIN = payloadEncryption({});

/** On a machine that is busy with other tests. */
const SERVED_MS = 60_000;

const bundle = ({ on }: PayloadEncryption, traces = false) => ({
  codePath: path.resolve(__dirname, '../../dist', workflowBundle({ encodedFailures: on, traces })),
});

interface RunOptions {
  maxCachedWorkflows?: number;
  encryption?: PayloadEncryption;
  /** Encryption of the client that starts the workflow, where it is not the worker's. */
  startedWith?: PayloadEncryption;
  /** Where client and worker are traced. */
  tracing?: Tracing;
  /** Activities of workers that serve a region, by its name. */
  regions?: Record<string, object>;
  workflowId?: string;
  /** Sent with the start. */
  signal?: { name: string; args: unknown[] };
}

/** What was run, with the children and the runs that it handed over to. */
export interface RecordedRun {
  type: string;
  history: History;
}

/** The message of what failed a workflow. */
export async function failureMessage(handle: WorkflowHandle): Promise<string> {
  try {
    await handle.result();
  } catch (error) {
    if (error instanceof WorkflowFailedError) return error.cause?.message ?? '';
    throw error;
  }
  throw new Error('the workflow did not fail');
}

/** A real Temporal dev server, workers with recorded activities, and a replay of every history that was made. */
export class WorkflowEnvironment {
  private readonly handles: { handle: WorkflowHandle; encryption: PayloadEncryption }[] = [];
  private taskQueues = 0;

  private constructor(private readonly environment: TestWorkflowEnvironment) {}

  static async start(telemetryOptions: TelemetryOptions = {}): Promise<WorkflowEnvironment> {
    Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions });
    const environment = await TestWorkflowEnvironment.createLocal({
      server: {
        executable: { type: 'existing-path', path: toolPath('temporal') },
        searchAttributes: SEARCH_ATTRIBUTES.map((name) => defineSearchAttributeKey(name, 'KEYWORD')),
      },
    });
    return new WorkflowEnvironment(environment);
  }

  async stop(): Promise<void> {
    await this.environment.teardown();
  }

  /** Where the server listens, as TEMPORAL_ADDRESS has it. */
  get address(): string {
    return this.environment.address;
  }

  /** A client that has other keys, or none. */
  client({ dataConverter }: PayloadEncryption = PLAIN): Client {
    const { connection } = this.environment;
    return new Client({ connection, dataConverter, interceptors: { workflow: [new ClientSpans()] } });
  }

  /** Runs a workflow on a worker of its own, for as long as `use` needs it. */
  async run<T>(
    recorded: Pick<RecordedActivities, 'activities'>,
    workflow: string,
    input: object,
    use: (handle: WorkflowHandle) => Promise<T>,
    {
      maxCachedWorkflows,
      encryption = PLAIN,
      startedWith = encryption,
      tracing,
      regions = {},
      workflowId,
      signal,
    }: RunOptions = {},
  ): Promise<T> {
    const taskQueue = `test-${++this.taskQueues}`;
    const { activity, sinks } = workerTracing(tracing);
    const common = {
      connection: this.environment.nativeConnection,
      dataConverter: encryption.dataConverter,
      interceptors: { activity },
      maxHeartbeatThrottleInterval: '100 ms',
      ...ACTIVATION_LIMIT,
    } as const;
    const workers = await Promise.all([
      Worker.create({
        ...common,
        taskQueue,
        workflowBundle: bundle(encryption, tracing !== undefined),
        activities: { ...recorded.activities },
        sinks,
        ...(maxCachedWorkflows === undefined ? {} : { maxCachedWorkflows }),
      }),
      ...Object.entries(regions).map(([region, activities]) =>
        Worker.create({ ...common, taskQueue: regionTaskQueue(taskQueue, region), activities }),
      ),
    ]);
    const work = async () => {
      const client = this.client(startedWith).workflow;
      const options = { workflowId: workflowId ?? taskQueue, taskQueue, args: [input] };
      const handle =
        signal === undefined
          ? await client.start(workflow, options)
          : await client.signalWithStart(workflow, { ...options, signal: signal.name, signalArgs: signal.args });
      this.handles.push({ handle, encryption });
      return use(handle);
    };
    return workers.reduce<() => Promise<T>>((inner, worker) => () => worker.runUntil(inner), work)();
  }

  /** A worker of a region beside the one that runs a workflow. */
  regionWorker(taskQueue: string, region: string, activities: object): Promise<Worker> {
    const { nativeConnection: connection } = this.environment;
    return Worker.create({ connection, taskQueue: regionTaskQueue(taskQueue, region), activities });
  }

  /** Runs a worker on the engine's own task queue, for whoever asks by the engine's client. @returns what stops it */
  async serve(activities: object): Promise<() => Promise<void>> {
    const worker = await Worker.create({
      connection: this.environment.nativeConnection,
      taskQueue: TASK_QUEUE,
      workflowBundle: bundle(PLAIN),
      activities: { ...activities },
      ...ACTIVATION_LIMIT,
    });
    const running = worker.run();
    // A workflow is refused while Temporal knows of no worker, as before the first poll of this one.
    await eventually(() => requireWorker(this.client()), SERVED_MS);
    return async () => {
      worker.shutdown();
      await running;
    };
  }

  /** A worker that Temporal knows as a version of a deployment; or as none. */
  versionedWorker(
    taskQueue: string,
    deployment: WorkerDeploymentOptions | undefined,
    activities: object,
  ): Promise<Worker> {
    return Worker.create({
      connection: this.environment.nativeConnection,
      taskQueue,
      workflowBundle: bundle(PLAIN),
      activities,
      interceptors: { activity: [() => ({ inbound: new FederatorActivityInterceptor() })] },
      ...ACTIVATION_LIMIT,
      ...(deployment === undefined ? {} : { workerDeploymentOptions: deployment }),
    });
  }

  /** Gives all new work to a version, as `temporal worker deployment set-current-version` does. */
  async makeCurrent({ deploymentName, buildId }: WorkerDeploymentVersion): Promise<void> {
    const { workflowService } = this.environment.connection;
    for (let attempt = 1; ; attempt++) {
      try {
        await workflowService.setWorkerDeploymentCurrentVersion({ namespace: 'default', deploymentName, buildId });
        return;
      } catch (error) {
        // Temporal learns of a version by its first poll.
        if (attempt === 100) throw error;
        await delay(100);
      }
    }
  }

  /** Runs a schedule of a workflow on a worker of its own, for as long as `use` needs it; it looks when it is triggered. */
  async schedule<T>(
    activities: object,
    workflow: string,
    input: object,
    use: (trigger: () => Promise<WorkflowHandle>) => Promise<T>,
  ): Promise<T> {
    const taskQueue = `test-${++this.taskQueues}`;
    const { client, nativeConnection: connection } = this.environment;
    const worker = await Worker.create({
      connection,
      taskQueue,
      workflowBundle: bundle(PLAIN),
      activities: { ...activities },
      ...ACTIVATION_LIMIT,
      interceptors: { activity: [() => ({ inbound: new FederatorActivityInterceptor() })] },
    });
    const schedule = await client.schedule.create({
      scheduleId: taskQueue,
      spec: { intervals: [{ every: '1 day' }] },
      action: { type: 'startWorkflow', workflowType: workflow, workflowId: taskQueue, taskQueue, args: [input] },
      policies: { overlap: 'SKIP' },
    });
    const trigger = async () => {
      // The schedule itself has to see that the run before has ended.
      while ((await schedule.describe()).info.runningActions.length > 0) await delay(50);
      const before = (await schedule.describe()).info.recentActions.length;
      await schedule.trigger('SKIP');
      for (;;) {
        const { recentActions } = (await schedule.describe()).info;
        const started = recentActions.at(-1)?.action.workflow;
        if (recentActions.length > before && started !== undefined) {
          const handle = client.workflow.getHandle(started.workflowId, started.firstExecutionRunId);
          this.handles.push({ handle, encryption: PLAIN });
          return handle;
        }
        await delay(50);
      }
    };
    return worker.runUntil(async () => {
      const outcome = await use(trigger);
      await schedule.delete();
      return outcome;
    });
  }

  /**
   * Everything that came of a workflow, once all of it has ended, in the order in which it began.
   * @param types of what is known to have come of it: the list of workflows is a little late
   */
  async runsOf(workflowId: string, types: readonly string[]): Promise<RecordedRun[]> {
    const client = this.client().workflow;
    for (;;) {
      const runs: WorkflowExecutionInfo[] = [];
      for await (const run of client.list({ query: `RootWorkflowId = "${workflowId}"` })) runs.push(run);
      const isListed = types.every((type) => runs.some((run) => run.type === type));
      if (isListed && runs.every(({ status }) => status.name !== 'RUNNING')) {
        runs.sort((a, b) => a.startTime.getTime() - b.startTime.getTime());
        return Promise.all(
          runs.map(async ({ type, workflowId: id, runId }) => ({
            type,
            history: await client.getHandle(id, runId).fetchHistory(),
          })),
        );
      }
      await delay(100);
    }
  }

  /** Replays every history made so far with the workflows as they are: each must come to the same commands. */
  async replayAll({ tracing }: { tracing?: Tracing } = {}): Promise<number> {
    const { sinks } = workerTracing(tracing);
    for (const { handle, encryption } of this.handles) {
      const history = await handle.fetchHistory();
      const { dataConverter } = encryption;
      const code = bundle(encryption, tracing !== undefined);
      await Worker.runReplayHistory({ workflowBundle: code, dataConverter, sinks }, history, handle.workflowId);
    }
    return this.handles.length;
  }
}
