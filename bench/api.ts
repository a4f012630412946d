import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { up } from '../sandbox/client.js';
import { clusterName } from '../sandbox/layout.js';
import { setupMeshInputSchema } from '../src/contract/change.js';
import { chromiumPath, startBrowser } from '../test/support/browser.js';
import { withApi, type ApiProcess } from './apiProcess.js';
import { firstPaint, openGraph, openMatrix, type GraphTimes } from './console.js';
import { Engine } from './engine.js';
import { FLEET_FEDERATION, untilRound, withFleet } from './fleet.js';
import { median, memoryMb, quantile, residentMb, sum } from './measure.js';
import { openLoop, type Answered } from './openLoop.js';
import type { Figure } from './report.js';

const FEDERATION = 'bench';
const CLUSTERS = 10;
const FLEET = 100;
const WORKER = path.join('dist', 'src', 'worker.js');
const PER_SECOND = 200;
/** SPIRE servers poll, and the monitor looks, every 75 s by default: all of it comes under load, once. */
const LOAD_S = 90;
/** A new cluster works off its start for a while. */
const SETTLE_MS = 20_000;
/** Opens connections, and has code compiled that runs often. */
const WARM_UP_S = 5;
const RUNS = 5;
const LOOK_MS = 1_000;
const WATCHED_WITHIN_MS = 3 * 60_000;

/** How fast the API and the console answer with 10 real clusters and a fleet of 100, and what worker and API hold. */
export async function benchApi(directory: string): Promise<Figure[]> {
  const chromium = chromiumPath();
  if (chromium === undefined) console.error('No Chromium (CHROMIUM_PATH): the console is not measured.');
  const browser = chromium === undefined ? undefined : await startBrowser(chromium);
  try {
    const figures = await benchReads(directory, browser);
    return browser === undefined ? figures : [...figures, ...(await benchGraph(`${directory}-fleet`, browser))];
  } finally {
    await browser?.close();
  }
}

async function benchReads(directory: string, browser: Browser | undefined): Promise<Figure[]> {
  await up({ directory, clusters: CLUSTERS });
  const engine = await Engine.start(directory, WORKER);
  try {
    await setUp(engine);
    return await withApi(`${directory}-api`, async (api) => {
      const paths = await reads(engine);
      await delay(SETTLE_MS);
      const load = (seconds: number) => openLoop(api.url, api.token, paths, { perSecond: PER_SECOND, seconds });
      await load(WARM_UP_S);
      const answers = await load(LOAD_S);
      const figures = [...answerFigures(answers), ...memoryFigures(engine, api)];
      return browser === undefined ? figures : [...figures, await paintFigure(browser, api)];
    });
  } finally {
    await engine.stop();
  }
}

/** A federation of all clusters, well and watched over. */
async function setUp(engine: Engine): Promise<void> {
  const clusters = Array.from({ length: CLUSTERS }, (_each, index) => clusterName(index));
  const input = {
    federation: FEDERATION,
    clusters,
    relationships: 'dynamic',
    maxUnavailable: CLUSTERS,
    policies: [{ type: 'label' }],
    probe: false,
    monitor: true,
  };
  await engine.change('setupMesh', setupMeshInputSchema.parse(input));
  const deadline = Date.now() + WATCHED_WITHIN_MS;
  while ((await engine.client.health(FEDERATION)).counts.fresh < CLUSTERS * (CLUSTERS - 1)) {
    if (Date.now() > deadline) throw new Error('the monitor does not find all edges to be fresh');
    await delay(LOOK_MS);
  }
}

/** What is read, in turns: what the console and a script ask for. */
async function reads({ client }: Engine): Promise<string[]> {
  const { runId } = await client.findChange(FEDERATION);
  const at = `/v1/federations/${FEDERATION}`;
  return [
    '/v1/federations',
    at,
    `${at}/health`,
    `${at}/edges`,
    `${at}/members`,
    `${at}/policies`,
    `${at}/changes`,
    `${at}/changes/${runId}`,
    '/v1/clusters',
    `/v1/clusters/${clusterName(0)}`,
    '/v1/whoami',
    '/v1/audit',
  ];
}

function answerFigures(answers: readonly Answered[]): Figure[] {
  const wrong = answers.filter(({ status }) => status !== 200);
  for (const what of new Set(wrong.map(({ path: at, status }) => `${at}: ${status}`))) console.error(what);
  const times = (each: readonly Answered[]) => each.map(({ elapsedMs }) => elapsedMs);
  const all = times(answers);
  return [
    {
      name: `${PER_SECOND} reads/s of ${CLUSTERS} clusters for ${LOAD_S} s: p99`,
      value: quantile(all, 0.99),
      unit: 'ms',
      target: 50,
    },
    { name: '  median', value: quantile(all, 0.5), unit: 'ms' },
    { name: '  longest', value: Math.max(...all), unit: 'ms' },
    { name: '  not answered with 200', value: wrong.length, unit: '', target: 0 },
    ...[...new Set(answers.map((each) => each.path))].map((at) => ({
      name: `  p99 of ${at.replace(/[0-9a-f-]{36}/, '{runId}')}`,
      value: quantile(times(answers.filter((each) => each.path === at)), 0.99),
      unit: 'ms',
    })),
  ];
}

function memoryFigures({ worker }: Engine, api: ApiProcess): Figure[] {
  const pids = { worker: worker.pid ?? 0, API: api.process.pid ?? 0 };
  const all = Object.values(pids);
  return [
    { name: 'memory of worker and API, resident', value: sum(all.map(residentMb)), unit: 'MB', target: 450 },
    ...Object.entries(pids).map(([name, pid]) => ({ name: `  of the ${name}`, value: residentMb(pid), unit: 'MB' })),
    { name: '  of both, what they share counted once', value: sum(all.map(memoryMb)), unit: 'MB' },
  ];
}

async function paintFigure(browser: Browser, api: ApiProcess): Promise<Figure> {
  const samples: number[] = [];
  for (let run = 0; run < RUNS; run++) samples.push(await firstPaint(browser, api));
  return { name: 'first paint of the console', value: median(samples), unit: 'ms', target: 1_000, samples };
}

async function benchGraph(folder: string, browser: Browser): Promise<Figure[]> {
  return withFleet(folder, FLEET, WORKER, async ({ engine, monitor, clusters }) => {
    await untilRound(monitor, 1);
    return withApi(`${folder}-api`, async (api) => {
      const first = await openGraph(browser, api, FLEET_FEDERATION, clusters);
      const times: GraphTimes[] = [];
      const matrices: number[] = [];
      for (let run = 0; run < RUNS; run++) {
        times.push(await openGraph(browser, api, FLEET_FEDERATION, clusters));
        matrices.push(await openMatrix(browser, api, FLEET_FEDERATION));
      }
      const of = (each: keyof GraphTimes, name: string): Figure => {
        const samples = times.map((time) => time[each]);
        return { name, value: median(samples), unit: 'ms', samples };
      };
      return [
        { ...of('interactive', `graph of ${FLEET} clusters: interactive`), target: 2_000 },
        of('drawn', '  drawn'),
        { name: `matrix of ${FLEET} clusters: shown`, value: median(matrices), unit: 'ms', samples: matrices },
        { name: '  graph interactive, by an API that has just started', value: first.interactive, unit: 'ms' },
        // The target is that of the ten clusters above.
        ...memoryFigures(engine, api).map(({ name, value, unit }) => ({
          name: `${name} (${FLEET} clusters)`,
          value,
          unit,
        })),
      ];
    });
  });
}
