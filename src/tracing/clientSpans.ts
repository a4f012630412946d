import { isSpanContextValid, SpanKind, TraceFlags, type Span } from '@opentelemetry/api';
import type {
  Headers,
  Next,
  WorkflowClientInterceptor,
  WorkflowSignalWithStartInput,
  WorkflowStartInput,
  WorkflowStartOutput,
  WorkflowStartUpdateInput,
  WorkflowStartUpdateOutput,
} from '@temporalio/client';
import { subjectOf, traceHeaders } from '../contract/traces.js';
import { subjectAttributes } from './attributes.js';
import { inSpan } from './span.js';

/** Makes a span of what a client has workflows do, and has the workflow go on with its trace. */
export class ClientSpans implements WorkflowClientInterceptor {
  startWithDetails(
    input: WorkflowStartInput,
    next: Next<WorkflowClientInterceptor, 'startWithDetails'>,
  ): Promise<WorkflowStartOutput> {
    const { workflowType, options } = input;
    return asked(`StartWorkflow:${workflowType}`, options.workflowId, options.args, async (span) => {
      const started = await next({ ...input, headers: withTrace(input.headers, span) });
      span.setAttribute('temporalRunID', started.runId);
      return started;
    });
  }

  signalWithStart(
    input: WorkflowSignalWithStartInput,
    next: Next<WorkflowClientInterceptor, 'signalWithStart'>,
  ): Promise<string> {
    const { workflowType, options } = input;
    return asked(`SignalWithStartWorkflow:${workflowType}`, options.workflowId, options.args, async (span) => {
      const runId = await next({ ...input, headers: withTrace(input.headers, span) });
      span.setAttribute('temporalRunID', runId);
      return runId;
    });
  }

  startUpdate(
    input: WorkflowStartUpdateInput,
    next: Next<WorkflowClientInterceptor, 'startUpdate'>,
  ): Promise<WorkflowStartUpdateOutput> {
    const { updateName, workflowExecution } = input;
    return asked(`UpdateWorkflow:${updateName}`, workflowExecution.workflowId ?? '', [], (span) =>
      next({ ...input, headers: withTrace(input.headers, span) }),
    );
  }
}

function asked<T>(
  name: string,
  workflowId: string,
  args: readonly unknown[],
  work: (span: Span) => Promise<T>,
): Promise<T> {
  const attributes = { temporalWorkflowID: workflowId, ...subjectAttributes(subjectOf(args, workflowId)) };
  return inSpan(name, { kind: SpanKind.CLIENT, attributes }, work);
}

function withTrace(headers: Headers, span: Span): Headers {
  const { traceId, spanId, traceFlags } = span.spanContext();
  if (!isSpanContextValid(span.spanContext())) return headers;
  return { ...headers, ...traceHeaders({ traceId, spanId, sampled: (traceFlags & TraceFlags.SAMPLED) !== 0 }) };
}
