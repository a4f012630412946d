import { Context, log } from '@temporalio/activity';
import type { Client } from '@temporalio/client';
import { webUiUrl } from '../config.js';
import type { NotifyOutcome, NotifyRequest } from '../contract/scheduledHealth.js';
import { notifyWorkflowId } from '../contract/names.js';
import { notificationBody } from '../federation/notification.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import { sendWebhook } from './webhook.js';
import { webhookSettings } from './webhookSettings.js';

/** As long as somebody is tried to be told (workflows/notify.ts): what runs for longer is run by nobody. */
const PATIENCE_MS = 15 * 60_000;
/** One attempt waits so long for its turn; the next one goes on. */
const TURN_MS = 15_000;

/** Telling somebody of a verdict that changed; where to, the worker alone knows. */
export function notifyActivities(client: Client) {
  return {
    async notify(request: NotifyRequest): Promise<NotifyOutcome> {
      const settings = await webhookSettings();
      if (settings === undefined) return { sent: false, note: 'nobody is to be told: the worker has no webhook' };
      const { cancellationSignal, info } = Context.current();
      const { workflowId = '', runId = '' } = info.workflowExecution ?? {};
      const link = `${webUiUrl()}/namespaces/${info.workflowNamespace}/workflows/${encodeURIComponent(workflowId)}/${runId}/history`;
      const id = `${runId}/${info.activityId}`;
      if (request.source.kind === 'monitor') await turn(client, request, cancellationSignal);
      await sendWebhook(settings, notificationBody(request, { id, link }), { signal: cancellationSignal });
      return { sent: true, note: `told ${settings.url.host}` };
    },
  };
}

/**
 * Waits until whoever is to be told knows what the monitor found before, or cannot be told: each change of a verdict is
 * told by a workflow of its own, and one that is tried again must not come after the next one.
 * @throws FederatorError TimedOut
 */
async function turn(client: Client, { federation, at }: NotifyRequest, signal: AbortSignal): Promise<void> {
  const own = Context.current().info.workflowExecution?.workflowId;
  const [since, until] = [at - PATIENCE_MS, at].map((time) => new Date(time).toISOString());
  const query = `WorkflowId STARTS_WITH "${notifyWorkflowId(federation)}/" AND ExecutionStatus = "Running" AND StartTime BETWEEN "${since}" AND "${until}"`;
  const look = async (): Promise<Look<true>> => {
    try {
      for await (const { workflowId } of client.workflow.list({ query }))
        if (workflowId !== own) return { done: false, seen: `${workflowId} still tries` };
    } catch (error) {
      log.warn('Whether it is the turn of this notification is not known', { federation, error });
    }
    return { done: true, value: true };
  };
  await waitFor(look, { what: 'what was found before has been told', timeoutMs: TURN_MS, signal });
}
