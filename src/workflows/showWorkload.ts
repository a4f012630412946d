import { isCancellation } from '@temporalio/workflow';
import type { ShowWorkloadInput, ShowWorkloadResult } from '../contract/workload.js';
import { explainWorkloads } from '../federation/workload.js';
import { runStep } from './activities.js';
import { rootMessage } from './failure.js';

const ATTEMPTS = 2;

/** Finds a workload on the clusters and explains its identity, or why it has none. Changes nothing. */
export async function showWorkload({ workload, clusters }: ShowWorkloadInput): Promise<ShowWorkloadResult> {
  const unknown: ShowWorkloadResult['unknown'] = [];
  const reports = await Promise.all(
    clusters.map(async (cluster) => {
      const step = { id: `readWorkload/${cluster}`, title: `Look for the workload on ${cluster}` };
      try {
        return explainWorkloads(await runStep('readWorkload', step, ATTEMPTS, { cluster, workload }));
      } catch (error) {
        if (isCancellation(error)) throw error;
        unknown.push({ cluster, message: rootMessage(error) });
        return [];
      }
    }),
  );
  return { reports: reports.flat(), unknown };
}
