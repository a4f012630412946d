import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, openSync, writeFileSync, closeSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { toolPath } from '../../sandbox/tools/toolPath.js';

const run = promisify(execFile);

/** A real SPIRE server and a real agent of it, without Kubernetes. */
export class SpireTrustDomain {
  private readonly processes: ChildProcess[] = [];
  private agent: ChildProcess | undefined;
  private port = 0;

  /** @param folder short, for it holds sockets */
  constructor(
    readonly name: string,
    private readonly folder: string,
  ) {}

  get adminSocketPath(): string {
    return path.join(this.folder, 'admin', 'api.sock');
  }

  async start(): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    this.port = await freePort();
    this.processes.push(this.spawn('spire-server', this.serverConf()));
    await eventually(() => this.server('healthcheck'));
    await this.createEntry({ path: '/delegate', selector: `unix:uid:${process.getuid?.()}` });
    await this.startAgent();
  }

  async startAgent(): Promise<void> {
    writeFileSync(path.join(this.folder, 'bundle.pem'), await this.server('bundle', 'show'));
    const { value } = JSON.parse(
      await this.server('token', 'generate', '-spiffeID', this.id('/node'), '-output', 'json'),
    ) as { value: string };
    this.agent = this.spawn('spire-agent', this.agentConf(), '-joinToken', value);
    this.processes.push(this.agent);
    await eventually(() =>
      run(toolPath('spire-agent'), ['healthcheck', '-socketPath', path.join(this.folder, 'public', 'api.sock')]),
    );
  }

  async stopAgent(): Promise<void> {
    if (this.agent !== undefined) await end(this.agent);
  }

  async stop(): Promise<void> {
    await Promise.all(this.processes.map(end));
  }

  id(workload: string): string {
    return `spiffe://${this.name}${workload}`;
  }

  /** Runs a command of the server's CLI. @returns its output */
  async server(...args: string[]): Promise<string> {
    const words = args.findIndex((arg) => arg.startsWith('-'));
    const at = words < 0 ? args.length : words;
    const socket = ['-socketPath', path.join(this.folder, 'server.sock')];
    const { stdout } = await run(toolPath('spire-server'), [...args.slice(0, at), ...socket, ...args.slice(at)]);
    return stdout;
  }

  /** @returns the entry's ID */
  async createEntry(entry: { path: string; selector: string; federatesWith?: string[] }): Promise<string> {
    const output = await this.server(
      ...['entry', 'create', '-parentID', this.id('/node'), '-spiffeID', this.id(entry.path)],
      ...['-selector', entry.selector, '-output', 'json'],
      ...(entry.federatesWith ?? []).flatMap((id) => ['-federatesWith', id]),
    );
    const { results } = JSON.parse(output) as { results: [{ entry: { id: string } }] };
    return results[0].entry.id;
  }

  async trust(peer: SpireTrustDomain): Promise<void> {
    const file = path.join(this.folder, `${peer.name}.json`);
    writeFileSync(file, await peer.server('bundle', 'show', '-format', 'spiffe'));
    await this.server('bundle', 'set', '-id', peer.id(''), '-format', 'spiffe', '-path', file);
  }

  private spawn(tool: 'spire-server' | 'spire-agent', conf: object, ...args: string[]): ChildProcess {
    const file = path.join(this.folder, `${tool}.json`);
    writeFileSync(file, JSON.stringify(conf));
    const log = openSync(path.join(this.folder, `${tool}.log`), 'a');
    const child = spawn(toolPath(tool), ['run', '-config', file, ...args], { stdio: ['ignore', log, log] });
    closeSync(log);
    return child;
  }

  private serverConf(): object {
    return {
      server: {
        bind_address: '127.0.0.1',
        bind_port: String(this.port),
        socket_path: path.join(this.folder, 'server.sock'),
        trust_domain: this.name,
        data_dir: path.join(this.folder, 'server'),
        experimental: { cache_reload_interval: '1s' },
      },
      plugins: {
        DataStore: [
          {
            sql: {
              plugin_data: { database_type: 'sqlite3', connection_string: path.join(this.folder, 'server.sqlite3') },
            },
          },
        ],
        KeyManager: [{ memory: { plugin_data: {} } }],
        NodeAttestor: [{ join_token: { plugin_data: {} } }],
      },
    };
  }

  private agentConf(): object {
    return {
      agent: {
        server_address: '127.0.0.1',
        server_port: String(this.port),
        socket_path: path.join(this.folder, 'public', 'api.sock'),
        admin_socket_path: this.adminSocketPath,
        authorized_delegates: [this.id('/delegate')],
        trust_domain: this.name,
        trust_bundle_path: path.join(this.folder, 'bundle.pem'),
        data_dir: path.join(this.folder, 'agent'),
        experimental: { sync_interval: '1s' },
      },
      plugins: {
        KeyManager: [{ memory: { plugin_data: {} } }],
        NodeAttestor: [{ join_token: { plugin_data: {} } }],
        WorkloadAttestor: [{ unix: { plugin_data: {} } }],
      },
    };
  }
}

/** Tries again until it works. Rejects with the last error when it never does. */
export async function eventually<T>(attempt: () => Promise<T> | T, timeoutMs = 15_000): Promise<T> {
  for (const deadlineMs = Date.now() + timeoutMs; ; await pause(100)) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > deadlineMs) throw error;
    }
  }
}

export async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await exited;
  clearTimeout(killer);
}
