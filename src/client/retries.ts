import { setTimeout as delay } from 'node:timers/promises';
import { defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';

/** A timer may be that much late. */
const LATE_MS = 50;

/**
 * Temporal's own retries of calls, which can be ended: one that is made on a connection which was closed meanwhile throws
 * where nobody can catch it (@temporalio/client 1.x, grpc-retry: `setTimeout(retry, …)`).
 */
export class CallRetries {
  private readonly defaults = defaultGrpcRetryOptions();
  private nextAt = 0;
  private ended = false;

  readonly options: ReturnType<typeof defaultGrpcRetryOptions> = {
    retryableDecider: (attempt, status) => !this.ended && this.defaults.retryableDecider(attempt, status),
    delayFunction: (attempt, status) => {
      const ms = this.defaults.delayFunction(attempt, status);
      this.nextAt = Math.max(this.nextAt, Date.now() + ms);
      return ms;
    },
  };

  readonly interceptor = makeGrpcRetryInterceptor(this.options);

  /** No more are made once this returns: within some seconds, and at once where no call has failed. */
  async end(): Promise<void> {
    this.ended = true;
    const ms = this.nextAt + LATE_MS - Date.now();
    if (ms > 0) await delay(ms);
  }
}
