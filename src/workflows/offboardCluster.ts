import { ApplicationFailure } from '@temporalio/workflow';
import {
  removeClusterInputSchema,
  timeouts as timeoutsSchema,
  type ChangeResult,
  type RemoveClusterInput,
} from '../contract/change.js';
import type { OffboardInput, OffboardResult } from '../contract/onboarding.js';
import { runStep } from './activities.js';
import { changeOf } from './childChange.js';
import { preflightFailure } from './failure.js';
import { readConnection } from './testCluster.js';

/**
 * Takes an onboarded cluster and its credentials out of the inventory. A member of a federation leaves it first, if that
 * was asked for, and is refused otherwise: without credentials nobody could clean it up.
 */
export async function offboardCluster(input: OffboardInput): Promise<OffboardResult> {
  const { cluster, leave, unreachable } = input;
  const { attempts } = timeoutsSchema.parse({});
  const federation = unreachable ? input.federation : await membershipOf(cluster);
  if (federation !== undefined && !leave) {
    throw ApplicationFailure.nonRetryable(
      `${cluster} is a member of federation ${federation}. Ask for it to leave first (leave: true).`,
      'Conflict',
    );
  }
  const left = federation === undefined ? undefined : await leaving(federation, cluster, unreachable);
  const step = { id: `forgetCluster/${cluster}`, title: `Take ${cluster} out of the inventory` };
  await runStep('forgetCluster', step, attempts, { cluster });
  return { cluster, ...(federation === undefined ? {} : { left: federation }), notes: left?.notes ?? [] };
}

async function leaving(federation: string, cluster: string, unreachable: boolean): Promise<ChangeResult> {
  const input = removeClusterInputSchema.parse({ federation, cluster, unreachable });
  try {
    return await changeOf<RemoveClusterInput>('removeCluster', input);
  } catch (error) {
    const { cause } = error as { cause?: unknown };
    if (!unreachable || !(cause instanceof ApplicationFailure) || cause.type !== 'NotFound') throw error;
    throw ApplicationFailure.nonRetryable(
      `${cause.message} If nobody is left in federation ${federation}, take ${cluster} out of the inventory without naming one.`,
      'NotFound',
    );
  }
}

async function membershipOf(cluster: string): Promise<string | undefined> {
  const { facts, problems } = await readConnection(cluster, []);
  if (facts !== undefined) return facts.federation;
  throw preflightFailure(
    problems.map((problem) => ({
      ...problem,
      message: `${problem.message} If ${cluster} is gone for good, say so (unreachable: true), and name its federation if it has one.`,
    })),
  );
}
