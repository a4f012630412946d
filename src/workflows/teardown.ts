import type { RemovedRelationship, StepOutcome } from '../contract/activities.js';
import type { ChangeResult, PlannedStep, TeardownInput } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import { memberSteps, planTeardown, type TeardownMember } from '../federation/teardown.js';
import { fetchedUnasked } from '../federation/webProfile.js';
import { part, runStep } from './activities.js';
import { awaitNoRepair, stopWatching } from './engine.js';
import { findMembers, readAllFacts } from './facts.js';
import { nothingFound } from './failure.js';
import { NO_OTHERS, otherMembers, stillTrusting, watchOthers } from './otherMembers.js';
import { Progress } from './progress.js';
import { settleAll } from './settle.js';

/**
 * Ends a federation and puts every member back to what it was before it: test workloads, relationships and bundles
 * first, then server.conf and the restart, then what exposed the endpoint. What the engine did not make stays.
 *
 * Every step may be repeated, and a teardown that fails is simply run again: going back half-way would help nobody. A
 * member on which it fails keeps no other from being put back.
 */
export async function teardown(input: TeardownInput): Promise<ChangeResult> {
  const { federation } = input;
  const progress = new Progress();
  const named = input.clusters.length > 0;
  const clusters = named ? input.clusters : await membersOf(input);
  const others = named ? await otherMembers(federation, clusters) : NO_OTHERS;
  // What a repair restores after the look would not be planned for, and stay.
  if (!input.planOnly) await awaitNoRepair(federation, input.timeouts);
  const facts: ClusterFacts[] = await readAllFacts(federation, clusters, ['change']);
  const plan = planTeardown(federation, facts);
  progress.plan(plan.members.flatMap(memberSteps));
  const notes = [...plan.stays, ...stillTrusting(federation, others.facts, facts)];
  let changed = false;
  if (!input.planOnly) {
    notes.push(...(await watchOthers(federation, others, input.timeouts)));
    const outcomes = await settleAll(plan.members.map((member) => tearDownMember(input, member, progress)));
    changed = outcomes.some((each) => each);
  }
  progress.enter('finished');
  return {
    federation,
    planned: input.planOnly,
    changed: input.planOnly ? plan.changes : changed,
    steps: progress.list,
    members: [],
    probes: [],
    leftAlone: plan.leftAlone,
    notes,
  };
}

/**
 * The members. Where there are none, a watch that is left is ended.
 * @throws ApplicationFailure NotFound where there are others and not this one: its name is wrong, rather than all done
 */
async function membersOf({ federation, planOnly, timeouts }: TeardownInput): Promise<string[]> {
  const found = await findMembers(federation);
  if (found.members.length > 0 || Object.keys(found.federations).length === 0) return found.members;
  const wasWatched = !planOnly && (await stopWatching(federation, timeouts));
  if (!wasWatched) throw nothingFound(federation, found);
  return [];
}

/** Puts one member back to what it was. @returns whether anything changed */
export async function tearDownMember(
  { federation, timeouts }: Pick<TeardownInput, 'federation' | 'timeouts'>,
  member: TeardownMember,
  progress: Progress,
): Promise<boolean> {
  const { removeProbe, removePolicies, removeRelationships, relationships, restoreServer, deleteObjects } = member;
  const { cluster, control } = member.facts;
  const { attempts } = timeouts;
  let changed = false;
  const step = async (planned: PlannedStep, run: () => Promise<StepOutcome>): Promise<void> => {
    changed = (await progress.follow(planned, run))?.changed === true || changed;
  };
  await step(removeProbe, () =>
    runStep('removeProbe', removeProbe, attempts, { cluster, federation, timeoutMs: timeouts.probeMs }),
  );
  await step(removePolicies, async () => {
    const outcome = await runStep('applyPolicies', removePolicies, attempts, {
      cluster,
      federation,
      apply: [],
      remove: member.policies,
    });
    await runStep('awaitPolicies', part(removePolicies, 'entries'), attempts, {
      cluster,
      federation,
      names: [],
      withdrawn: relationships.filter(({ keepBundle }) => !keepBundle).map(({ trustDomain }) => trustDomain),
      timeoutMs: timeouts.endpointMs,
    });
    return outcome;
  });
  await step(removeRelationships, () =>
    runStep('removeRelationships', removeRelationships, attempts, {
      cluster,
      federation,
      relationships,
      control: control.type,
      timeoutMs: timeouts.endpointMs,
    }),
  );
  await step(restoreServer, async () => {
    const outcome = await runStep('removeFederationFromServer', restoreServer, attempts, {
      cluster,
      federation,
      control: control.type,
      timeoutMs: timeouts.rolloutMs,
    });
    await deleteFetched(federation, member.facts, relationships, restoreServer, attempts);
    return outcome;
  });
  await Promise.all(
    deleteObjects.map(({ step: planned, reference }) =>
      step(planned, () => runStep('restoreObject', planned, attempts, { cluster, federation, reference })),
    ),
  );
  return changed;
}

/** Deletes bundles that SPIRE server stored once more between their removal and its restart. */
export async function deleteFetched(
  federation: string,
  { cluster, serverConf }: ClusterFacts,
  ended: readonly RemovedRelationship[],
  step: PlannedStep,
  attempts: number,
): Promise<void> {
  const fetched = fetchedUnasked(serverConf.federatesWith);
  const trustDomains = ended
    .filter(({ trustDomain, keepBundle }) => !keepBundle && fetched.includes(trustDomain))
    .map(({ trustDomain }) => trustDomain);
  if (trustDomains.length === 0) return;
  await runStep('deleteBundles', part(step, 'bundles'), attempts, { cluster, federation, trustDomains });
}
