import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { newToken } from '../src/access/tokens.js';
import { loadInventory } from '../src/config.js';
import { endInBackground, logTail, runsInBackground, startInBackground } from './background.js';
import { sandboxPaths } from './layout.js';
import { connects, freePort } from './ports.js';
import { projectRoot } from './projectRoot.js';
import { SandboxError } from './sandboxError.js';
import { toolPath } from './tools/toolPath.js';

const START_LIMIT_MS = 60_000;

export interface TemporalPorts {
  port: number;
  uiPort: number;
}

/** What the demo keeps from one run to the next, readable by its owner only. */
interface DemoState {
  apiPort: number;
  /** Of an admin of the API. */
  token: string;
  tokenHash: string;
  /** Seals the kubeconfigs of onboarded clusters, in base64. */
  storeKey: string;
}

/** Temporal, worker and API of the demo: they outlive it, and end with its sandbox. */
export class DemoProcesses {
  private readonly paths;
  private readonly folder;

  /** @param directory the sandbox's */
  constructor(directory: string) {
    this.paths = sandboxPaths(directory);
    this.folder = path.join(this.paths.directory, 'demo');
  }

  /** A Temporal dev server of the demo's own, on the usual ports when they are free. */
  async ensureTemporal(): Promise<TemporalPorts> {
    const file = path.join(this.paths.directory, 'temporal.json');
    if (runsInBackground(this.paths.processes, 'temporal') && existsSync(file)) {
      return JSON.parse(readFileSync(file, 'utf8')) as TemporalPorts;
    }
    const ports = { port: await freePort(7233), uiPort: await freePort(8233) };
    const log = this.logOf('temporal');
    mkdirSync(this.paths.directory, { recursive: true });
    startInBackground({
      records: this.paths.processes,
      name: 'temporal',
      command: toolPath('temporal'),
      args: [
        'server',
        'start-dev',
        '--ip=127.0.0.1',
        `--port=${ports.port}`,
        `--ui-port=${ports.uiPort}`,
        `--db-filename=${path.join(this.paths.directory, 'temporal.db')}`,
        '--log-level=error',
      ],
      log,
    });
    writeFileSync(file, JSON.stringify(ports));
    const deadline = Date.now() + START_LIMIT_MS;
    while (!(await connects(ports.port))) {
      if (Date.now() > deadline) throw new SandboxError(`Temporal did not start:\n${logTail(log)}`);
      await delay(50);
    }
    return ports;
  }

  /**
   * A worker and an API with the code as it is now; older ones are replaced. One cluster of the sandbox is not in their
   * inventory, so that it can be onboarded.
   */
  async startEngine(unlisted: string): Promise<{ url: string; token: string }> {
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    const { apiPort, token, tokenHash, storeKey } = await this.state();
    const grants = [{ role: 'admin', federation: '*' }];
    const files = {
      inventory: path.join(this.folder, 'inventory.yaml'),
      tokens: path.join(this.folder, 'tokens.yaml'),
    };
    const inventory = await loadInventory(this.paths.inventory);
    const clusters = inventory.clusters.filter(({ name }) => name !== unlisted);
    writeFileSync(files.inventory, stringify({ ...inventory, clusters }));
    writeFileSync(files.tokens, stringify({ tokens: [{ name: 'demo', sha256: tokenHash, grants }] }));
    const engine = {
      SPIRE_FEDERATOR_INVENTORY: files.inventory,
      SPIRE_FEDERATOR_STORE: `file:${path.join(this.folder, 'clusters')}`,
      SPIRE_FEDERATOR_STORE_KEYS: `demo:${storeKey}`,
    };
    await this.startNode('worker', 'worker.js', engine, 'Worker on task queue');
    await this.startNode(
      'api',
      path.join('api', 'main.js'),
      {
        ...engine,
        SPIRE_FEDERATOR_API_ADDRESS: `127.0.0.1:${apiPort}`,
        SPIRE_FEDERATOR_API_TOKENS: files.tokens,
        SPIRE_FEDERATOR_AUDIT_LOG: path.join(this.folder, 'audit.jsonl'),
      },
      'API on ',
    );
    return { url: `http://127.0.0.1:${apiPort}`, token };
  }

  private async startNode(name: string, script: string, environment: NodeJS.ProcessEnv, ready: string): Promise<void> {
    const log = this.logOf(name);
    await endInBackground(this.paths.processes, name);
    const before = existsSync(log) ? readFileSync(log, 'utf8').length : 0;
    startInBackground({
      records: this.paths.processes,
      name,
      command: process.execPath,
      args: [path.join(projectRoot(), 'dist', 'src', script)],
      env: { ...process.env, ...environment },
      log,
    });
    const deadline = Date.now() + START_LIMIT_MS;
    while (!readFileSync(log, 'utf8').slice(before).includes(ready)) {
      if (!runsInBackground(this.paths.processes, name) || Date.now() > deadline) {
        throw new SandboxError(`The ${name} did not start:\n${logTail(log)}`);
      }
      await delay(50);
    }
  }

  private logOf(name: string): string {
    return path.join(this.paths.directory, `${name}.log`);
  }

  private async state(): Promise<DemoState> {
    const file = path.join(this.folder, 'state.json');
    if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as DemoState;
    const { token, sha256 } = newToken();
    const state: DemoState = {
      apiPort: await freePort(8080),
      token,
      tokenHash: sha256,
      storeKey: randomBytes(32).toString('base64'),
    };
    writeFileSync(file, JSON.stringify(state), { mode: 0o600 });
    return state;
  }
}
