import { Context } from '@temporalio/activity';
import { webUiUrl } from '../config.js';
import type { NotifyOutcome, NotifyRequest } from '../contract/scheduledHealth.js';
import { notificationBody } from '../federation/notification.js';
import { sendWebhook } from './webhook.js';
import { webhookSettings } from './webhookSettings.js';

/** Telling somebody of a verdict that changed; where to, the worker alone knows. */
export function notifyActivities() {
  return {
    async notify(request: NotifyRequest): Promise<NotifyOutcome> {
      const settings = await webhookSettings();
      if (settings === undefined) return { sent: false, note: 'nobody is to be told: the worker has no webhook' };
      const { cancellationSignal, info } = Context.current();
      const { workflowId = '', runId = '' } = info.workflowExecution ?? {};
      const link = `${webUiUrl()}/namespaces/${info.workflowNamespace}/workflows/${encodeURIComponent(workflowId)}/${runId}/history`;
      const id = `${runId}/${info.activityId}`;
      await sendWebhook(settings, notificationBody(request, { id, link }), { signal: cancellationSignal });
      return { sent: true, note: `told ${settings.url.host}` };
    },
  };
}
