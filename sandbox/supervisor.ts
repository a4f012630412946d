import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { stringify } from 'yaml';
import type { Authority } from './authority.js';
import { SandboxCluster, type PartView } from './cluster.js';
import { describeFault, linkFault, sameFault, type Fault } from './faults.js';
import { API_SERVER_PORT, ClusterAddresses, sandboxPaths, trustDomain, type SandboxPaths } from './layout.js';
import { recordProcess } from './processes.js';
import { startRouteProxy, type RouteProxy, type RouteTarget } from './routeProxy.js';
import {
  assignSpireVersions,
  DEFAULT_SPIRE_VERSION,
  type SpireVersion,
  type SpireVersionChoice,
} from './spireVersions.js';
import { webAuthority } from './webPki.js';

/** What a sandbox is, kept over restarts. */
export interface SandboxState {
  /** Second octet of its addresses. */
  block: number;
  clusters: string[];
  /** By cluster. */
  spireVersions: Record<string, SpireVersion>;
  /** Those whose SPIRE the stand-in for ZTWIM's operator configures. */
  operators?: string[];
  faults: Fault[];
}

export interface ClusterView {
  cluster: string;
  trustDomain: string;
  /** The version that it was made with. */
  spireVersion: SpireVersion;
  healthy: boolean;
  parts: PartView[];
}

export interface SandboxStatus {
  clusters: ClusterView[];
  faults: string[];
  inventory: string;
}

/** Second octets tried for a new sandbox; several sandboxes may live on one machine. */
const FIRST_BLOCK = 64;
const LAST_BLOCK = 127;
/** Held for as long as a sandbox lives, so that no other one takes its addresses. */
const RESERVATION_PORT = 6400;
/** A sandbox that was left behind is recognised by its first clusters. */
const CHECKED_CLUSTERS = 8;

/** The process that runs and watches over everything in a sandbox. */
class Supervisor {
  private readonly clusters = new Map<string, SandboxCluster>();
  private readonly proxies = new Map<string, RouteProxy>();
  private authority: Promise<Authority> | undefined;
  private state: SandboxState = { block: 0, clusters: [], spireVersions: {}, faults: [] };

  constructor(private readonly paths: SandboxPaths) {}

  async start(): Promise<void> {
    mkdirSync(this.paths.sockets, { recursive: true, mode: 0o700 });
    if (existsSync(this.paths.state)) this.state = JSON.parse(readFileSync(this.paths.state, 'utf8')) as SandboxState;
    this.state.block = await reserveBlock(this.state.block);
    // Links and stopped parts do not outlive the processes that they were about.
    this.state.faults = [];
    this.save();
    recordProcess(path.join(this.paths.processes, 'supervisor.json'), process.pid, 'supervisor');
  }

  /** Brings the sandbox to at least `count` clusters, some of them with an operator; what runs is left alone. */
  async up(
    count: number,
    {
      spireVersions = { byCluster: {} },
      operators = [],
    }: { spireVersions?: SpireVersionChoice; operators?: readonly string[] },
    onProgress: (message: string) => void,
  ): Promise<void> {
    const versions = assignSpireVersions(count, spireVersions, this.state.spireVersions);
    const names = Object.keys(versions);
    const unknown = operators.filter((name) => !names.includes(name));
    if (unknown.length > 0) {
      throw new Error(`There is no cluster ${unknown.join(', ')} to have an operator. There are: ${names.join(', ')}.`);
    }
    this.state.spireVersions = versions;
    this.state.clusters = names;
    this.state.operators = [...new Set([...(this.state.operators ?? []), ...operators])];
    this.save();
    await this.proxyFor('engine');
    await Promise.all(
      this.state.clusters.map(async (name, index) => {
        const cluster = await this.cluster(name, index, onProgress);
        if (this.state.faults.some((fault) => 'cluster' in fault && fault.cluster === name)) return;
        await cluster.start();
        if (this.state.operators?.includes(name) === true) await cluster.startOperator();
      }),
    );
    await this.writeInventory();
  }

  status(): SandboxStatus {
    return {
      clusters: this.state.clusters.map((name) => {
        const parts = this.clusters.get(name)?.view() ?? [];
        return {
          cluster: name,
          trustDomain: trustDomain(name),
          spireVersion: this.versionOf(name),
          healthy: parts.length > 0 && parts.every(({ state }) => state === 'running'),
          parts,
        };
      }),
      faults: this.state.faults.map(describeFault),
      inventory: this.paths.inventory,
    };
  }

  async addFault(fault: Fault): Promise<void> {
    this.requireKnown(fault);
    this.state.faults = [...this.state.faults.filter((each) => !sameLink(each, fault)), fault];
    this.save();
    if (fault.kind === 'stop-server') await this.clusters.get(fault.cluster)?.stopServer();
    else if (fault.kind === 'api-down') await this.clusters.get(fault.cluster)?.stopApi();
    else this.linksChanged();
  }

  /** Takes one fault away, or all of them. */
  async heal(fault?: Fault): Promise<void> {
    const healed = this.state.faults.filter((each) => fault === undefined || sameFault(each, fault));
    this.state.faults = this.state.faults.filter((each) => !healed.includes(each));
    this.save();
    for (const each of healed) {
      if (each.kind === 'stop-server') this.clusters.get(each.cluster)?.startServer();
      else if (each.kind === 'api-down') await this.clusters.get(each.cluster)?.startApi();
    }
    this.linksChanged();
  }

  async rotateCa(cluster: string, revoke: boolean): Promise<void> {
    this.requireKnown({ kind: 'stop-server', cluster });
    await this.clusters.get(cluster)?.rotateCa({ revoke });
  }

  async down(): Promise<void> {
    await Promise.all([...this.clusters.values()].map((cluster) => cluster.stop()));
    await Promise.all([...this.proxies.values()].map((proxy) => proxy.close()));
  }

  private versionOf(cluster: string): SpireVersion {
    return this.state.spireVersions[cluster] ?? DEFAULT_SPIRE_VERSION;
  }

  private requireKnown(fault: Fault): void {
    const named = 'cluster' in fault ? [fault.cluster] : [fault.from, fault.to].filter((name) => name !== 'engine');
    const unknown = named.filter((name) => !this.state.clusters.includes(name));
    if (unknown.length > 0) {
      throw new Error(
        `There is no cluster ${unknown.join(', ')} in this sandbox. It has: ${this.state.clusters.join(', ')}.`,
      );
    }
  }

  private linksChanged(): void {
    for (const proxy of this.proxies.values()) proxy.linkChanged();
  }

  private async cluster(name: string, index: number, onProgress: (message: string) => void): Promise<SandboxCluster> {
    const known = this.clusters.get(name);
    if (known !== undefined) return known;
    const proxyUrl = await this.proxyFor(name);
    const cluster = await SandboxCluster.create({
      name,
      directory: path.join(this.paths.directory, name),
      sockets: path.join(this.paths.sockets, String(index)),
      records: this.paths.processes,
      addresses: new ClusterAddresses(this.state.block, index),
      spireVersion: this.versionOf(name),
      proxyUrl,
      webAuthority: await this.webAuthority(),
      onProgress,
    });
    this.clusters.set(name, cluster);
    return cluster;
  }

  private webAuthority(): Promise<Authority> {
    return (this.authority ??= webAuthority(this.paths.webPki));
  }

  /** Everyone has a proxy of their own, so that it is known whose traffic it is. */
  private async proxyFor(source: string): Promise<string> {
    const known = this.proxies.get(source);
    const proxy =
      known ??
      (await startRouteProxy({
        port: 0,
        source,
        resolve: (host, port) => this.resolve(host, port),
        link: (from, to) => linkFault(this.state.faults, from, to),
      }));
    this.proxies.set(source, proxy);
    return `http://127.0.0.1:${proxy.port}`;
  }

  private async resolve(host: string, port: number): Promise<RouteTarget | undefined> {
    for (const [name, cluster] of this.clusters) {
      const backend = await cluster.resolve(host, port);
      if (backend !== undefined) return { cluster: name, ...backend };
    }
    return undefined;
  }

  private async writeInventory(): Promise<void> {
    const inventory = {
      httpsProxy: await this.proxyFor('engine'),
      clusters: this.state.clusters.map((name) => ({ name, kubeconfig: { path: `${name}/engine.kubeconfig` } })),
    };
    writeAtomically(this.paths.inventory, stringify(inventory));
  }

  private save(): void {
    writeAtomically(this.paths.state, JSON.stringify(this.state, undefined, 2));
  }
}

/** Two faults of one link exclude each other. */
function sameLink(a: Fault, b: Fault): boolean {
  return 'from' in a && 'from' in b ? a.from === b.from && a.to === b.to : sameFault(a, b);
}

/** Takes a range of addresses that no other sandbox of this machine uses, the earlier one if possible. */
async function reserveBlock(earlier: number): Promise<number> {
  const range = Array.from({ length: LAST_BLOCK - FIRST_BLOCK }, (_, index) => FIRST_BLOCK + index);
  for (const block of earlier > 0 ? [earlier, ...range] : range) {
    const reservation = await listen(`127.${block}.0.1`, RESERVATION_PORT);
    if (reservation === undefined) continue;
    if (!(await isOccupied(block))) return block;
    reservation.close();
  }
  throw new Error('Too many sandboxes run on this machine: no addresses are left.');
}

/** Whether API servers listen in a range: those of a sandbox whose supervisor was killed, with nobody to reserve it. */
async function isOccupied(block: number): Promise<boolean> {
  const servers = await Promise.all(
    Array.from({ length: CHECKED_CLUSTERS }, async (_, index) => {
      const server = await listen(new ClusterAddresses(block, index).host, API_SERVER_PORT);
      server?.close();
      return server;
    }),
  );
  return servers.includes(undefined);
}

function listen(host: string, port: number): Promise<net.Server | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, host, () => resolve(server));
  });
}

function writeAtomically(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

async function readBody(request: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  return text === '' ? {} : JSON.parse(text);
}

/** Serves the command line over a unix socket. Answers are lines of JSON: progress, then a result or an error. */
async function main(directory: string): Promise<void> {
  const paths = sandboxPaths(directory);
  const supervisor = new Supervisor(paths);
  await supervisor.start();
  let down: Promise<void> | undefined;
  const server = http.createServer((request, response) => {
    const line = (value: object) => response.write(`${JSON.stringify(value)}\n`);
    const answer = async (): Promise<unknown> => {
      const body = (await readBody(request)) as {
        clusters?: number;
        spireVersions?: SpireVersionChoice;
        operators?: string[];
        fault?: Fault;
        cluster?: string;
        revoke?: boolean;
      };
      switch (request.url) {
        case '/up':
          await supervisor.up(body.clusters ?? 2, body, (message) => line({ progress: message }));
          return supervisor.status();
        case '/status':
          return supervisor.status();
        case '/fault':
          if (body.fault !== undefined) await supervisor.addFault(body.fault);
          return supervisor.status();
        case '/heal':
          await supervisor.heal(body.fault);
          return supervisor.status();
        case '/rotate-ca':
          await supervisor.rotateCa(body.cluster ?? '', body.revoke ?? false);
          return supervisor.status();
        case '/down':
          await (down ??= supervisor.down());
          return {};
        default:
          throw new Error(`The supervisor knows no ${request.url}.`);
      }
    };
    answer()
      .then(
        (result) => line({ result }),
        (error: unknown) => line({ error: (error as Error).message }),
      )
      .finally(() => {
        response.end();
        if (down !== undefined) setTimeout(() => process.exit(0), 50);
      });
  });
  rmSync(paths.control, { force: true });
  server.listen(paths.control);
  const end = () => {
    void (down ??= supervisor.down()).then(() => process.exit(0));
  };
  process.once('SIGTERM', end);
  process.on('SIGINT', () => undefined);
  process.on('unhandledRejection', (error) => console.error('unhandled:', error));
}

const [, , directory] = process.argv;
if (directory === undefined) {
  console.error('usage: supervisor <directory>');
  process.exit(2);
}
await main(directory);
