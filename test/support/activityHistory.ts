import type { WorkflowHandle } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { FederatorActivities } from '../../src/contract/activities.js';

/** One activity as the workflow's history tells it: what was asked, when, and what came of it. */
export interface HistoricActivity {
  name: keyof FederatorActivities;
  /** The step's ID; of an undo, what Temporal numbered it. */
  id: string;
  /** What the Temporal Web UI shows. */
  summary: string;
  input: Record<string, unknown>;
  /** Number of the event that asked for it. */
  scheduledAt: number;
  /** Number of the event that ended it: from then on it does not act any more. */
  closedAt?: number;
  outcome?: 'completed' | 'failed' | 'timedOut' | 'canceled';
}

type Event = NonNullable<Awaited<ReturnType<WorkflowHandle['fetchHistory']>>['events']>[number];

/** The activities of a workflow, in the order in which it asked for them. */
export async function activityHistory(handle: WorkflowHandle): Promise<HistoricActivity[]> {
  const activities = new Map<number, HistoricActivity>();
  for (const event of (await handle.fetchHistory()).events ?? []) {
    const at = Number(event.eventId);
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled) {
      const summary = event.userMetadata?.summary;
      const input = scheduled.input?.payloads?.[0];
      activities.set(at, {
        name: scheduled.activityType?.name as keyof FederatorActivities,
        id: scheduled.activityId ?? '',
        summary: summary ? defaultPayloadConverter.fromPayload<string>(summary) : '',
        input: input ? defaultPayloadConverter.fromPayload<Record<string, unknown>>(input) : {},
        scheduledAt: at,
      });
    }
    const closed = closing(event);
    const activity = activities.get(closed?.scheduledAt ?? -1);
    if (closed !== undefined && activity !== undefined) {
      Object.assign(activity, { closedAt: at, outcome: closed.outcome });
    }
  }
  return [...activities.values()];
}

/** Undos have no name of their own: Temporal numbers them. */
export function isUndo({ id }: HistoricActivity): boolean {
  return /^\d+$/.test(id);
}

/** When the last of these ended; infinite while one of them may still act. */
export function lastClosed(activities: readonly HistoricActivity[]): number {
  return Math.max(0, ...activities.map(({ closedAt }) => closedAt ?? Infinity));
}

/** When the first of these was asked for. */
export function firstScheduled(activities: readonly HistoricActivity[]): number {
  return Math.min(Infinity, ...activities.map(({ scheduledAt }) => scheduledAt));
}

function closing(event: Event): { scheduledAt: number; outcome: NonNullable<HistoricActivity['outcome']> } | undefined {
  const ends = {
    completed: event.activityTaskCompletedEventAttributes,
    failed: event.activityTaskFailedEventAttributes,
    timedOut: event.activityTaskTimedOutEventAttributes,
    canceled: event.activityTaskCanceledEventAttributes,
  };
  for (const outcome of ['completed', 'failed', 'timedOut', 'canceled'] as const) {
    const attributes = ends[outcome];
    if (attributes) return { scheduledAt: Number(attributes.scheduledEventId), outcome };
  }
  return undefined;
}
