import { ApplicationFailure } from '@temporalio/workflow';
import type { FoundMembers } from '../contract/activities.js';
import type { AddClusterInput, ChangeResult } from '../contract/change.js';
import { resolveSettings } from '../federation/settings.js';
import { awaitNoRepair } from './engine.js';
import { findMembers, readAllFacts, usesOf } from './facts.js';
import { nothingFound, withoutOthers } from './failure.js';
import { Progress } from './progress.js';
import { setUp } from './setup.js';

/**
 * Brings one more cluster into a federation: everything is as its members have it, and they keep working with each other
 * all the while.
 */
export async function addCluster(input: AddClusterInput): Promise<ChangeResult> {
  const { federation } = input;
  const progress = new Progress();
  const found = await findMembers(federation, input.cluster);
  const members = found.members.filter((member) => member !== input.cluster);
  if (members.length === 0) throw nothingFound(federation, found);
  const cluster = input.cluster ?? newcomer(federation, found);
  const clusters = [...members, cluster];
  // What a repair is in the middle of would be taken for what was there before.
  if (!input.planOnly) await awaitNoRepair(federation, input.timeouts);
  const facts = await readAllFacts(federation, clusters, usesOf(input));
  const { relationships, refreshHintSeconds, hub } = resolveSettings({}, federation, facts);
  return setUp({ ...input, clusters, relationships, refreshHintSeconds, hub }, facts, progress);
}

/** The one cluster that can only be meant. */
function newcomer(federation: string, { members, others }: FoundMembers): string {
  const [only] = others;
  if (others.length === 1 && only !== undefined) return only;
  throw ApplicationFailure.nonRetryable(
    others.length === 0
      ? `Every cluster of the inventory is a member of federation ${federation} already: ${members.join(', ')}. List the new one in the inventory first.`
      : `${others.length} clusters of the inventory are not members of federation ${federation}: ${others.join(', ')}. Say which: npm run start-workflow addCluster -- --federation ${federation} --cluster ${only ?? ''}`,
    'InvalidInput',
    withoutOthers(`Which cluster is to become a member of federation ${federation} has to be said.`),
  );
}
