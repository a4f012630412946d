import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cacheDirectory, projectRoot } from '../../scripts/cache.mjs';
import { filesUnder } from '../../scripts/contentHash.mjs';
import { withLock } from '../../scripts/lock.mjs';
import { UserError, say, stopwatch, whileSaying } from '../../scripts/progress.mjs';
import { requireGo } from '../../scripts/goVersion.mjs';
import { capture, endRunning, tail } from '../../scripts/runChild.mjs';
import { toolManifest, toolModules } from './catalog.mjs';

const atOnce = 2;
const sayEveryMs = 20_000;

/**
 * Builds the tools that the cache does not have, and writes dist/tools.json, by which `toolPath` finds them.
 * @param {string[]} [names] modules of the catalogue; all but those on demand when left out
 * @returns {Promise<void>}
 * @throws {UserError} when Go or a C compiler is missing, or a build fails (with the end of its log)
 */
export async function buildTools(names) {
  writeManifest();
  const wanted = selectModules(names);
  if (missing(wanted).length === 0) return;
  await requireGo();
  const lock = path.join(cacheDirectory(), 'tools', 'build.lock');
  const onWait = (pid) => say(`Waiting for the tools that process ${pid} is building …`);
  await withLock(lock, onWait, async () => {
    removeLeftovers();
    await buildAll(missing(wanted));
  });
}

function selectModules(names) {
  const all = toolModules();
  const unknown = (names ?? []).filter((name) => !all.some((module) => module.name === name));
  if (unknown.length > 0) {
    throw new UserError(`no such tool: ${unknown.join(', ')}; there are ${all.map(({ name }) => name).join(', ')}`);
  }
  return all.filter(({ name, onDemand }) => (names?.length ? names.includes(name) : !onDemand));
}

function missing(modules) {
  return modules.filter(({ output }) => !existsSync(output));
}

async function buildAll(modules) {
  if (modules.length === 0) return;
  const total = stopwatch();
  const minutes = Math.ceil(modules.reduce((sum, { coldSeconds }) => sum + coldSeconds, 0) / 60);
  say(
    `Building ${modules.map(({ name }) => name).join(', ')} from source: up to ${minutes} min on 2 cores, once for all`,
  );
  say(`checkouts; kept in ${path.join(cacheDirectory(), 'tools')}`);
  const compiler = modules.some(({ cgo }) => cgo) ? await findCCompiler() : undefined;
  const queue = [...modules];
  const underWay = new Map();
  let done = 0;
  const drain = async () => {
    for (let module = queue.shift(); module; module = queue.shift()) {
      const elapsed = stopwatch();
      underWay.set(module.name, elapsed);
      await buildModule(module, compiler, elapsed);
      underWay.delete(module.name);
      say(`  [${(done += 1)}/${modules.length}] ${module.name} ${elapsed()}`);
    }
  };
  const status = () => `  … ${[...underWay].map(([name, elapsed]) => `${name} ${elapsed()}`).join(', ')}`;
  try {
    await whileSaying(status, Promise.all(Array.from({ length: atOnce }, drain)), sayEveryMs);
  } catch (error) {
    endRunning();
    throw error;
  }
  say(`Tools built in ${total()}.`);
}

async function buildModule(module, compiler, elapsed) {
  const staging = `${module.output}.building-${process.pid}`;
  const env = {
    ...process.env,
    GOTOOLCHAIN: 'local',
    GOWORK: 'off',
    CGO_ENABLED: module.cgo ? '1' : '0',
    ...(module.cgo && compiler ? { CC: compiler } : {}),
  };
  const go = async (args) => {
    const { code, stdout, output } = await capture('go', args, { cwd: path.join(projectRoot, module.directory), env });
    if (code === 0) return stdout;
    const log = `${module.output}.log`;
    writeFileSync(log, output);
    throw new UserError(`building ${module.name} failed after ${elapsed()} (whole log: ${log}):\n${tail(output)}`);
  };
  mkdirSync(staging, { recursive: true });
  const ldflags = ['-s', '-w', module.ldflags].filter(Boolean).join(' ');
  for (const [binary, goPackage] of Object.entries(module.packages)) {
    const flags = ['-mod=readonly', '-buildvcs=false', '-trimpath', '-ldflags', ldflags];
    await go(['build', ...flags, '-o', path.join(staging, 'bin', binary), goPackage]);
  }
  for (const [asset, parts] of Object.entries(module.assets ?? {})) {
    for (const part of parts) {
      const { Dir: source } = JSON.parse(await go(['mod', 'download', '-json', part.module]));
      copyAsset(path.join(source, part.from), path.join(staging, 'assets', asset, part.to ?? ''), part.only);
    }
  }
  renameSync(staging, module.output);
}

function copyAsset(from, to, only = /./) {
  const isFile = statSync(from).isFile();
  const root = isFile ? path.dirname(from) : from;
  const files = isFile ? [path.basename(from)] : filesUnder(root, ['.'], (file) => only.test(file));
  for (const file of files) cpSync(path.join(root, file), path.join(to, file));
}

async function findCCompiler() {
  const candidates = [process.env.CC, 'gcc', 'clang', 'cc'].filter(Boolean);
  for (const candidate of candidates) {
    try {
      if ((await capture(candidate, ['--version'])).code === 0) return candidate;
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
    }
  }
  throw new UserError(
    'a C compiler is needed for spire-server (SQLite): install gcc, e.g. apt-get install gcc libc6-dev',
  );
}

/** Half-built folders of builders that were killed; the caller holds the lock, so nobody is at work on them. */
function removeLeftovers() {
  const folder = path.join(cacheDirectory(), 'tools');
  for (const name of readdirSync(folder)) {
    if (name.includes('.building-')) rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

function writeManifest() {
  const file = path.join(projectRoot, 'dist', 'tools.json');
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(`${file}.${process.pid}`, `${JSON.stringify(toolManifest(), undefined, 2)}\n`);
  renameSync(`${file}.${process.pid}`, file);
}
