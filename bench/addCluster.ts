import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { up } from '../sandbox/client.js';
import { clusterName } from '../sandbox/layout.js';
import { projectRoot } from '../sandbox/projectRoot.js';
import {
  addClusterInputSchema,
  removeClusterInputSchema,
  setupMeshInputSchema,
  teardownInputSchema,
} from '../src/contract/change.js';
import { Engine } from './engine.js';
import { sandboxUsage, timed } from './measure.js';
import type { Figure } from './report.js';

const run = promisify(execFile);
const FEDERATION = 'bench';
const SIZES = [3, 5, 10];
const IDLE_WINDOW_MS = 5_000;

/** At most so many times the script's time, by size, as far as a target is set. */
const TARGETS: Readonly<Record<string, number>> = {
  'static, one restart at a time 3': 1,
  'static, all at once 3': 0.7,
  'dynamic 3': 0.5,
  'dynamic 10': 0.2,
};

/** addCluster at growing sizes, each way of relating, against a sequential script from the same run. */
export async function benchAddCluster(directory: string): Promise<Figure[]> {
  const figures: Figure[] = [];
  const dynamic: number[] = [];
  await up({ directory, clusters: 2 });
  const engine = await Engine.start(directory, path.join('bench', 'countingWorker.mjs'));
  try {
    for (const size of SIZES) {
      await up({ directory, clusters: size });
      const script = await scriptSeconds(engine, directory, size);
      figures.push({ name: `sequential script, ${size - 1} → ${size}`, value: script, unit: 's' });
      for (const [name, relationships, maxUnavailable] of [
        ['static, one restart at a time', 'static', 1],
        ['static, all at once', 'static', size],
        ['dynamic', 'dynamic', 1],
      ] as const) {
        await setUp(engine, size - 1, relationships);
        await engine.counts();
        const input = { federation: FEDERATION, cluster: clusterName(size - 1), probe: false, maxUnavailable };
        const { seconds } = await timed(async () =>
          engine.client.result(await engine.client.startChange('addCluster', addClusterInputSchema.parse(input))),
        );
        const { requests, execs } = await engine.counts();
        if (relationships === 'dynamic') dynamic.push(seconds);
        const target = TARGETS[`${name} ${size}`];
        figures.push(
          { name: `addCluster ${size - 1} → ${size}, ${name}`, value: seconds, unit: 's' },
          { name: '  ratio to the script', value: seconds / script, unit: '×', ...(target && { target }) },
          { name: '  requests to Kubernetes, per cluster', value: requests / size, unit: '' },
          { name: '  commands in pods, per cluster', value: execs / size, unit: '' },
        );
        await tearDown(engine);
      }
    }
    figures.push({
      name: 'addCluster 9 → 10 to 2 → 3, dynamic',
      value: (dynamic.at(-1) ?? 0) / (dynamic[0] ?? 1),
      unit: '×',
      target: 1.5,
    });
    const { memoryMb } = await sandboxUsage(directory, IDLE_WINDOW_MS);
    figures.push({ name: 'memory of a 10-cluster sandbox', value: memoryMb, unit: 'MB', target: 10_000 });
  } finally {
    await engine.stop();
  }
  return figures;
}

async function setUp(engine: Engine, clusters: number, relationships: 'static' | 'dynamic'): Promise<void> {
  const names = Array.from({ length: clusters }, (_each, index) => clusterName(index));
  const input = setupMeshInputSchema.parse({ federation: FEDERATION, clusters: names, relationships, probe: false });
  await engine.client.result(await engine.client.startChange('setupMesh', input));
}

async function tearDown(engine: Engine): Promise<void> {
  const input = teardownInputSchema.parse({ federation: FEDERATION });
  await engine.client.result(await engine.client.startChange('teardown', input));
}

/** The script adds the last cluster to a mesh of the others; the engine then takes all of it away again. */
async function scriptSeconds(engine: Engine, directory: string, size: number): Promise<number> {
  await setUp(engine, size - 1, 'static');
  const kubeconfig = (index: number) => path.join(directory, clusterName(index), 'kubeconfig');
  const script = path.join(projectRoot(), 'bench', 'sequential-add.sh');
  const kubeconfigs = [kubeconfig(size - 1), ...Array.from({ length: size - 1 }, (_each, index) => kubeconfig(index))];
  const { seconds } = await timed(() => run(script, kubeconfigs, { timeout: 300_000 }));
  const adopt = { federation: FEDERATION, clusters: [], planOnly: false, timeouts: teardownTimeouts() };
  await engine.client.result(await engine.client.startChange('adopt', adopt));
  await tearDown(engine);
  return seconds;
}

function teardownTimeouts() {
  return removeClusterInputSchema.parse({ federation: FEDERATION, cluster: 'any' }).timeouts;
}
