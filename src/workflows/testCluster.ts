import type { PermissionUse } from '../contract/activities.js';
import type { FactsResult } from '../contract/facts.js';
import type { ConnectionReport } from '../contract/onboarding.js';
import { runStep } from './activities.js';
import { usesOf } from './facts.js';

/** A cluster that does not answer is not asked again: whoever tests its connection wants to know. */
const ATTEMPTS = 3;

/** Looks whether a cluster can be reached and worked on as it would be by a change. Changes nothing. */
export async function testCluster({ cluster }: { cluster: string }): Promise<ConnectionReport> {
  return connectionReport(cluster, await readConnection(cluster, usesOf({ probe: true, monitor: true })));
}

/** @param uses what the engine's account has to be allowed */
export function readConnection(cluster: string, uses: PermissionUse[]): Promise<FactsResult> {
  const step = { id: `readFacts/${cluster}`, title: `Read ${cluster}` };
  return runStep('readFacts', step, ATTEMPTS, { cluster, federation: '', permissions: uses });
}

export function connectionReport(cluster: string, { facts, problems }: FactsResult): ConnectionReport {
  return {
    cluster,
    ok: problems.length === 0,
    problems,
    ...(facts === undefined ? {} : { trustDomain: facts.trustDomain, spireVersion: facts.spireVersion }),
    ...(facts?.federation === undefined ? {} : { federation: facts.federation }),
  };
}
