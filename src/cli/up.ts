import { existsSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { stringify } from 'yaml';
import { z } from 'zod';
import { newToken } from '../access/tokens.js';
import { FederatorClient, temporalAddress } from '../client.js';
import { apiAddressSchema, webUiUrl } from '../config.js';
import { FederatorError } from '../contract/errors.js';
import { connects } from './connects.js';
import { EngineProcesses } from './engineProcesses.js';
import { addExamples } from './examples.js';
import { addInventoryOption, checked, inventoryEntries } from './options.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const LOOPBACK = ['127.0.0.1', 'localhost', '::1'];
const TOKENS_FILE = 'tokens.yaml';
/** The Web UI of a Temporal dev server listens so far above the server itself. */
const WEB_UI_OFFSET = 1_000;
const LOOK_MS = 100;
const ANSWERS_WITHIN_MS = 5_000;

/** Compiled, this is dist/src/cli/up.js. */
const scriptOf = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const RUN = scriptOf('../../../scripts/run.mjs');

interface UpOptions {
  inventory?: string;
}

/** `up`: the whole engine on this machine, in one terminal. */
export function upCommand(): Command {
  const command = new Command('up')
    .description(
      'run the engine on this machine until Ctrl-C: a worker, the API with its console, and a Temporal dev server where TEMPORAL_ADDRESS does not answer',
    )
    .action(up);
  return addExamples(addInventoryOption(command), 'npm run federator -- up');
}

interface TemporalServer {
  address: string;
  host: string;
  port: number;
  /** On this machine, so that a dev server may be started. */
  isHere: boolean;
  /** Of a dev server. */
  uiPort: number;
}

async function up({ inventory }: UpOptions): Promise<void> {
  const api = checked(z.object({ SPIRE_FEDERATOR_API_ADDRESS: apiAddressSchema }), process.env);
  const temporal = temporalServer();
  if (temporal.isHere) process.env['TEMPORAL_UI_URL'] ??= `http://127.0.0.1:${temporal.uiPort}`;
  if (await runsAlready(api.SPIRE_FEDERATOR_API_ADDRESS)) return;
  // The worker would say the same, later and among other things.
  await inventoryEntries(inventory);
  if (inventory !== undefined) process.env['SPIRE_FEDERATOR_INVENTORY'] = inventory;
  const processes = new EngineProcesses();
  const interrupted = interruption(processes);
  try {
    await Promise.race([interrupted, processes.failed, run(processes, temporal).then(() => interrupted)]);
  } finally {
    await processes.stop();
  }
}

function temporalServer(): TemporalServer {
  const address = temporalAddress();
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const port = Number(address.slice(colon + 1));
  return { address, host, port, isHere: LOOPBACK.includes(host), uiPort: port + WEB_UI_OFFSET };
}

/** Says so where the engine runs. @throws FederatorError InvalidInput where something else has the API's address */
async function runsAlready({ host, port }: { host: string; port: number }): Promise<boolean> {
  if (!(await connects(port, host))) return false;
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
  if (!(await isReady(url))) {
    throw new FederatorError(
      'InvalidInput',
      `${host}:${port} is taken, and not by an API that is ready. End what listens there, or choose another address with SPIRE_FEDERATOR_API_ADDRESS.`,
    );
  }
  console.log(`The engine is running already.\n${addresses(url)}`);
  return true;
}

/** By node:http: fetch never settles where whoever listens ends every connection at once. */
function isReady(api: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get(`${api}/readyz`, { timeout: ANSWERS_WITHIN_MS }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });
}

async function run(processes: EngineProcesses, temporal: TemporalServer): Promise<void> {
  await ensureTemporal(processes, temporal);
  await processes.start('worker', scriptOf('../worker.js'), [], /Worker on task queue/);
  const token = ensureTokens();
  const said = await processes.start('api', scriptOf('../api/main.js'), [], /^API on /);
  const [, url = ''] = /^API on (\S+)/.exec(said) ?? [];
  console.log(`\nThe engine is running; Ctrl-C stops it.\n${addresses(url)}`);
  if (token !== undefined) console.log(`Token    ${token} (admin, shown this once; ${TOKENS_FILE} has its hash)`);
}

/** Starts a Temporal dev server where none answers. @throws FederatorError TemporalUnreachable, InvalidInput */
async function ensureTemporal(
  processes: EngineProcesses,
  { address, host, port, isHere, uiPort }: TemporalServer,
): Promise<void> {
  if (await connects(port, host)) {
    // Something else may listen there, which this tells.
    await (await FederatorClient.connect()).close();
    console.log(`Temporal at ${address} answers.`);
    return;
  }
  if (!isHere || !existsSync(RUN)) {
    throw new FederatorError(
      'TemporalUnreachable',
      `There is no Temporal server at ${address}, and none can be started there from here. Set TEMPORAL_ADDRESS to one that runs.`,
    );
  }
  if (await connects(uiPort)) {
    throw new FederatorError(
      'InvalidInput',
      `Port ${uiPort}, for the Web UI of a Temporal dev server on ${port}, is taken. End what listens there, or choose another port with TEMPORAL_ADDRESS=127.0.0.1:<port>; the Web UI's is ${WEB_UI_OFFSET} above it.`,
    );
  }
  console.log(`Starting a Temporal dev server at ${address} …`);
  const args = ['temporal', '--port', String(port), '--ui-port', String(uiPort)];
  await processes.start('temporal', RUN, args, /^Temporal at /);
  while (!(await connects(port))) await delay(LOOK_MS);
}

/**
 * Without any access nobody could be let in: a token is made then, and its file.
 * @returns the token, where it is new
 */
function ensureTokens(): string | undefined {
  const { SPIRE_FEDERATOR_API_TOKENS: file, SPIRE_FEDERATOR_OIDC_ISSUER: issuer } = process.env;
  if (file || issuer) return undefined;
  process.env['SPIRE_FEDERATOR_API_TOKENS'] = TOKENS_FILE;
  if (existsSync(TOKENS_FILE)) return undefined;
  const { token, sha256 } = newToken();
  const grants = [{ role: 'admin', federation: '*' }];
  writeFileSync(TOKENS_FILE, stringify({ tokens: [{ name: 'up', sha256, grants }] }), { mode: 0o600 });
  return token;
}

/** Resolves when the engine is told to stop; a second time everything ends at once. */
function interruption(processes: EngineProcesses): Promise<void> {
  return new Promise((resolve) => {
    let isAsked = false;
    const interrupt = () => {
      console.log(isAsked ? 'Ending at once …' : 'Stopping …');
      if (isAsked) processes.kill();
      isAsked = true;
      resolve();
    };
    for (const signal of SIGNALS) process.on(signal, interrupt);
  });
}

function addresses(api: string): string {
  return `Console  ${api}/console\nWeb UI   ${webUiUrl()}`;
}
