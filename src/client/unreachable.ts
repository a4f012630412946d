import { isGrpcServiceError, ServiceError } from '@temporalio/client';
import { FederatorError } from '../contract/errors.js';
import { TASK_QUEUE } from '../contract/names.js';

const DEADLINE_EXCEEDED = 4;
/** gRPC's DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE: it is away, starts, or has more to do than it can. */
const PASSING: ReadonlySet<number> = new Set([DEADLINE_EXCEEDED, 8, 14]);
/** Temporal's word (FAILED_PRECONDITION) on a query or update of a workflow whose last task failed and is tried again. */
const TASK_FAILED = /Workflow Task in failed state/i;

/** Temporal's word (FAILED_PRECONDITION) on a query for which no worker has asked for some time. */
const NO_POLLER = /no poller seen/i;

/** The engine's own error for a call that Temporal could not answer, though it may the next; undefined for any other error. */
export function temporalUnreachable(error: unknown): FederatorError | undefined {
  const cause = grpcError(error);
  if (cause === undefined) return undefined;
  if (NO_POLLER.test(cause.details))
    return new FederatorError(
      'NoWorker',
      `No worker has listened on task queue ${TASK_QUEUE} lately, so no workflow can be asked. Start one with: npm run worker`,
    );
  if (TASK_FAILED.test(cause.details))
    return new FederatorError(
      'TemporalUnreachable',
      'Temporal cannot ask the workflow: its last task failed, and is being tried again. Try again in a moment; if it stays so, the log of the worker says why.',
    );
  if (!PASSING.has(cause.code)) return undefined;
  return new FederatorError(
    'TemporalUnreachable',
    `Temporal does not answer: ${cause.details}. Try again in a moment.`,
  );
}

/** Whether the time was over that a call was given. */
export function isDeadline(error: unknown): boolean {
  return Number(grpcError(error)?.code) === DEADLINE_EXCEEDED;
}

function grpcError(error: unknown) {
  const cause = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(cause) ? cause : undefined;
}
