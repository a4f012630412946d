import type { ChangeResult, ProbeMatrixInput } from '../contract/change.js';
import { planProbeMatrix } from '../federation/plan.js';
import { federationSettings } from '../federation/settings.js';
import { findMembers, readAllFacts } from './facts.js';
import { changeFailure, nothingFound } from './failure.js';
import { probeFederation } from './probeFederation.js';
import { Progress } from './progress.js';
import { runSaga } from './saga.js';

/**
 * mTLS between test workloads of all members, in every direction in which they trust each other, and its refusal for
 * workloads that are not federated. What is not as it must be is reported; the test workloads go in any case.
 */
export async function probe(input: ProbeMatrixInput): Promise<ChangeResult> {
  const { federation } = input;
  const progress = new Progress();
  const found = await findMembers(federation);
  const members = input.clusters.length > 0 ? input.clusters : found.members;
  if (members.length === 0) throw nothingFound(federation, found);
  const facts = await readAllFacts(federation, members, ['probe']);
  const plan = planProbeMatrix(federationSettings(federation, facts).hub, facts);
  progress.plan(plan.steps);
  const probes = await runSaga(
    (saga) => probeFederation(input, facts, plan, progress, saga, 'report'),
    progress,
    changeFailure,
  );
  progress.enter('finished');
  return { federation, planned: false, changed: false, steps: progress.list, members: [], probes, leftAlone: [] };
}
