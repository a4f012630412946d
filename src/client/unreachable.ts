import { isGrpcServiceError, ServiceError } from '@temporalio/client';
import { FederatorError } from '../contract/errors.js';

/** gRPC's DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE: it is away, starts, or has more to do than it can. */
const PASSING: ReadonlySet<number> = new Set([4, 8, 14]);
/** Temporal's word (FAILED_PRECONDITION) on a query or update of a workflow whose last task failed and is tried again. */
const TASK_FAILED = /Workflow Task in failed state/i;

/** The engine's own error for a call that Temporal did not answer, though it may the next; undefined for any other error. */
export function temporalUnreachable(error: unknown): FederatorError | undefined {
  const cause = error instanceof ServiceError ? error.cause : error;
  if (!isGrpcServiceError(cause)) return undefined;
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
