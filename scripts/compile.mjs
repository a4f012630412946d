import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { projectRoot } from './cache.mjs';
import { contentHash, filesUnder } from './contentHash.mjs';
import { UserError, say, stopwatch } from './progress.mjs';
import { capture } from './runChild.mjs';

const stampFile = path.join(projectRoot, 'dist', 'stamp.json');
/** What is served as it is written. */
const pages = 'src/console';
const settings = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'scripts/bundleWorkflows.mjs'];

/**
 * Whether dist/ was made from the sources as they are now.
 * @returns {boolean}
 */
export function compiledIsCurrent() {
  return readStamp()?.hash === currentStamp().hash;
}

/**
 * Compiles TypeScript to dist/ and bundles the workflows, so that a worker starts without doing it.
 * @returns {Promise<void>}
 * @throws {UserError} with the compiler's messages when it fails
 */
export async function compile() {
  const elapsed = stopwatch();
  say('Compiling …');
  const earlier = readStamp();
  const stamp = currentStamp();
  rmSync(stampFile, { force: true });
  // A module that was removed or renamed must not live on as its old output.
  for (const file of earlier?.files ?? []) if (!stamp.files.includes(file)) removeOutput(file);
  await runStep('the compiler', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--pretty', 'false']);
  cpSync(path.join(projectRoot, pages), path.join(projectRoot, 'dist', pages), { recursive: true });
  if (earlier?.workflowsHash !== stamp.workflowsHash || !(await bundlesExist())) {
    await runStep('bundling the workflows', ['scripts/bundleWorkflows.mjs']);
  }
  writeFileSync(stampFile, JSON.stringify(stamp));
  say(`Compiled in ${elapsed()}.`);
}

async function bundlesExist() {
  const { WORKFLOW_BUNDLES, workflowBundle } = await import('../dist/src/workflowBundle.js');
  return WORKFLOW_BUNDLES.every((bundle) => existsSync(path.join(projectRoot, 'dist', workflowBundle(bundle))));
}

async function runStep(name, args) {
  const { code, output } = await capture(process.execPath, args, { cwd: projectRoot });
  if (code !== 0) throw new UserError(`${name} failed:\n${output.trimEnd()}`);
}

function currentStamp() {
  const sources = filesUnder(projectRoot, ['src', 'sandbox', 'bench'], isSource);
  const files = [...sources, ...filesUnder(projectRoot, [pages])];
  const workflows = filesUnder(projectRoot, ['src'], isSource);
  return {
    hash: contentHash(projectRoot, [...settings, ...files]),
    workflowsHash: contentHash(projectRoot, [...settings, ...workflows]),
    files,
  };
}

function isSource(file) {
  return /\.c?ts$/.test(file);
}

function readStamp() {
  return existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, 'utf8')) : undefined;
}

function removeOutput(source) {
  const output = path.join(projectRoot, 'dist', source.replace(/ts$/, 'js'));
  for (const file of [output, `${output}.map`]) rmSync(file, { force: true });
}
