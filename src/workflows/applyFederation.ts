import type { ApplyInput, ChangeResult, SetupInput } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import { planSetup, planSteps } from '../federation/plan.js';
import { relationshipsOf } from '../federation/settings.js';
import { afterRemoval, planRemoval, removalSteps } from '../federation/removal.js';
import { awaitNoRepair } from './engine.js';
import { findMembers, readAllFacts, usesOf } from './facts.js';
import { afterLeaving, preflightFailure } from './failure.js';
import { Progress } from './progress.js';
import { remove } from './removal.js';
import { setUp } from './setup.js';

/**
 * Gets a federation to what its file says: members that are not listed leave first, then those that are come in and
 * everything is put right. The leaving cannot be undone; all else either finishes or is undone.
 */
export async function applyFederation(input: ApplyInput): Promise<ChangeResult> {
  const { federation, clusters, topology: _topology, ...options } = input;
  const progress = new Progress();
  const { members } = await findMembers(federation);
  const leaving = members.filter((member) => !clusters.includes(member));
  // What a repair is in the middle of would be taken for what was there before; what it restores later would stay.
  if (!input.planOnly) await awaitNoRepair(federation, input.timeouts);
  const facts = await readAllFacts(federation, [...new Set([...clusters, ...leaving])], usesOf(input));
  const relationships = options.relationships ?? relationshipsOf([], facts);
  const setup: SetupInput = { ...options, federation, clusters, relationships };
  if (leaving.length === 0) return setUp(setup, facts, progress);
  const removal = planRemoval(
    federation,
    facts.filter(({ cluster }) => members.includes(cluster)),
    leaving,
    clusters.some((cluster) => !members.includes(cluster)),
  );
  const kept = new Map(afterRemoval(removal, federation).map((each) => [each.cluster, each]));
  const then = (each: ClusterFacts) => kept.get(each.cluster) ?? each;
  const staying = facts.filter(({ cluster }) => clusters.includes(cluster));
  const plan = planSetup(setup, staying.map(then));
  const problems = [...removal.problems, ...plan.problems];
  if (problems.length > 0) throw preflightFailure(problems);
  progress.plan([...removalSteps(removal), ...planSteps(plan)]);
  const leftAlone = [...removal.leftAlone, ...plan.leftAlone];
  if (input.planOnly) {
    progress.enter('finished');
    return {
      federation,
      planned: true,
      changed: true,
      steps: progress.list,
      members: [],
      probes: [],
      leftAlone,
      notes: removal.stays,
    };
  }
  await remove(input, removal, progress);
  try {
    const outcome = await setUp(setup, await readAllFacts(federation, clusters, usesOf(input), 'again'), progress);
    return { ...outcome, changed: true, leftAlone, notes: [...removal.stays, ...(outcome.notes ?? [])] };
  } catch (error) {
    throw afterLeaving(error, leaving);
  }
}
