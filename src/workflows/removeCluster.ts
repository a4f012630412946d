import { workflowInfo } from '@temporalio/workflow';
import type { StepOutcome } from '../contract/activities.js';
import type { ChangeResult, PlannedStep, RemoveClusterInput } from '../contract/change.js';
import { planRemoval, removalSteps, type RemainingMember, type RemovalPlan } from '../federation/removal.js';
import { runStep } from './activities.js';
import { findMembers, readAllFacts } from './facts.js';
import { notAMember, preflightFailure } from './failure.js';
import { Limit } from './limit.js';
import { Progress } from './progress.js';
import { tearDownMember } from './teardown.js';

/**
 * Removes a cluster from a federation. The others forget it in the order that SPIRE needs: policies, entries,
 * relationships, bundles, then server.conf; the cluster itself is put back to what it was before. One that is gone for
 * good is left, and what would be to do there is said.
 *
 * Every step may be repeated, and a removal that fails is simply run again.
 */
export async function removeCluster(input: RemoveClusterInput): Promise<ChangeResult> {
  const { federation, cluster, unreachable } = input;
  const progress = new Progress();
  const { members } = await findMembers(federation, unreachable ? cluster : undefined);
  if (!unreachable && !members.includes(cluster)) throw notAMember(federation, cluster, members);
  const read = unreachable ? members.filter((member) => member !== cluster) : members;
  const plan = planRemoval(federation, await readAllFacts(federation, read), [cluster]);
  if (plan.problems.length > 0) throw preflightFailure(plan.problems);
  progress.plan(removalSteps(plan));
  const changed = input.planOnly ? plan.changes : await new Removal(input, plan, progress).run();
  progress.enter('finished');
  return {
    federation,
    planned: input.planOnly,
    changed,
    steps: progress.list,
    members: [],
    probes: [],
    leftAlone: plan.leftAlone,
    notes: unreachable ? unreachableNotes(input, plan) : [],
  };
}

function unreachableNotes({ federation, cluster }: RemoveClusterInput, { withdrawn }: RemovalPlan): string[] {
  return [
    `${cluster} (${withdrawn.join(', ') || 'trust domain unknown'}) was not touched. Should it come back, it still trusts the others: npm run start-workflow teardown -- --federation ${federation} --clusters ${cluster}`,
    `Take ${cluster} out of the inventory if it is gone for good.`,
  ];
}

class Removal {
  private readonly restarts: Limit;
  private changed = false;

  constructor(
    private readonly input: RemoveClusterInput,
    private readonly plan: RemovalPlan,
    private readonly progress: Progress,
  ) {
    this.restarts = new Limit(input.maxUnavailable);
  }

  async run(): Promise<boolean> {
    await Promise.all(this.plan.remaining.map((member) => this.forget(member)));
    // Last, so that nobody asks it any more for a bundle that it does not serve.
    const torn = await Promise.all(
      this.plan.leaving.map((member) => tearDownMember(this.input, member, this.progress)),
    );
    return this.changed || torn.includes(true);
  }

  private async forget(member: RemainingMember): Promise<void> {
    const { facts, policies, awaitPolicies, relationships, removeRelationships, wanted } = member;
    const { federation, timeouts } = this.input;
    const { cluster } = facts;
    const { attempts } = timeouts;
    await this.step(policies.apply, () =>
      runStep('applyPolicies', policies.apply, attempts, {
        cluster,
        federation,
        apply: policies.objects.map(({ object }) => object),
        remove: policies.removed.map(({ name }) => name),
      }),
    );
    await this.step(awaitPolicies, () =>
      runStep('awaitPolicies', awaitPolicies, attempts, {
        cluster,
        federation,
        names: [],
        withdrawn: relationships.filter(({ keepBundle }) => !keepBundle).map(({ trustDomain }) => trustDomain),
        timeoutMs: timeouts.endpointMs,
      }),
    );
    await this.step(removeRelationships, () =>
      runStep('removeRelationships', removeRelationships, attempts, {
        cluster,
        federation,
        relationships,
        timeoutMs: timeouts.endpointMs,
      }),
    );
    const { editServerConf, rolloutServer } = member;
    if (editServerConf.action === 'none') return;
    await this.restarts.run(async () => {
      const changeId = workflowInfo().runId;
      await this.step(editServerConf, () =>
        runStep('editServerConf', editServerConf, attempts, { cluster, federation, changeId, wanted }),
      );
      await this.step(rolloutServer, () =>
        runStep('rolloutServer', rolloutServer, attempts, {
          cluster,
          federation,
          wanted,
          timeoutMs: timeouts.rolloutMs,
        }),
      );
    });
  }

  private async step(step: PlannedStep, run: () => Promise<StepOutcome>): Promise<void> {
    this.changed = (await this.progress.follow(step, run))?.changed === true || this.changed;
  }
}
