import { Context, log } from '@temporalio/activity';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { EngineState, MonitorPause, StepOutcome, WatchRequest } from '../contract/activities.js';
import type { FederationHealth } from '../contract/health.js';
import {
  HEALTH_QUERY,
  MEMBERSHIP_SIGNAL,
  REPAIR_SIGNAL,
  DEFAULT_REPAIR_POLICY,
  STOP_SIGNAL,
  type RepairInput,
} from '../contract/monitor.js';
import { changeWorkflowId, monitorWorkflowId, repairWorkflowId } from '../contract/names.js';
import { FEDERATION_ATTRIBUTE } from '../contract/searchAttributes.js';
import { waitFor, type Look } from '../kubernetes/wait.js';

/** A monitor that is busy answers in this time, or counts as not paused. */
const QUERY_MS = 5_000;

/** What the workflows ask about each other, and of each other. */
export function engineActivities(client: Client) {
  return {
    async engineState({ federation }: { federation: string }): Promise<EngineState> {
      const change = await running(client, changeWorkflowId(federation));
      return change === undefined ? {} : { change };
    },

    /** Whether somebody wants silence. A monitor that is not there, or does not answer, is not paused. */
    async monitorPause({ federation }: { federation: string }): Promise<MonitorPause> {
      const workflowId = monitorWorkflowId(federation);
      if ((await running(client, workflowId)) === undefined) return {};
      try {
        const { paused } = await client.withDeadline(Date.now() + QUERY_MS, () =>
          client.workflow.getHandle(workflowId).query<FederationHealth>(HEALTH_QUERY),
        );
        return paused === undefined ? {} : { paused: paused.reason };
      } catch (error) {
        log.warn('The monitor does not say whether it is paused', { federation, error });
        return {};
      }
    },

    /** Waits until a repair that is under way has stopped, as it does when it sees that a change runs. */
    async awaitNoRepair({ federation, timeoutMs }: { federation: string; timeoutMs: number }): Promise<StepOutcome> {
      let waited = false;
      await waitFor(
        async (): Promise<Look<true>> => {
          if ((await running(client, repairWorkflowId(federation))) === undefined) return { done: true, value: true };
          waited = true;
          return { done: false, seen: 'a repair is under way' };
        },
        {
          what: `the repair of federation ${federation} has stopped`,
          timeoutMs,
          signal: Context.current().cancellationSignal,
        },
      );
      return { changed: false, ...(waited ? { note: 'after a repair that was under way' } : {}) };
    },

    /** Has the federation watched over from now on, by these settings. */
    async watchOver({ start: mayStart, goOn = false, ...settings }: WatchRequest): Promise<StepOutcome> {
      const { federation } = settings;
      const workflowId = monitorWorkflowId(federation);
      if (!mayStart) {
        if ((await running(client, workflowId)) !== undefined)
          await client.workflow.getHandle(workflowId).signal(MEMBERSHIP_SIGNAL, settings);
        return { changed: false };
      }
      // What one starts with are settings; the signal tells it the rest.
      const { policies: _told, ...initial } = settings;
      const { observeOnly: _asBefore, ...others } = settings;
      await client.workflow.signalWithStart('monitor', {
        workflowId,
        taskQueue: Context.current().info.taskQueue,
        args: [{ repair: DEFAULT_REPAIR_POLICY, ...initial }],
        signal: MEMBERSHIP_SIGNAL,
        signalArgs: [goOn ? others : settings],
        staticSummary: `monitor ${federation}`,
        typedSearchAttributes: [{ key: FEDERATION_ATTRIBUTE, value: federation }],
      });
      return { changed: false };
    },

    async stopWatching({ federation }: { federation: string }): Promise<StepOutcome> {
      try {
        await client.workflow.getHandle(monitorWorkflowId(federation)).signal(STOP_SIGNAL);
        return { changed: false, note: 'monitor stopped' };
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return { changed: false };
        throw error;
      }
    },

    async requestRepair(request: RepairInput): Promise<StepOutcome> {
      const { federation, findings } = request;
      await client.workflow.signalWithStart('repair', {
        workflowId: repairWorkflowId(federation),
        taskQueue: Context.current().info.taskQueue,
        args: [{ federation }],
        signal: REPAIR_SIGNAL,
        signalArgs: [request],
        staticSummary:
          `repair ${federation}: ${findings.map(({ check, scope }) => `${check} of ${scope}`).join(', ')}`.slice(
            0,
            200,
          ),
        typedSearchAttributes: [{ key: FEDERATION_ATTRIBUTE, value: federation }],
      });
      return { changed: false };
    },
  };
}

/** The type of the workflow that runs under an ID; undefined when none does. */
async function running(client: Client, workflowId: string): Promise<string | undefined> {
  try {
    const { status, type } = await client.workflow.getHandle(workflowId).describe();
    return status.name === 'RUNNING' ? type : undefined;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}
