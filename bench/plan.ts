import { setupMeshInputSchema } from '../src/contract/change.js';
import { planSetup } from '../src/federation/plan.js';
import { federatedClusters } from '../test/support/freshCluster.js';
import type { Figure } from './report.js';

const CLUSTERS = 100;

/** Planning one more cluster for a mesh of a hundred: 9,900 edges. */
export function benchPlan(): Figure[] {
  const names = Array.from({ length: CLUSTERS }, (_each, index) => `c${index}`);
  const facts = federatedClusters('bench', names);
  const input = setupMeshInputSchema.parse({ federation: 'bench', clusters: names, probe: false });
  const options = { ...input, relationships: 'static', refreshHintSeconds: 300 } as const;
  planSetup(options, facts);
  const before = process.memoryUsage().heapUsed;
  const startedAt = performance.now();
  const plan = planSetup(options, facts);
  const elapsed = performance.now() - startedAt;
  const used = (process.memoryUsage().heapUsed - before) / 1024 / 1024;
  if (plan.problems.length > 0) throw new Error('the mesh of the benchmark is not right');
  return [
    { name: `plan a mesh of ${CLUSTERS}`, value: elapsed, unit: 'ms', target: 100 },
    { name: '  memory it takes', value: used, unit: 'MB', target: 100 },
  ];
}
