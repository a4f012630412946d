import type { FoundFederations } from '../contract/onboarding.js';
import { askMembers, LIST_PATIENCE_MS } from './members.js';

/** Asks every cluster of the inventory what it is a member of. Changes nothing. */
export async function listFederations(): Promise<FoundFederations> {
  // No federation has this name, so that all are listed.
  const { federations, unknown } = await askMembers('', 1, { longestMs: LIST_PATIENCE_MS });
  return { federations, unknown };
}
