import type { StepOutcome } from '../contract/activities.js';
import type { PlannedStep, RemoveClusterInput } from '../contract/change.js';
import type { RemainingMember, RemovalPlan } from '../federation/removal.js';
import { runStep } from './activities.js';
import type { Progress } from './progress.js';
import { Restarts } from './restarts.js';
import { rolloutRequest } from './rollout.js';
import { settleAll } from './settle.js';
import { deleteFetched, tearDownMember } from './teardown.js';

type RemovalInput = Pick<RemoveClusterInput, 'federation' | 'maxUnavailable' | 'timeouts'>;

/** Does what a removal takes, member by member. @returns whether anything changed */
export async function remove(input: RemovalInput, plan: RemovalPlan, progress: Progress): Promise<boolean> {
  return new Removal(input, plan, progress).run();
}

class Removal {
  private readonly restarts: Restarts;
  private changed = false;

  constructor(
    private readonly input: RemovalInput,
    private readonly plan: RemovalPlan,
    private readonly progress: Progress,
  ) {
    this.restarts = new Restarts(input.maxUnavailable);
  }

  async run(): Promise<boolean> {
    await settleAll(this.plan.remaining.map((member) => this.forget(member)));
    // Last, so that nobody asks it any more for a bundle that it does not serve.
    const torn = await settleAll(this.plan.leaving.map((member) => tearDownMember(this.input, member, this.progress)));
    return this.changed || torn.includes(true);
  }

  private async forget(member: RemainingMember): Promise<void> {
    const { facts, policies, awaitPolicies, relationships, removeRelationships, wanted } = member;
    const { federation, timeouts } = this.input;
    const { cluster } = facts;
    const { attempts } = timeouts;
    const control = facts.control.type;
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
        control,
        timeoutMs: timeouts.endpointMs,
      }),
    );
    const { configureServer, rolloutServer } = member;
    if (configureServer.action === 'none') return;
    await this.restarts.run(async () => {
      const edited = await this.step(configureServer, () =>
        runStep('configureServer', configureServer, attempts, { cluster, federation, control, wanted }),
      );
      await this.step(rolloutServer, () =>
        this.restarts.rollOut(cluster, () =>
          runStep(
            'rolloutServer',
            rolloutServer,
            attempts,
            rolloutRequest(facts, rolloutServer, edited, { federation, wanted, timeoutMs: timeouts.rolloutMs }),
          ),
        ),
      );
      await deleteFetched(federation, facts, relationships, rolloutServer, attempts);
    });
  }

  private async step<T extends StepOutcome>(step: PlannedStep, run: () => Promise<T>): Promise<T | undefined> {
    const outcome = await this.progress.follow(step, run);
    this.changed = outcome?.changed === true || this.changed;
    return outcome;
  }
}
