import path from 'node:path';
import { buildTools } from '../sandbox/tools/build.mjs';
import { projectRoot } from './cache.mjs';
import { writeDocs } from './docs.mjs';
import { prepare } from './prepare.mjs';
import { UserError, say } from './progress.mjs';
import { endRunning, foreground } from './runChild.mjs';
import { runTemporal } from './temporal.mjs';

const script = (file, ...first) => ({ command: (args) => node(file, ...first, ...args) });
const dependencies = ['dependencies'];
const compiled = ['dependencies', 'compiled'];

/**
 * tools: which of the sandbox's tools are needed ([] = all but those on demand); onDemand: which of those as well;
 * needs: what else; command: what to run then.
 * @type {Record<string, { tools?: string[], onDemand?: string[], needs?: ('dependencies' | 'compiled')[], command?: Function }>}
 */
const targets = {
  demo: { tools: [], needs: compiled, ...script('dist/sandbox/demo.js') },
  test: { tools: [], needs: compiled, ...script('node_modules/jest/bin/jest.js') },
  'test:compat': {
    tools: [],
    onDemand: ['spire-1.13.3'],
    needs: compiled,
    ...script('node_modules/jest/bin/jest.js', '--config', 'test/compat.config.mjs'),
  },
  'test:reliability': { tools: [], needs: compiled, command: everyFault },
  histories: { tools: ['temporal'], needs: compiled, command: recordHistories },
  sandbox: { tools: [], needs: compiled, ...script('dist/sandbox/main.js') },
  soak: { tools: [], needs: compiled, ...script('dist/bench/soak.js') },
  bench: { tools: [], needs: compiled, ...script('dist/bench/main.js') },
  worker: { needs: compiled, ...script('dist/src/worker.js') },
  api: { needs: compiled, ...script('dist/src/api/main.js') },
  'start-workflow': { needs: compiled, ...script('dist/src/cli/main.js', 'start-workflow') },
  federator: { needs: compiled, ...script('dist/src/cli/main.js') },
  temporal: { tools: ['temporal'], command: runTemporal },
  tools: { command: buildTools },
  build: { needs: compiled },
  docs: { needs: compiled, command: writeDocs },
  lint: { needs: dependencies, ...script('node_modules/eslint/bin/eslint.js', '.') },
  format: { needs: dependencies, ...script('node_modules/prettier/bin/prettier.cjs', '--write', '.') },
  'format:check': { needs: dependencies, ...script('node_modules/prettier/bin/prettier.cjs', '--check', '.') },
  typecheck: { needs: dependencies, ...script('node_modules/typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.json') },
};

/**
 * Brings what a target needs up to date and runs it. Sets the exit code, or ends by the signal that ended the target.
 * @param {string | undefined} name
 * @param {string[]} args the target's own
 * @returns {Promise<void>}
 */
export async function runTarget(name, args) {
  try {
    const target = targets[name];
    if (!target) throw new UserError(`no target ${name ?? ''}; there are ${Object.keys(targets).join(', ')}`);
    const ended = await run(target, args);
    if (ended?.signal) process.kill(process.pid, ended.signal);
    else process.exitCode = ended?.code ?? 0;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}

async function run({ needs = [], tools, onDemand, command }, args) {
  const interrupt = (signal) => {
    endRunning();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  await prepare(needs);
  if (tools) await buildTools(tools);
  if (onDemand) await buildTools(onDemand);
  if (command === buildTools) return buildTools(args);
  // From here on the target decides what an interrupt means.
  process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  return command?.(args);
}

/** The tests of test/reliability with faults at every step, where `test` takes a sample of them. */
function everyFault(args) {
  process.env.FAULT_STEPS = 'all';
  return node('node_modules/jest/bin/jest.js', 'test/reliability', ...args);
}

/** Makes the committed histories anew, and replays them. */
function recordHistories(args) {
  process.env.RECORD_HISTORIES = 'true';
  return node('node_modules/jest/bin/jest.js', 'test/workflows/histories.test.ts', ...args);
}

function node(file, ...args) {
  return foreground(process.execPath, ['--enable-source-maps', path.join(projectRoot, file), ...args]);
}
