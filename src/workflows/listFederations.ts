import type { FoundFederations } from '../contract/onboarding.js';
import { FIND_MEMBERS, runStep } from './activities.js';

/** Asks every cluster of the inventory what it is a member of. Changes nothing. */
export async function listFederations(): Promise<FoundFederations> {
  // No federation has this name, so that all are listed.
  const { federations, unknown } = await runStep('findMembers', FIND_MEMBERS, 1, { federation: '' });
  return { federations, unknown };
}
