import { setTimeout as delay } from 'node:timers/promises';
import { up } from '../sandbox/client.js';
import { sandboxUsage, timed } from './measure.js';
import type { Figure } from './report.js';

const CLUSTERS = 3;
/** A new cluster works off its start for a while; idle begins after that. */
const SETTLE_MS = 20_000;
const WINDOW_MS = 20_000;

/** How long clusters take to start, and what an idle one costs. Leaves the sandbox running. */
export async function benchSandbox(directory: string): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (let clusters = 1; clusters <= CLUSTERS; clusters++) {
    const { seconds } = await timed(() => up({ directory, clusters }));
    const target = clusters === 1 ? 10 : 5;
    figures.push({
      name: clusters === 1 ? 'first cluster ready' : `cluster ${clusters} ready`,
      value: seconds,
      unit: 's',
      target,
    });
  }
  await delay(SETTLE_MS);
  const { memoryMb, cpuPercent } = await sandboxUsage(directory, WINDOW_MS);
  return [
    ...figures,
    { name: 'memory per idle cluster', value: memoryMb / CLUSTERS, unit: 'MB', target: 800 },
    { name: 'processor per idle cluster', value: cpuPercent / CLUSTERS, unit: '% of a core', target: 10 },
  ];
}
