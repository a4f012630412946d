import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { down } from '../sandbox/client.js';
import { benchAddCluster } from './addCluster.js';
import { benchApi } from './api.js';
import { benchFleet } from './fleet.js';
import { benchPlan } from './plan.js';
import { benchRepair } from './repair.js';
import { formatFigures, withVerdicts, type Figure } from './report.js';
import { benchSandbox } from './sandbox.js';
import { benchSetupPair } from './setupPair.js';

/** What can be measured, in the order in which it is; each takes the sandbox as it finds it. */
const BENCHES: Readonly<Record<string, (directory: string) => Figure[] | Promise<Figure[]>>> = {
  plan: benchPlan,
  sandbox: benchSandbox,
  setupPair: benchSetupPair,
  addCluster: benchAddCluster,
  repair: benchRepair,
  fleet: benchFleet,
  api: benchApi,
};

/** Measured only when named: they wait for many rounds of the monitor, or need many clusters. */
const WHEN_NAMED = new Set(['repair', 'fleet', 'api']);

/** Measures on a sandbox of its own what is named, or all that is quick; prints tables, and keeps the figures under bench/results/. */
async function main(names: readonly string[]): Promise<void> {
  const unknown = names.filter((name) => !(name in BENCHES));
  if (unknown.length > 0) {
    console.error(
      `Nothing is measured under the name ${unknown.join(', ')}. There are: ${Object.keys(BENCHES).join(', ')}.`,
    );
    process.exitCode = 1;
    return;
  }
  const startedAt = new Date();
  const loadBefore = os.loadavg()[0];
  const folder = mkdtempSync(path.join(os.tmpdir(), 'federator-bench-'));
  const directory = path.join(folder, '.sandbox');
  const figures: Record<string, ReturnType<typeof withVerdicts>> = {};
  try {
    for (const [name, bench] of Object.entries(BENCHES)) {
      if (names.length === 0 ? WHEN_NAMED.has(name) : !names.includes(name)) continue;
      const measured = await bench(directory);
      console.log(`${name}\n${formatFigures(measured)}\n`);
      figures[name] = withVerdicts(measured);
    }
  } finally {
    await down({ directory });
    rmSync(folder, { recursive: true, force: true });
  }
  const results = path.join('bench', 'results');
  mkdirSync(results, { recursive: true });
  const file = path.join(results, `${startedAt.toISOString().replaceAll(':', '-')}.json`);
  const machine = { node: process.version, cores: os.cpus().length, loadBefore };
  writeFileSync(file, `${JSON.stringify({ startedAt, commit: commit(), machine, figures }, undefined, 2)}\n`);
  console.log(file);
}

function commit(): string {
  return execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
}

await main(process.argv.slice(2));
