import { ApplicationFailure, CancellationScope, isCancellation, patched } from '@temporalio/workflow';
import { addClusterInputSchema, timeouts as timeoutsSchema, type AddClusterInput } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import { candidateName } from '../contract/names.js';
import type { OnboardInput, OnboardResult } from '../contract/onboarding.js';
import { connectionReport, readConnection } from './testCluster.js';
import { runStep, runUndo } from './activities.js';
import { changeOf } from './childChange.js';
import { preflightFailure, rootMessage } from './failure.js';
import { usesOf } from './facts.js';

/**
 * Takes a cluster into the inventory whose credentials somebody submitted: tried first, kept only if they are good, and
 * then, where that was asked for, brought into a federation. What fails leaves the inventory as it was, unless the cluster
 * may still be a part of the federation: whoever puts that right needs its credentials.
 */
export async function onboardCluster(input: OnboardInput): Promise<OnboardResult> {
  const { cluster, replaces, joinFederation, probe } = input;
  const candidate = candidateName(cluster);
  const { attempts } = timeoutsSchema.parse({});
  let promoted = false;
  try {
    const { facts, problems } = await readConnection(candidate, usesOf({ probe, monitor: true }));
    if (facts === undefined) throw preflightFailure(problems);
    if (replaces) await requireSame(cluster, facts);
    const step = { id: `promoteCandidate/${cluster}`, title: `Take ${cluster} into the inventory` };
    await runStep('promoteCandidate', step, attempts, { cluster });
    promoted = true;
    if (joinFederation === undefined) return connectionReport(cluster, { facts, problems });
    await changeOf<AddClusterInput>(
      'addCluster',
      addClusterInputSchema.parse({ federation: joinFederation, cluster, probe }),
    );
    return { ...connectionReport(cluster, { facts, problems }), joined: joinFederation };
  } catch (error) {
    if (promoted && !isUndone(error) && patched('keepWhatIsNotUndone'))
      throw keptFailure(cluster, joinFederation, error);
    await CancellationScope.nonCancellable(() =>
      promoted
        ? runUndo('forgetCluster', `Take ${cluster} out of the inventory again`, { cluster })
        : runUndo('discardCandidate', `Forget the submitted credentials of ${cluster}`, { cluster }),
    );
    throw onboardingFailure(cluster, promoted, error);
  }
}

/** New credentials must lead to the cluster that the old ones led to. */
async function requireSame(cluster: string, { trustDomain }: ClusterFacts): Promise<void> {
  const { facts } = await readConnection(cluster, []);
  // Old credentials that have expired are why there are new ones.
  if (facts === undefined || facts.trustDomain === trustDomain) return;
  throw ApplicationFailure.nonRetryable(
    `The new credentials of ${cluster} lead to trust domain ${trustDomain}, the ones in use to ${facts.trustDomain}: it is another cluster. Onboard it under another name.`,
    'Conflict',
  );
}

/** Whether nothing is left of a join: its change says so, or was cancelled before it did anything. */
function isUndone(error: unknown): boolean {
  const failure = rootOf(error);
  return failure === undefined ? isCancellation(error) : failure.type !== 'UndoFailed';
}

function keptFailure(cluster: string, federation: string | undefined, error: unknown): Error {
  const kept = `${cluster} stays in the inventory: not all of its joining federation ${federation ?? ''} was undone. Put right what is left, or take it out of the federation (removeCluster); then offboard it, or have it join again (addCluster).`;
  const what = rootMessage(error);
  // Whoever terminates a change lets it say nothing.
  const why =
    rootOf(error) === undefined ? `The change that was to bring it in ended without undoing anything: ${what}.` : what;
  return ApplicationFailure.nonRetryable(`${why}\n${kept}`, 'UndoFailed');
}

function onboardingFailure(cluster: string, promoted: boolean, error: unknown): Error {
  const failure = rootOf(error);
  const kept = promoted
    ? `${cluster} was taken out of the inventory again.`
    : 'The inventory is as it was; the credentials were not kept.';
  return ApplicationFailure.nonRetryable(`${rootMessage(error)}\n${kept}`, failure?.type ?? 'Cancelled');
}

function rootOf(error: unknown): ApplicationFailure | undefined {
  let current = error;
  while (current instanceof Error) {
    if (current instanceof ApplicationFailure) return current;
    current = current.cause;
  }
  return undefined;
}
