import type { FoundPolicies } from '../contract/policies.js';
import { foundPolicies } from '../federation/policy.js';
import { runStep } from './activities.js';
import { nothingFound } from './failure.js';
import { askMembers, LIST_PATIENCE_MS } from './members.js';

const ATTEMPTS = 3;

/** Reads which workloads of a federation's members federate. Changes nothing. */
export async function listPolicies({ federation }: { federation: string }): Promise<FoundPolicies> {
  const found = await askMembers(federation, ATTEMPTS, { longestMs: LIST_PATIENCE_MS });
  if (found.members.length === 0) throw nothingFound(federation, found);
  const results = await Promise.all(
    found.members.map(async (cluster) => {
      const step = { id: `readIdentities/${cluster}`, title: `Read the ClusterSPIFFEIDs of ${cluster}` };
      return { cluster, ...(await runStep('readIdentities', step, ATTEMPTS, { cluster })) };
    }),
  );
  return {
    policies: foundPolicies(
      federation,
      results.flatMap(({ cluster, identities }) => (identities === undefined ? [] : [{ cluster, identities }])),
    ),
    unknown: [...found.unknown, ...results.flatMap(({ problems }) => problems)],
  };
}
