import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { ApplicationFailure, executeChild, ParentClosePolicy } from '@temporalio/workflow';
import type { ChangeResult } from '../contract/change.js';
import { changeWorkflowId } from '../contract/names.js';
import { FEDERATION_ATTRIBUTE } from '../contract/searchAttributes.js';

/**
 * Runs a change of a federation as somebody who starts it by itself would: under the ID that all its changes share.
 * @throws ApplicationFailure ChangeInProgress when another one runs
 */
export async function changeOf<T extends { federation: string; cluster?: string | undefined }>(
  name: 'addCluster' | 'removeCluster',
  input: T,
): Promise<ChangeResult> {
  const { federation, cluster } = input;
  try {
    return (await executeChild(name, {
      workflowId: changeWorkflowId(federation),
      args: [input],
      // A change that has begun comes to its end, or undoes what it did, whatever becomes of who asked for it.
      parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
      staticSummary: `${name} ${federation}: ${cluster ?? ''}`,
      typedSearchAttributes: [{ key: FEDERATION_ATTRIBUTE, value: federation }],
    })) as ChangeResult;
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    throw ApplicationFailure.nonRetryable(
      `Another change of federation ${federation} is running. Wait for it or cancel it, then try again.`,
      'ChangeInProgress',
    );
  }
}
