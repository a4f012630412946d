import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { projectRoot } from './cache.mjs';
import { UserError, say, stopwatch, whileSaying } from './progress.mjs';
import { capture, tail } from './runChild.mjs';

const sayEveryMs = 15_000;

/**
 * Whether node_modules holds exactly what package-lock.json asks for, by npm's own record of what it installed
 * (node_modules/.package-lock.json, written last).
 * @returns {boolean}
 */
export function dependenciesAreCurrent() {
  const record = path.join(projectRoot, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const wanted = packagesOf(path.join(projectRoot, 'package-lock.json'));
  const installed = packagesOf(record);
  const same = (folder, entry) => installed[folder]?.version === entry.version;
  // A package for another platform is optional and stays away.
  return Object.entries(wanted).every(([folder, entry]) => folder === '' || same(folder, entry) || entry.optional);
}

/**
 * Installs the npm packages of package-lock.json.
 * @returns {Promise<void>}
 * @throws {UserError} with the end of npm's output when it fails
 */
export async function installDependencies() {
  const elapsed = stopwatch();
  say('Installing npm packages …');
  // `npm run` tells where npm is; without it, it is on the PATH.
  const npm = process.env.npm_execpath;
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const install = npm?.endsWith('.js')
    ? capture(process.execPath, [npm, ...args], { cwd: projectRoot })
    : capture('npm', args, { cwd: projectRoot });
  const { code, output } = await whileSaying(() => `  … ${elapsed()}`, install, sayEveryMs);
  if (code !== 0) throw new UserError(`npm ci failed:\n${tail(output)}`);
  say(`npm packages installed in ${elapsed()}.`);
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages;
}
