import type {
  ActivityExecuteInput,
  ActivityInboundCallsInterceptor,
  ActivityOutboundCallsInterceptor,
  GetLogAttributesInput,
  Next,
} from '@temporalio/worker';

/**
 * Around one run of an activity: every line that is logged of it, and the one that Temporal's SDK logs when it fails,
 * says which cluster and federation it is about.
 */
export class ActivityLogFields implements ActivityInboundCallsInterceptor, ActivityOutboundCallsInterceptor {
  private about: Record<string, string> = {};

  async execute(input: ActivityExecuteInput, next: Next<ActivityInboundCallsInterceptor, 'execute'>): Promise<unknown> {
    const [asked] = input.args as [unknown?];
    const { cluster, federation } = (asked ?? {}) as { cluster?: unknown; federation?: unknown };
    const known = Object.entries({ cluster, federation }).filter(([, value]) => typeof value === 'string');
    this.about = Object.fromEntries(known) as Record<string, string>;
    return next(input);
  }

  getLogAttributes(
    input: GetLogAttributesInput,
    next: Next<ActivityOutboundCallsInterceptor, 'getLogAttributes'>,
  ): Record<string, unknown> {
    return next({ ...input, ...this.about });
  }
}
