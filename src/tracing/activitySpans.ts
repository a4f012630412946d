import { SpanKind } from '@opentelemetry/api';
import { activityInfo } from '@temporalio/activity';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { readTraceHeaders, subjectOf } from '../contract/traces.js';
import { executionAttributes, subjectAttributes } from './attributes.js';
import type { Tracing } from './tracing.js';
import { inSpan } from './span.js';

/** Makes a span of each attempt of an activity, below its workflow's; none where its workflow is not traced. */
export class ActivitySpans implements ActivityInboundCallsInterceptor {
  constructor(private readonly tracing: Tracing) {}

  execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const position = readTraceHeaders(input.headers);
    if (position === undefined) return next(input);
    const { activityId, activityType, attempt, workflowExecution } = activityInfo();
    const { workflowId = '', runId = '' } = workflowExecution ?? {};
    const attributes = {
      ...executionAttributes(workflowId, runId, activityId),
      ...subjectAttributes(subjectOf(input.args, workflowId)),
      'spire_federator.activity': activityType,
      'spire_federator.attempt': attempt,
    };
    const parent = this.tracing.contextOf(position);
    return inSpan(`RunActivity:${activityType}`, { kind: SpanKind.SERVER, attributes }, () => next(input), parent);
  }
}
