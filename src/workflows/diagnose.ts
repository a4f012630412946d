import type { VerifyInput } from '../contract/change.js';
import type { Diagnosis } from '../contract/diagnosis.js';
import { worstVerdict } from '../contract/verify.js';
import { diagnoseFederation } from '../federation/diagnosis.js';
import { observeMembers, possibleMembers } from './verify.js';

/** A thorough look at a federation, which changes nothing: all checks, and what has to be done about those that failed. */
export async function diagnose({ federation, clusters: named }: VerifyInput): Promise<Diagnosis> {
  const clusters = named.length > 0 ? [...named] : await possibleMembers(federation);
  const members = await observeMembers({ id: 'diagnose', title: 'Diagnose' }, federation, clusters);
  const { checks, findings } = diagnoseFederation(federation, members);
  return { federation, clusters, verdict: worstVerdict(checks), checks, findings };
}
