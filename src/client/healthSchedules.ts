import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  WorkflowNotFoundError,
  type Client,
  type ScheduleDescription,
  type ScheduleHandle,
  type ScheduleOptions,
  type ScheduleOptionsStartWorkflowAction,
} from '@temporalio/client';
import { type SearchAttributePair, type Workflow } from '@temporalio/common';
import { probeInputSchema } from '../contract/change.js';
import { FederatorError } from '../contract/errors.js';
import { scheduleId, scheduleOf, TASK_QUEUE } from '../contract/names.js';
import type { HealthCheckInput, HealthReport, HealthSchedule } from '../contract/scheduledHealth.js';
import type { HealthScheduleSettings } from '../contract/scheduledHealthSettings.js';
import { FEDERATION_ATTRIBUTE } from '../contract/searchAttributes.js';
import { temporalUnreachable } from './unreachable.js';

const WORKFLOW = 'checkHealth';
/** Looks that were missed for longer than this, as no Temporal server ran, are not made up for: they would tell of now. */
const CATCHUP_WINDOW = '1 minute';
/** The Temporal Schedules by which federations are looked at regularly. */
export class HealthSchedules {
  constructor(private readonly client: Client) {}

  /** @throws FederatorError Conflict when there is one of that name and it is not to be replaced, InvalidInput */
  async create(settings: HealthScheduleSettings): Promise<void> {
    const { federation, name, replace } = settings;
    const options = scheduleOptions(settings);
    try {
      await this.client.schedule.create(options);
    } catch (error) {
      if (!(error instanceof ScheduleAlreadyRunning)) throw refused(error);
      if (!replace) {
        throw new FederatorError(
          'Conflict',
          `Federation ${federation} has a schedule ${name} already. Replace it with --replace, or give another --name.`,
        );
      }
      const handle = this.client.schedule.getHandle(options.scheduleId);
      await handle
        .update(({ state }) => ({ ...options, state }))
        .catch((reason: unknown) => {
          throw refused(reason);
        });
    }
  }

  /** The schedules of one federation, or of all. */
  async list(federation?: string): Promise<HealthSchedule[]> {
    const found: HealthSchedule[] = [];
    for await (const { scheduleId: id, action } of this.client.schedule.list()) {
      if (action?.workflowType !== WORKFLOW) continue;
      const schedule = await this.schedule(id);
      if (schedule === undefined) continue;
      if (federation === undefined || schedule.federation === federation) found.push(schedule);
    }
    return found.sort((a, b) => `${a.federation} ${a.name}`.localeCompare(`${b.federation} ${b.name}`));
  }

  async pause(federation: string, name: string, reason: string): Promise<void> {
    await this.act(federation, name, (handle) => handle.pause(reason));
  }

  async resume(federation: string, name: string): Promise<void> {
    await this.act(federation, name, (handle) => handle.unpause());
  }

  /** Has it look now, beside its times. */
  async trigger(federation: string, name: string): Promise<void> {
    await this.act(federation, name, (handle) => handle.trigger('SKIP'));
  }

  async remove(federation: string, name: string): Promise<void> {
    await this.act(federation, name, (handle) => handle.delete());
  }

  private async act(federation: string, name: string, act: (handle: ScheduleHandle) => Promise<void>): Promise<void> {
    const handle = this.client.schedule.getHandle(scheduleId(federation, name));
    try {
      // Temporal accepts a pause of what is not there, or was deleted.
      await handle.describe();
      await act(handle);
    } catch (error) {
      if (!(error instanceof ScheduleNotFoundError)) throw error;
      const names = (await this.list(federation)).map((each) => each.name);
      throw new FederatorError(
        'NotFound',
        `Federation ${federation} has no schedule ${name}. ${names.length === 0 ? 'It has none.' : `It has: ${names.join(', ')}.`}`,
      );
    }
  }

  /** Undefined where somebody has removed it since it was listed. One that cannot be read hides no other. */
  private async schedule(id: string): Promise<HealthSchedule | undefined> {
    try {
      return await this.read(await this.client.schedule.getHandle(id).describe());
    } catch (error) {
      if (error instanceof ScheduleNotFoundError) return undefined;
      const named = scheduleOf(id);
      if (named === undefined || temporalUnreachable(error) !== undefined) throw error;
      return { ...named, when: 'unreadable', probe: false };
    }
  }

  private async read(described: ScheduleDescription): Promise<HealthSchedule> {
    const { info, state, action } = described;
    const { federation, schedule: name = '', when = '', probe } = (action.args as [HealthCheckInput])[0];
    const last = info.recentActions.at(-1);
    const next = info.nextActionTimes[0];
    return {
      federation,
      name,
      when,
      probe: probe !== undefined,
      ...(state.paused ? { paused: state.note ?? '' } : {}),
      ...(next === undefined || state.paused ? {} : { next: next.toISOString() }),
      ...(last === undefined
        ? {}
        : { last: { at: last.takenAt.toISOString(), ...(await this.outcome(last.action.workflow)) } }),
    };
  }

  private async outcome({ workflowId, firstExecutionRunId }: { workflowId: string; firstExecutionRunId: string }) {
    const handle = this.client.workflow.getHandle(workflowId, firstExecutionRunId);
    try {
      const status = (await handle.describe()).status.name;
      if (status !== 'COMPLETED') return { status };
      return { status, report: (await handle.result()) as HealthReport };
    } catch (error) {
      // Temporal keeps a run for as long as its namespace's retention says, which may be shorter than the interval.
      if (error instanceof WorkflowNotFoundError) return { status: 'GONE' };
      if (temporalUnreachable(error) !== undefined) throw error;
      return { status: 'UNREADABLE' };
    }
  }
}

function scheduleOptions({
  federation,
  name,
  every,
  cron,
  timezone,
  probe,
}: HealthScheduleSettings): ScheduleOptions<ScheduleOptionsStartWorkflowAction<Workflow>> {
  const when =
    every === undefined ? [cron, timezone].filter((each) => each !== undefined).join(' ') : `every ${every / 1000} s`;
  const input: HealthCheckInput = {
    federation,
    schedule: name,
    when,
    ...(probe ? { probe: probeInputSchema.parse({ federation }) } : {}),
  };
  const typedSearchAttributes: SearchAttributePair[] = [{ key: FEDERATION_ATTRIBUTE, value: federation }];
  return {
    scheduleId: scheduleId(federation, name),
    spec: {
      ...(every === undefined ? {} : { intervals: [{ every }] }),
      ...(cron === undefined ? {} : { cronExpressions: [cron] }),
      ...(timezone === undefined ? {} : { timezone }),
    },
    action: {
      type: 'startWorkflow',
      workflowType: WORKFLOW,
      workflowId: scheduleId(federation, name),
      taskQueue: TASK_QUEUE,
      args: [input],
      staticSummary: `health of ${federation}`,
      typedSearchAttributes,
    },
    // A look that takes longer than the interval is not joined by a second one.
    policies: { overlap: 'SKIP', catchupWindow: CATCHUP_WINDOW },
    typedSearchAttributes,
  };
}

/** Temporal's client turns what the server finds wrong with a schedule into a TypeError. */
function refused(error: unknown): unknown {
  if (!(error instanceof TypeError)) return error;
  return new FederatorError(
    'InvalidInput',
    `Temporal refuses the schedule: ${error.message}. Correct --cron or --timezone.`,
  );
}
