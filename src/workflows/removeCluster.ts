import type { ChangeResult, RemoveClusterInput } from '../contract/change.js';
import { planRemoval, removalSteps, type RemovalPlan } from '../federation/removal.js';
import { federationSettings } from '../federation/settings.js';
import { awaitNoRepair, stopWatching, watchOver } from './engine.js';
import { findMembers, findRemaining, readAllFacts } from './facts.js';
import { notAMember, nothingFound, preflightFailure } from './failure.js';
import { askMembers } from './members.js';
import { Progress } from './progress.js';
import { remove } from './removal.js';

const ATTEMPTS = 3;

/**
 * Removes a cluster from a federation. The others forget it in the order that SPIRE needs: policies, entries,
 * relationships, bundles, then server.conf; the cluster itself is put back to what it was before. One that is gone for
 * good is left, and what would be to do there is said.
 *
 * Every step may be repeated, and a removal that fails is simply run again.
 */
export async function removeCluster(input: RemoveClusterInput): Promise<ChangeResult> {
  // One that an older client has started says nothing of trust domains.
  const { federation, cluster, unreachable, trustDomains = [] } = input;
  const progress = new Progress();
  // That every trust domain of no member is named makes up for those that cannot be asked.
  const named = trustDomains.length > 0;
  const found = named
    ? await askMembers(federation, ATTEMPTS)
    : await (unreachable ? findRemaining(federation, cluster) : findMembers(federation));
  const { members } = found;
  const unknown = found.unknown.filter((each) => each.cluster !== cluster);
  // Of one that is gone for good, all others may have left before: then all is done, unless its name is wrong.
  const isDone = unreachable && unknown.length === 0 && Object.keys(found.federations).length === 0;
  if (members.length === 0 && !isDone) throw nothingFound(federation, { ...found, unknown });
  if (!unreachable && !members.includes(cluster)) throw notAMember(federation, cluster, members);
  const read = unreachable ? members.filter((member) => member !== cluster) : members;
  // What a repair restores after the look would not be planned for, and stay.
  if (!input.planOnly) await awaitNoRepair(federation, input.timeouts);
  const facts = await readAllFacts(federation, read, ['change']);
  const plan = planRemoval(federation, facts, [cluster], false, trustDomains);
  if (plan.problems.length > 0) throw preflightFailure(plan.problems);
  progress.plan(removalSteps(plan));
  const settings = federationSettings(
    federation,
    plan.remaining.map(({ facts }) => facts),
  );
  // Of one member alone there is nothing to watch over.
  if (!input.planOnly && plan.remaining.length < 2) await stopWatching(federation, input.timeouts);
  const changed = input.planOnly ? plan.changes : await remove(input, plan, progress);
  const clusters = plan.remaining.map(({ facts }) => facts.cluster);
  const unwatched =
    input.planOnly || clusters.length < 2
      ? []
      : await watchOver({ federation, clusters, ...settings, start: false }, input.timeouts);
  progress.enter('finished');
  return {
    federation,
    planned: input.planOnly,
    changed,
    steps: progress.list,
    members: [],
    probes: [],
    leftAlone: plan.leftAlone,
    notes: [...plan.stays, ...(unreachable ? unreachableNotes(input, plan) : []), ...unwatched],
  };
}

function unreachableNotes(
  { federation, cluster, trustDomains = [] }: RemoveClusterInput,
  { withdrawn, changes }: RemovalPlan,
): string[] {
  if (trustDomains.length > 0) {
    return [
      `What has ${withdrawn.join(', ')} was not touched. Should it come back, it still trusts the others: list it in the inventory, then: npm run start-workflow teardown -- --federation ${federation} --clusters <its name>`,
    ];
  }
  if (withdrawn.length === 0 && !changes) {
    return [
      `No member of federation ${federation} trusts a cluster that cannot be asked: there is nothing to forget of ${cluster}. Should it be of another federation, say which: --federation.`,
    ];
  }
  return [
    `${cluster} (${withdrawn.join(', ') || 'trust domain unknown'}) was not touched. Should it come back, it still trusts the others: npm run start-workflow teardown -- --federation ${federation} --clusters ${cluster}`,
    `Take ${cluster} out of the inventory if it is gone for good.`,
  ];
}
