import type { NotifyOutcome, NotifyRequest } from '../contract/scheduledHealth.js';
import { runNotify } from './activities.js';

/** How long somebody is tried to be told; a later change of the verdict is of more interest. */
const PATIENCE = '15 minutes';

/** Tells whoever is to be told, for a workflow that must not wait for it. */
export async function notify(request: NotifyRequest): Promise<NotifyOutcome> {
  return runNotify(request, PATIENCE);
}
