import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import type { ChangeResult } from '../../src/contract/change.js';
import { activityHistory, type HistoricActivity } from './activityHistory.js';

/** What a change returns. */
export async function result(handle: WorkflowHandle): Promise<ChangeResult> {
  return (await handle.result()) as ChangeResult;
}

/** What failed a workflow; undefined when nothing did. */
export async function failure(handle: WorkflowHandle): Promise<Error | undefined> {
  try {
    await handle.result();
    return undefined;
  } catch (error) {
    if (error instanceof WorkflowFailedError) return error.cause;
    throw error;
  }
}

/** What failed a workflow, and every activity it asked for until then. */
export async function failureAndHistory(
  handle: WorkflowHandle,
): Promise<{ cause: Error | undefined; history: HistoricActivity[] }> {
  return { cause: await failure(handle), history: await activityHistory(handle) };
}
