import { ApplicationFailure } from '@temporalio/workflow';
import type { AdoptInput, ChangeResult } from '../contract/change.js';
import { planAdoption } from '../federation/adoption.js';
import { runStep } from './activities.js';
import { watchOver } from './engine.js';
import { findMembers, readAllFacts, usesOf } from './facts.js';
import { preflightFailure } from './failure.js';
import { Progress } from './progress.js';

const OBSERVED =
  'The monitor repairs nothing by itself until setupMesh (or apply) has made the federation as it should be: what it finds until then waits for approval.';
const OBSERVED_UNLESS_RUNNING = `${OBSERVED} One that ran already goes on as it did.`;

/**
 * Takes a federation that was made by hand or by scripts under management, without changing it: its objects are marked,
 * and what is odd about it is said, with what would mend it.
 */
export async function adopt(input: AdoptInput): Promise<ChangeResult> {
  const { federation, planOnly, timeouts } = input;
  const progress = new Progress();
  const clusters = input.clusters.length > 0 ? input.clusters : await inventory(federation);
  const facts = await readAllFacts(federation, clusters, usesOf(input));
  const taken = facts.filter((each) => each.federation !== undefined && each.federation !== federation);
  const { members, findings, mending, file, problems } = planAdoption(federation, facts);
  if (taken.length > 0) {
    throw preflightFailure(
      taken.map((each) => ({
        cluster: each.cluster,
        type: 'Conflict',
        message: `${each.cluster} is a member of federation ${each.federation ?? ''} already, which is managed.`,
        withoutOthers: `${each.cluster} is a member of another federation already, which is managed.`,
      })),
    );
  }
  if (members.length === 0) {
    throw ApplicationFailure.nonRetryable(
      `There is no federation among ${clusters.join(', ')}: none trusts another, neither by a ClusterFederatedTrustDomain nor by federates_with. Set one up: npm run start-workflow setupMesh -- --federation ${federation}`,
      'NotFound',
    );
  }
  progress.plan(members.map(({ step }) => step));
  let changed = members.some(({ step }) => step.action !== 'none');
  if (!planOnly) {
    const outcomes = await Promise.all(
      members.map(({ step, request }) =>
        progress.follow(step, () => runStep('adoptObjects', step, timeouts.attempts, request)),
      ),
    );
    changed = outcomes.some((outcome) => outcome?.changed === true);
  }
  const isWatched = !planOnly && input.monitor === true;
  // What was found is left as it is, by a monitor too; one that mends what is managed already goes on as it did.
  const isManaged = facts.some((each) => each.federation === federation);
  const observeOnly = findings.length > 0 || mending.length > 0;
  const unwatched = !isWatched
    ? []
    : await watchOver(
        {
          federation,
          clusters: members.map(({ request }) => request.cluster),
          refreshHintSeconds: file.refreshHintSeconds,
          start: true,
          observeOnly,
          goOn: isManaged,
          ...(file.hub === undefined ? {} : { hub: file.hub }),
          ...(input.repair === undefined ? {} : { repair: input.repair }),
        },
        timeouts,
      );
  progress.enter('finished');
  return {
    federation,
    planned: planOnly,
    changed,
    steps: progress.list,
    members: [],
    probes: [],
    leftAlone: [],
    findings,
    mending,
    file,
    notes: [
      ...problems.map(({ message }) => `In the way of mending it: ${message}`),
      ...(isWatched && observeOnly ? [isManaged ? OBSERVED_UNLESS_RUNNING : OBSERVED] : []),
      ...unwatched,
    ],
  };
}

async function inventory(federation: string): Promise<string[]> {
  const { members, others } = await findMembers(federation);
  return [...members, ...others];
}
