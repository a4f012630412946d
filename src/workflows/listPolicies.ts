import type { FoundPolicies } from '../contract/policies.js';
import { foundPolicies } from '../federation/policy.js';
import { readFacts } from './facts.js';
import { nothingFound } from './failure.js';
import { askMembers, LIST_PATIENCE_MS } from './members.js';

const ATTEMPTS = 3;

/** Reads which workloads of a federation's members federate. Changes nothing. */
export async function listPolicies({ federation }: { federation: string }): Promise<FoundPolicies> {
  const found = await askMembers(federation, ATTEMPTS, { longestMs: LIST_PATIENCE_MS });
  if (found.members.length === 0) throw nothingFound(federation, found);
  const results = await Promise.all(found.members.map((cluster) => readFacts(federation, cluster, [])));
  return {
    policies: foundPolicies(
      federation,
      results.flatMap(({ facts }) => facts ?? []),
    ),
    unknown: [...found.unknown, ...results.flatMap(({ facts, problems }) => (facts === undefined ? problems : []))],
  };
}
