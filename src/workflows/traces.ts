import {
  ActivityFailure,
  ApplicationFailure,
  AsyncLocalStorage,
  ChildWorkflowFailure,
  ContinueAsNew,
  getRandomStream,
  isCancellation,
  proxySinks,
  TemporalFailure,
  workflowInfo,
  type ActivityInput,
  type Headers,
  type LocalActivityInput,
  type Next,
  type SignalWorkflowInput,
  type StartChildWorkflowExecutionInput,
  type UpdateInput,
  type WorkflowExecuteInput,
  type WorkflowInboundCallsInterceptor,
  type WorkflowInterceptorsFactory,
  type WorkflowOutboundCallsInterceptor,
} from '@temporalio/workflow';
import {
  readTraceHeaders,
  subjectOf,
  traceHeaders,
  type TracePosition,
  type TraceSinks,
  type WorkflowOutcome,
} from '../contract/traces.js';

const { traces } = proxySinks<TraceSinks>();
/** Where in a trace the code is that runs; nowhere in a worker without traces. */
const here = new AsyncLocalStorage<TracePosition>();

/**
 * Passes the trace on from what started the workflow to what the workflow starts. IDs come from a random stream of their
 * own, so that a workflow does the same with traces and without, and the same again when it is replayed.
 */
class WorkflowTraces implements WorkflowInboundCallsInterceptor, WorkflowOutboundCallsInterceptor {
  private run: TracePosition | undefined;

  execute(input: WorkflowExecuteInput, next: Next<WorkflowInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const { workflowType, runStartTime } = workflowInfo();
    const startMs = runStartTime.getTime();
    return inSpan(
      `RunWorkflow:${workflowType}`,
      { parent: readTraceHeaders(input.headers), startMs, ...input },
      (position) => {
        this.run = position;
        return next(input);
      },
    );
  }

  handleUpdate(input: UpdateInput, next: Next<WorkflowInboundCallsInterceptor, 'handleUpdate'>): Promise<unknown> {
    const parent = readTraceHeaders(input.headers) ?? this.run;
    return inSpan(`HandleUpdate:${input.name}`, { parent, startMs: Date.now(), args: [] }, () => next(input));
  }

  scheduleActivity(
    input: ActivityInput,
    next: Next<WorkflowOutboundCallsInterceptor, 'scheduleActivity'>,
  ): Promise<unknown> {
    return next(this.withHeaders(input));
  }

  scheduleLocalActivity(
    input: LocalActivityInput,
    next: Next<WorkflowOutboundCallsInterceptor, 'scheduleLocalActivity'>,
  ): Promise<unknown> {
    return next(this.withHeaders(input));
  }

  startChildWorkflowExecution(
    input: StartChildWorkflowExecutionInput,
    next: Next<WorkflowOutboundCallsInterceptor, 'startChildWorkflowExecution'>,
  ): Promise<[Promise<string>, Promise<unknown>]> {
    return next(this.withHeaders(input));
  }

  signalWorkflow(
    input: SignalWorkflowInput,
    next: Next<WorkflowOutboundCallsInterceptor, 'signalWorkflow'>,
  ): Promise<void> {
    return next(this.withHeaders(input));
  }

  /** Of a run that was continued as new nothing is passed on: it may go on for months, and each run is a trace. */
  private withHeaders<T extends { headers: Headers }>(input: T): T {
    const position = here.getStore() ?? this.run;
    if (position === undefined) return input;
    return { ...input, headers: { ...input.headers, ...traceHeaders(position) } };
  }
}

/** What bundles with traces are made with. */
export const interceptors: WorkflowInterceptorsFactory = () => {
  const each = new WorkflowTraces();
  return { inbound: [each], outbound: [each] };
};

/** Does what comes again and again as a trace each; as it is in a worker without traces. */
export async function inTraceOfItsOwn<T>(name: string, work: () => Promise<T>): Promise<T> {
  if (here.getStore() === undefined) return work();
  return inSpan(name, { startMs: Date.now(), args: [] }, work);
}

async function inSpan<T>(
  name: string,
  { parent, startMs, args }: { parent?: TracePosition | undefined; startMs: number; args: readonly unknown[] },
  work: (position: TracePosition) => Promise<T>,
): Promise<T> {
  const position: TracePosition = {
    traceId: parent?.traceId ?? digits(32),
    spanId: digits(16),
    sampled: parent?.sampled ?? 'undecided',
  };
  const subject = subjectOf(args, workflowInfo().workflowId);
  const ended = (outcome: WorkflowOutcome) =>
    traces.ended({
      name,
      position,
      ...(parent === undefined ? {} : { parent }),
      startMs,
      endMs: Date.now(),
      outcome,
      subject,
    });
  try {
    const result = await here.run(position, () => work(position));
    ended({ status: 'completed' });
    return result;
  } catch (error) {
    const outcome = outcomeOf(error);
    if (outcome !== undefined) ended(outcome);
    throw error;
  }
}

function digits(count: number): string {
  const bytes = getRandomStream('spire-federator/traces').fill(new Uint8Array(count / 2));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @returns undefined for what ends no workflow: Temporal tries again what fails by a fault in the code */
function outcomeOf(error: unknown): WorkflowOutcome | undefined {
  if (error instanceof ContinueAsNew) return { status: 'continuedAsNew' };
  if (!(error instanceof TemporalFailure)) return undefined;
  // These only say where it happened; what happened is their cause.
  const wrapped = error instanceof ActivityFailure || error instanceof ChildWorkflowFailure;
  const cause = wrapped ? (error.cause ?? error) : error;
  const { message } = cause;
  const type = cause instanceof ApplicationFailure ? (cause.type ?? 'Internal') : 'Internal';
  return isCancellation(error)
    ? { status: 'cancelled', type: 'Cancelled', message }
    : { status: 'failed', type, message };
}
