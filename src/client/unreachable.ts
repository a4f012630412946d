import { isGrpcServiceError, ServiceError } from '@temporalio/client';
import { FederatorError } from '../contract/errors.js';

/** gRPC's DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED and UNAVAILABLE: it is away, starts, or has more to do than it can. */
const PASSING: ReadonlySet<number> = new Set([4, 8, 14]);

/** The engine's own error for a call that Temporal did not answer, though it may the next; undefined for any other error. */
export function temporalUnreachable(error: unknown): FederatorError | undefined {
  const cause = error instanceof ServiceError ? error.cause : error;
  if (!isGrpcServiceError(cause) || !PASSING.has(cause.code)) return undefined;
  return new FederatorError(
    'TemporalUnreachable',
    `Temporal does not answer: ${cause.details}. Try again in a moment.`,
  );
}
