import type { Attributes } from '@opentelemetry/api';
import type { Subject } from '../contract/traces.js';

/** What is on spans of workflows and activities, in the names that Temporal's SDKs give it. */
export function executionAttributes(workflowId: string, runId: string, activityId?: string): Attributes {
  return {
    temporalWorkflowID: workflowId,
    temporalRunID: runId,
    ...(activityId === undefined ? {} : { temporalActivityID: activityId }),
  };
}

export function subjectAttributes({ federation, cluster }: Subject): Attributes {
  return {
    ...(federation === undefined ? {} : { 'spire_federator.federation': federation }),
    ...(cluster === undefined ? {} : { 'spire_federator.cluster': cluster }),
  };
}
