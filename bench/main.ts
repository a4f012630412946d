import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { down } from '../sandbox/client.js';
import { benchPlan } from './plan.js';
import { formatFigures } from './report.js';
import { benchSandbox } from './sandbox.js';
import { benchSetupPair } from './setupPair.js';

/** Measures on a sandbox of its own, prints a table, and keeps the figures under bench/results/. */
async function main(): Promise<void> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'federator-bench-'));
  const directory = path.join(folder, '.sandbox');
  try {
    const sandbox = await benchSandbox(directory);
    console.log(`${formatFigures(sandbox)}\n`);
    const setupPair = await benchSetupPair(directory);
    console.log(formatFigures(setupPair));
    const plan = benchPlan();
    console.log(`\n${formatFigures(plan)}\n`);
    const results = path.join('bench', 'results');
    mkdirSync(results, { recursive: true });
    const file = path.join(results, `${new Date().toISOString().replaceAll(':', '-')}.json`);
    writeFileSync(
      file,
      JSON.stringify({ node: process.version, cores: os.cpus().length, sandbox, setupPair, plan }, undefined, 2),
    );
    console.log(`\n${file}`);
  } finally {
    await down({ directory });
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
