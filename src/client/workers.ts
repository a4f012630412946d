import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { FederatorError } from '../contract/errors.js';
import { TASK_QUEUE } from '../contract/names.js';
import { temporalUnreachable } from './unreachable.js';

/** Temporal ends a poll that brings nothing after a minute (temporal: matching.longPollExpirationInterval), and it begins anew. */
const POLLS_AGAIN_MS = 90_000;
/** How long a workflow may take to answer that proves that there is a worker; without one, Temporal says so a second earlier. */
const ANSWERS_MS = 5_000;
/** While somebody waits for a worker's work, it is seen so often whether there still is one. */
const WATCH_MS = 10_000;
/** Task queue type of workflows, as Temporal's API numbers them. */
const WORKFLOW_QUEUE = 1;
/** Every workflow of Temporal's SDKs answers it. */
const ANY_QUERY = '__temporal_workflow_metadata';

/**
 * A workflow that no worker picks up would wait for ever, and its caller with it.
 * @throws FederatorError NoWorker
 */
export async function requireWorker(client: Client): Promise<void> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: TASK_QUEUE },
    taskQueueType: WORKFLOW_QUEUE,
  });
  const seen = (pollers ?? []).map(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1_000);
  if (seen.some((at) => Date.now() - at < POLLS_AGAIN_MS)) return;
  // Temporal lists a worker for five minutes after its last poll. If the clock is wrong here, all of them seem to be gone.
  if (seen.length > 0 && (await answers(client))) return;
  throw new FederatorError('NoWorker', `No worker listens on task queue ${TASK_QUEUE}. Start one with: npm run worker`);
}

/**
 * Waits for what takes a worker, for as long as there is one.
 * @throws FederatorError NoWorker, and whatever is thrown by what is waited for
 */
export async function whileServed<T>(client: Client, waiting: Promise<T>): Promise<T> {
  const ended = new AbortController();
  const watch = async (): Promise<never> => {
    for (;;) {
      await delay(WATCH_MS, undefined, { signal: ended.signal });
      await requireWorker(client).catch((error: unknown) => {
        // That Temporal does not answer just now says nothing of workers.
        if (error instanceof FederatorError) throw error;
      });
    }
  };
  try {
    return await Promise.race([waiting, watch()]);
  } finally {
    ended.abort();
  }
}

/** Whether a worker has the newest workflow that has ended answer: one that runs may first have something else to do. */
async function answers(client: Client): Promise<boolean> {
  const query = `TaskQueue = "${TASK_QUEUE}" AND ExecutionStatus != "Running"`;
  for await (const { workflowId, runId } of client.workflow.list({ query, pageSize: 1 })) {
    const handle = client.workflow.getHandle(workflowId, runId);
    try {
      await client.withDeadline(Date.now() + ANSWERS_MS, () => handle.query(ANY_QUERY));
      return true;
    } catch (error) {
      return temporalUnreachable(error) === undefined;
    }
  }
  return false;
}
