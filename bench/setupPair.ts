import path from 'node:path';
import { up } from '../sandbox/client.js';
import { Engine } from './engine.js';
import { setupPairInputSchema, teardownInputSchema, type ChangeResult } from '../src/contract/change.js';
import { median, memoryMb, sum, timed } from './measure.js';
import type { Figure } from './report.js';
import { missingPrograms, scriptSeconds } from './sequential.js';

const CLUSTERS = ['client-1', 'server-1'];
const FEDERATION = 'bench';
const RUNS = 5;

/** setupPair without and with the probe, its split by step, and its ratio to a sequential script, all from one run. */
export async function benchSetupPair(directory: string): Promise<Figure[]> {
  await up({ directory, clusters: CLUSTERS.length });
  const engine = await Engine.start(directory, path.join('dist', 'src', 'worker.js'));
  try {
    return await measure(engine, directory);
  } finally {
    await engine.stop();
  }
}

async function measure(engine: Engine, directory: string): Promise<Figure[]> {
  const setups: { seconds: number; result: ChangeResult }[] = [];
  const scripts: number[] = [];
  const missing = await missingPrograms();
  const hasScript = missing.length === 0;
  if (!hasScript) console.error(`Not installed: ${missing.join(', ')}: no comparison with the sequential script.`);
  // In turns, so that whatever else the machine does falls on both alike.
  for (let round = 0; round < RUNS; round++) {
    setups.push(await timed(() => setup(engine, false)));
    await tearDown(engine);
    if (hasScript) scripts.push(await scriptSeconds(directory, 'sequential-setup.sh', CLUSTERS));
  }
  const withProbe = await timed(() => setup(engine, true));
  await tearDown(engine);
  const seconds = median(setups.map((each) => each.seconds));
  const typical = setups.find((each) => each.seconds === seconds)?.result;
  const script = median(scripts);
  return [
    { name: 'setupPair without the probe', value: seconds, unit: 's' },
    ...split(typical).map(({ name, value }): Figure => ({ name: `  of it: ${name}`, value, unit: 's' })),
    ...(hasScript
      ? [
          { name: 'sequential script', value: script, unit: 's' },
          { name: 'ratio to the script', value: seconds / script, unit: '×', target: 1 },
        ]
      : []),
    {
      name: 'overhead of our own',
      value:
        seconds -
        sum(
          split(typical)
            .filter(({ ours }) => !ours)
            .map(({ value }) => value),
        ),
      unit: 's',
      target: 1,
    },
    { name: 'setupPair with the probe', value: withProbe.seconds, unit: 's', target: 15 },
    { name: 'memory of the worker', value: memoryMb(engine.worker.pid ?? 0), unit: 'MB', target: 250 },
  ];
}

/** Where the time goes: what clusters take for themselves, and what planning, checking and gating add. */
function split(result: ChangeResult | undefined): { name: string; value: number; ours: boolean }[] {
  const longest = (prefix: string) =>
    Math.max(
      0,
      ...(result?.steps ?? []).filter(({ id }) => id.startsWith(prefix)).map(({ elapsedMs = 0 }) => elapsedMs),
    ) / 1000;
  return [
    { name: 'expose the endpoints', value: Math.max(longest('applyService'), longest('applyRoute')), ours: false },
    { name: 'edit server.conf', value: longest('editServerConf'), ours: false },
    { name: 'restart', value: longest('rolloutServer'), ours: false },
    { name: 'endpoint up, bundle compared', value: longest('readBundle'), ours: false },
    { name: 'relationship', value: longest('applyRelationships'), ours: false },
    { name: 'propagation of the bundle', value: longest('awaitBundles'), ours: false },
    { name: 'verify', value: longest('verify'), ours: true },
  ];
}

async function setup(engine: Engine, probe: boolean): Promise<ChangeResult> {
  const input = setupPairInputSchema.parse({ federation: FEDERATION, clusters: CLUSTERS, probe });
  return engine.change('setupPair', input);
}

async function tearDown(engine: Engine): Promise<void> {
  const input = teardownInputSchema.parse({ federation: FEDERATION, clusters: CLUSTERS });
  await engine.change('teardown', input);
}
