import type { ActivityInterceptorsFactory, InjectedSinks } from '@temporalio/worker';
import type { TraceSinks } from '../contract/traces.js';
import { ActivitySpans } from './activitySpans.js';
import type { Tracing } from './tracing.js';

/** What a worker whose workflows pass traces on is made with; nothing where nothing is traced. */
export function workerTracing(tracing: Tracing | undefined): {
  activity: ActivityInterceptorsFactory[];
  sinks: InjectedSinks<Partial<TraceSinks>>;
} {
  if (tracing === undefined) return { activity: [], sinks: {} };
  return {
    activity: [() => ({ inbound: new ActivitySpans(tracing) })],
    sinks: { traces: { ended: { fn: (info, span) => tracing.workflowEnded(span, info), callDuringReplay: false } } },
  };
}
