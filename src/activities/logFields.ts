import type {
  ActivityExecuteInput,
  ActivityInboundCallsInterceptor,
  ActivityOutboundCallsInterceptor,
  GetLogAttributesInput,
  Next,
} from '@temporalio/worker';
import { subjectOf, type Subject } from '../contract/traces.js';

/**
 * Around one run of an activity: every line that is logged of it, and the one that Temporal's SDK logs when it fails,
 * says which cluster and federation it is about.
 */
export class ActivityLogFields implements ActivityInboundCallsInterceptor, ActivityOutboundCallsInterceptor {
  private about: Subject = {};

  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    this.about = subjectOf(input.args);
    return next(input);
  }

  getLogAttributes(
    input: GetLogAttributesInput,
    next: Next<ActivityOutboundCallsInterceptor, 'getLogAttributes'>,
  ): Record<string, unknown> {
    return next({ ...input, ...this.about });
  }
}
