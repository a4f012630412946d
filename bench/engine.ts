import { spawn, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { connects, freePort } from '../sandbox/ports.js';
import { projectRoot } from '../sandbox/projectRoot.js';
import { toolPath } from '../sandbox/tools/toolPath.js';
import { FederatorClient } from '../src/client.js';
import { SEARCH_ATTRIBUTES } from '../src/contract/names.js';

/** A Temporal dev server, a worker and a client for one sandbox. */
export class Engine {
  private constructor(
    private readonly temporal: ChildProcess,
    readonly worker: ChildProcess,
    private readonly output: Interface,
    readonly client: FederatorClient,
  ) {}

  /** @param script the worker's, relative to the project */
  static async start(directory: string, script: string): Promise<Engine> {
    const port = await freePort();
    Object.assign(process.env, {
      TEMPORAL_ADDRESS: `127.0.0.1:${port}`,
      SPIRE_FEDERATOR_INVENTORY: path.join(directory, 'inventory.yaml'),
    });
    const attributes = SEARCH_ATTRIBUTES.flatMap((name) => ['--search-attribute', `${name}=Keyword`]);
    const temporal = spawn(
      toolPath('temporal'),
      ['server', 'start-dev', '--ip=127.0.0.1', `--port=${port}`, '--headless', '--log-level=error', ...attributes],
      { stdio: 'ignore' },
    );
    while (!(await connects(port))) await delay(50);
    const worker = spawn(process.execPath, [path.join(projectRoot(), script)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const output = createInterface({ input: worker.stdout });
    const engine = new Engine(temporal, worker, output, await FederatorClient.connect());
    await engine.line((text) => text.includes('Worker on task queue'));
    return engine;
  }

  /** Waits until the worker prints a line that fits. */
  line(fits: (text: string) => boolean): Promise<string> {
    return new Promise((resolve) => {
      const look = (text: string) => {
        if (!fits(text)) return;
        this.output.off('line', look);
        resolve(text);
      };
      this.output.on('line', look);
    });
  }

  async stop(): Promise<void> {
    await this.client.close();
    this.worker.kill('SIGTERM');
    this.temporal.kill('SIGTERM');
  }
}
