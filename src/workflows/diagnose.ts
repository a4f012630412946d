import type { Diagnosis } from '../contract/diagnosis.js';
import { worstVerdict } from '../contract/verify.js';
import { diagnoseFederation } from '../federation/diagnosis.js';
import { observeMembers } from './verify.js';

/** A thorough look at a federation, which changes nothing: all checks, and what has to be done about those that failed. */
export async function diagnose({
  federation,
  clusters,
}: {
  federation: string;
  clusters: string[];
}): Promise<Diagnosis> {
  const members = await observeMembers({ id: 'diagnose', title: 'Diagnose' }, federation, clusters);
  const { checks, findings } = diagnoseFederation(federation, members);
  return { federation, clusters, verdict: worstVerdict(checks), checks, findings };
}
