import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { up } from '../sandbox/client.js';
import { clusterName } from '../sandbox/layout.js';
import {
  addClusterInputSchema,
  removeClusterInputSchema,
  setupMeshInputSchema,
  teardownInputSchema,
} from '../src/contract/change.js';
import { Engine } from './engine.js';
import { median, sandboxUsage, timed } from './measure.js';
import type { Figure } from './report.js';
import { missingPrograms, scriptSeconds } from './sequential.js';
import type { Calls } from './worker.js';

const FEDERATION = 'bench';
/** Members after the change. */
const SIZES = [3, 5, 10];
const RUNS = 3;
const IDLE_WINDOW_MS = 5_000;
/** SPIRE controller manager works off what the cluster before left behind, and forgets for 10 s what it hears of meanwhile. */
const SETTLE_MS = 12_000;

/** A way in which members relate, and how many of them may restart at once. Targets are ratios to the script, by size. */
interface Way {
  name: string;
  relationships: 'static' | 'dynamic';
  maxUnavailable: number;
  targets: Readonly<Record<number, number>>;
}

const WAYS: readonly Way[] = [
  { name: 'static, one restart at a time', relationships: 'static', maxUnavailable: 1, targets: { 3: 1 } },
  { name: 'static, all at once', relationships: 'static', maxUnavailable: 100, targets: { 3: 0.7 } },
  { name: 'dynamic', relationships: 'dynamic', maxUnavailable: 1, targets: { 3: 0.5, 10: 0.2 } },
];

/** One addCluster. */
interface Sample extends Calls {
  seconds: number;
  /** To the script's time from the same round. */
  ratio: number | undefined;
}

/** addCluster at growing sizes, each way of relating, in turns with a sequential script. Grows the sandbox as it needs. */
export async function benchAddCluster(directory: string): Promise<Figure[]> {
  const figures: Figure[] = [];
  const missing = await missingPrograms();
  if (missing.length > 0)
    console.error(`Not installed: ${missing.join(', ')}: no comparison with the sequential script.`);
  const samples = new Map<string, Sample[]>();
  await up({ directory, clusters: SIZES[0] ?? 0 });
  const engine = await Engine.start(directory, path.join('dist', 'bench', 'worker.js'));
  try {
    for (const size of SIZES) {
      console.error(`addCluster ${size - 1} → ${size} …`);
      await up({ directory, clusters: size });
      const scripts: number[] = [];
      for (const relationships of ['static', 'dynamic'] as const) {
        await setUp(engine, size - 1, relationships);
        // In turns, so that whatever else the machine does falls on all alike.
        for (let run = 0; run < RUNS; run++) {
          const script = missing.length > 0 ? undefined : await addByScript(directory, size);
          if (script !== undefined) scripts.push(script);
          for (const way of WAYS.filter((each) => each.relationships === relationships)) {
            const sample = await addByEngine(engine, size, way, script);
            samples.set(`${way.name} ${size}`, [...(samples.get(`${way.name} ${size}`) ?? []), sample]);
          }
        }
        await tearDown(engine);
      }
      if (scripts.length > 0) figures.push(figure(`sequential script, ${size - 1} → ${size}`, scripts, 's'));
      figures.push(...WAYS.flatMap((way) => wayFigures(way, size, samples.get(`${way.name} ${size}`) ?? [])));
    }
    const { memoryMb } = await sandboxUsage(directory, IDLE_WINDOW_MS);
    return [
      ...figures,
      ...WAYS.flatMap((way) => growthFigures(way, samples)),
      { name: `memory of a ${SIZES.at(-1)}-cluster sandbox`, value: memoryMb, unit: 'MB', target: 10_000 },
    ];
  } finally {
    await engine.stop();
  }
}

function wayFigures({ name, targets }: Way, size: number, samples: readonly Sample[]): Figure[] {
  const target = targets[size];
  const ratios = samples.flatMap(({ ratio }) => ratio ?? []);
  const ratio = figure('  ratio to the script', ratios, '×');
  return [
    figure(
      `addCluster ${size - 1} → ${size}, ${name}`,
      samples.map(({ seconds }) => seconds),
      's',
    ),
    ...(ratios.length === 0 ? [] : [target === undefined ? ratio : { ...ratio, target }]),
    figure(
      '  requests to Kubernetes, per cluster',
      samples.map(({ requests }) => requests / size),
      '',
    ),
    figure(
      '  commands in pods, per cluster',
      samples.map(({ execs }) => execs / size),
      '',
    ),
  ];
}

/** The largest size against the smallest: what stays is the slowest cluster's, what is linear is the same per cluster. */
function growthFigures({ name, relationships }: Way, samples: ReadonlyMap<string, readonly Sample[]>): Figure[] {
  const [smallest = 0, largest = 0] = [SIZES[0], SIZES.at(-1)];
  const growth = (measure: (sample: Sample, size: number) => number) => {
    const at = (size: number) => median((samples.get(`${name} ${size}`) ?? []).map((sample) => measure(sample, size)));
    return at(largest) / at(smallest);
  };
  const sizes = `${largest - 1} → ${largest} to ${smallest - 1} → ${smallest}`;
  return [
    {
      name: `${sizes}, ${name}: time`,
      value: growth(({ seconds }) => seconds),
      unit: '×',
      ...(relationships === 'dynamic' ? { target: 1.5 } : {}),
    },
    {
      name: '  requests per cluster',
      value: growth(({ requests }, size) => requests / size),
      unit: '×',
      target: LINEAR,
    },
    { name: '  commands per cluster', value: growth(({ execs }, size) => execs / size), unit: '×', target: LINEAR },
  ];
}

/** Linear in the number of clusters: the same per cluster, but for what polls see while they wait. */
const LINEAR = 1.2;

function figure(name: string, samples: number[], unit: string): Figure {
  return { name, value: median(samples), unit, samples };
}

/** One more cluster joins, and leaves again outside the measured time. */
async function addByEngine(engine: Engine, size: number, way: Way, script: number | undefined): Promise<Sample> {
  const cluster = clusterName(size - 1);
  const { maxUnavailable } = way;
  await delay(SETTLE_MS);
  const before = await engine.calls();
  const options = { federation: FEDERATION, cluster, probe: false, monitor: false, maxUnavailable };
  const add = addClusterInputSchema.parse(options);
  const { seconds } = await timed(() => engine.change('addCluster', add));
  const after = await engine.calls();
  const remove = removeClusterInputSchema.parse({ federation: FEDERATION, cluster, maxUnavailable: size });
  await engine.change('removeCluster', remove);
  return {
    seconds,
    ratio: script === undefined ? undefined : seconds / script,
    requests: after.requests - before.requests,
    execs: after.execs - before.execs,
  };
}

async function addByScript(directory: string, size: number): Promise<number> {
  const members = Array.from({ length: size - 1 }, (_each, index) => clusterName(index));
  await delay(SETTLE_MS);
  return scriptSeconds(directory, 'sequential-add.sh', [clusterName(size - 1), ...members]);
}

async function setUp(engine: Engine, clusters: number, relationships: Way['relationships']): Promise<void> {
  const names = Array.from({ length: clusters }, (_each, index) => clusterName(index));
  const input = { federation: FEDERATION, clusters: names, relationships, probe: false, maxUnavailable: clusters };
  // It would read all clusters at the end of one change and the beginning of the next: its cost is another figure.
  await engine.change('setupMesh', setupMeshInputSchema.parse({ ...input, monitor: false }));
}

async function tearDown(engine: Engine): Promise<void> {
  await engine.change('teardown', teardownInputSchema.parse({ federation: FEDERATION }));
}
