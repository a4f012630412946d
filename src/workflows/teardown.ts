import type { ChangeResult, PlannedStep, TeardownInput } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import { memberSteps, planTeardown, type TeardownMember } from '../federation/teardown.js';
import { relationshipName } from '../federation/relationship.js';
import { FIND_MEMBERS, runStep } from './activities.js';
import { preflightFailure } from './failure.js';
import { Progress } from './progress.js';
import { readAllFacts } from './setupPair.js';

/**
 * Ends a federation and puts every member back to what it was before it: test workloads, relationships and bundles
 * first, then server.conf and the restart, then what exposed the endpoint. What the engine did not make stays.
 *
 * Every step may be repeated, and a teardown that fails is simply run again: going back half-way would help nobody.
 */
export async function teardown(input: TeardownInput): Promise<ChangeResult> {
  const { federation } = input;
  const progress = new Progress();
  const clusters = input.clusters.length > 0 ? input.clusters : await allMembers(federation);
  const facts: ClusterFacts[] = await readAllFacts(federation, clusters);
  const plan = planTeardown(federation, facts);
  progress.plan(plan.members.flatMap(memberSteps));
  let changed = false;
  if (!input.planOnly) {
    const outcomes = await Promise.all(plan.members.map((member) => tearDownMember(input, member, progress)));
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
  };
}

/** The members, all of them: a cluster that cannot be asked may be one, and must not be forgotten. */
async function allMembers(federation: string): Promise<string[]> {
  const { members, unknown } = await runStep('findMembers', FIND_MEMBERS, 3, { federation });
  if (unknown.length === 0) return members;
  throw preflightFailure(
    unknown.map((problem) => ({
      ...problem,
      message: `${problem.message} It may be a member: restore the connection, or name the members with --clusters.`,
    })),
  );
}

async function tearDownMember(
  { federation, timeouts }: TeardownInput,
  { facts, peers, removeProbe, removeRelationships, restoreServer, deleteObjects }: TeardownMember,
  progress: Progress,
): Promise<boolean> {
  const { cluster } = facts;
  const { attempts } = timeouts;
  let changed = false;
  const step = async (planned: PlannedStep, run: () => Promise<{ changed: boolean; note?: string }>): Promise<void> => {
    if (planned.action === 'none') return;
    progress.set(planned.id, 'running');
    try {
      const outcome = await run();
      changed ||= outcome.changed;
      progress.set(planned.id, outcome.changed ? 'done' : 'unchanged', outcome.note);
    } catch (error) {
      progress.set(planned.id, 'failed');
      throw error;
    }
  };
  await step(removeProbe, () =>
    runStep('removeProbe', removeProbe, attempts, { cluster, federation, timeoutMs: timeouts.probeMs }),
  );
  await Promise.all(
    peers.map((peer, index) => {
      const planned = removeRelationships[index];
      return (
        planned &&
        step(planned, () =>
          runStep('removeRelationship', planned, attempts, {
            cluster,
            federation,
            trustDomain: peer,
            name: relationshipName(peer),
            keepBundle: false,
            timeoutMs: timeouts.endpointMs,
          }),
        )
      );
    }),
  );
  await step(restoreServer, () =>
    runStep('removeFederationFromServer', restoreServer, attempts, {
      cluster,
      federation,
      timeoutMs: timeouts.rolloutMs,
    }),
  );
  await Promise.all(
    deleteObjects.map(({ step: planned, reference }) =>
      step(planned, () => runStep('restoreObject', planned, attempts, { cluster, federation, reference })),
    ),
  );
  return changed;
}
