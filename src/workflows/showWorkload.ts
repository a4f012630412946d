import { isCancellation } from '@temporalio/workflow';
import type {
  ShowWorkloadInput,
  ShowWorkloadResult,
  TrustDomainAuthorities,
  WorkloadFacts,
} from '../contract/workload.js';
import { explainWorkloads } from '../federation/workload.js';
import { runStep } from './activities.js';
import { rootMessage } from './failure.js';

const ATTEMPTS = 2;

/**
 * Finds a workload on the clusters and explains its identity, or why it has none, and compares the keys that it holds with
 * those that its peers' servers have now. Changes nothing.
 */
export async function showWorkload({ workload, clusters, peers }: ShowWorkloadInput): Promise<ShowWorkloadResult> {
  const unknown: ShowWorkloadResult['unknown'] = [];
  const ask = async <T>(cluster: string, reading: Promise<T>): Promise<T[]> => {
    try {
      return [await reading];
    } catch (error) {
      if (isCancellation(error)) throw error;
      unknown.push({ cluster, message: rootMessage(error) });
      return [];
    }
  };
  const found = await Promise.all(
    clusters.map((cluster): Promise<WorkloadFacts[]> => {
      const step = { id: `readWorkload/${cluster}`, title: `Look for the workload on ${cluster}` };
      return ask(cluster, runStep('readWorkload', step, ATTEMPTS, { cluster, workload, lookInside: true }));
    }),
  );
  const facts = found.flat();
  const others = facts.some(({ pods }) => pods.length > 0) ? peers.filter((peer) => !clusters.includes(peer)) : [];
  const asked = await Promise.all(
    others.map((cluster): Promise<TrustDomainAuthorities[]> => {
      const step = { id: `readAuthorities/${cluster}`, title: `Read the keys of ${cluster}` };
      return ask(cluster, runStep('readAuthorities', step, ATTEMPTS, { cluster }));
    }),
  );
  const current = [...facts, ...asked.flat()];
  return {
    reports: facts.flatMap((each) => explainWorkloads(each, current, Date.now())),
    morePods: facts.reduce((sum, { morePods }) => sum + morePods, 0),
    unknown,
  };
}
