import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { SEARCH_ATTRIBUTES } from '../../src/contract/names.js';
import { toolPath } from '../../sandbox/tools/toolPath.js';
import type { RecordedActivities } from './recordedActivities.js';

const WORKFLOW_BUNDLE = { codePath: path.resolve(__dirname, '../../dist/workflow-bundle.js') };

/** A real Temporal dev server, workers with recorded activities, and a replay of every history that was made. */
export class WorkflowEnvironment {
  private readonly handles: WorkflowHandle[] = [];
  private taskQueues = 0;

  private constructor(private readonly environment: TestWorkflowEnvironment) {}

  static async start(): Promise<WorkflowEnvironment> {
    Runtime.install({ logger: new DefaultLogger('ERROR') });
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

  /** Runs a workflow on a worker of its own, for as long as `use` needs it. */
  async run<T>(
    recorded: RecordedActivities,
    workflow: string,
    input: object,
    use: (handle: WorkflowHandle) => Promise<T>,
    { maxCachedWorkflows }: { maxCachedWorkflows?: number } = {},
  ): Promise<T> {
    const taskQueue = `test-${++this.taskQueues}`;
    const worker = await Worker.create({
      connection: this.environment.nativeConnection,
      taskQueue,
      workflowBundle: WORKFLOW_BUNDLE,
      activities: { ...recorded.activities },
      maxHeartbeatThrottleInterval: '100 ms',
      ...(maxCachedWorkflows === undefined ? {} : { maxCachedWorkflows }),
    });
    return worker.runUntil(async () => {
      const handle = await this.environment.client.workflow.start(workflow, {
        workflowId: taskQueue,
        taskQueue,
        args: [input],
      });
      this.handles.push(handle);
      return use(handle);
    });
  }

  /** Replays every history made so far with the workflows as they are: each must come to the same commands. */
  async replayAll(): Promise<number> {
    for (const handle of this.handles) {
      const history = await handle.fetchHistory();
      await Worker.runReplayHistory({ workflowBundle: WORKFLOW_BUNDLE }, history, handle.workflowId);
    }
    return this.handles.length;
  }
}
