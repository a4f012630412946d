import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { ActivityExecuteInput, ActivityInboundCallsInterceptor, Next } from '@temporalio/worker';
import { FederatorError } from '../contract/errors.js';

const HEARTBEAT_MS = 1_000;

/**
 * Around every activity: a heartbeat, by which a dead worker is noticed and a cancellation arrives, and the translation
 * of errors. Whether an error is worth a retry is decided by its type alone.
 */
export class FederatorActivityInterceptor implements ActivityInboundCallsInterceptor {
  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const context = Context.current();
    const timer = setInterval(() => context.heartbeat(), HEARTBEAT_MS);
    try {
      return await next(input);
    } catch (error) {
      throw toFailure(error);
    } finally {
      clearInterval(timer);
    }
  }
}

function toFailure(error: unknown): unknown {
  if (!(error instanceof FederatorError)) return error;
  return ApplicationFailure.create({ message: error.message, type: error.type, nonRetryable: !error.retryable });
}
