import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { ControlPlane } from './controlPlane.js';
import type { Authority } from './authority.js';
import type { Backend, Entrance } from './entrance.js';
import { IngressController, ingressClass } from './ingressController.js';
import { ApiError, ClusterApi, eventually, type Resource } from './kubernetes.js';
import { type ClusterAddresses, loopback, nodeName, SPIRE_NAMESPACE } from './layout.js';
import { DELEGATE_ENTRY, delegateEntry, nodeManifest, nodeStatus, spireManifests } from './manifests.js';
import { OperatorStandIn } from './operatorStandIn.js';
import { clusterPki, writeKubeconfig, type ClusterPki } from './pki.js';
import { PodRuntime } from './podRuntime.js';
import { projectRoot } from './projectRoot.js';
import { Router } from './router.js';
import { ServiceEntrance } from './serviceEntrance.js';
import type { SpireVersion } from './spireVersions.js';
import { toolAsset } from './tools/toolPath.js';
import { webPkiManifests } from './webPki.js';

const run = promisify(execFile);

const ENGINE_ACCOUNT = { namespace: 'spire-federator', name: 'spire-federator' };
/** Last octet of the Ingress controller's address. */
const INGRESS_NUMBER = 1;
const SERVER_POD = `${SPIRE_NAMESPACE}/spire-server-0`;
/** Runs a command of SPIRE server. @returns what it printed */
type SpireCommand = (...args: string[]) => Promise<string>;

/** An agent hears of a tainted CA with its next synchronisation, which it does every 5 s. */
const AGENTS_WITHIN_MS = 30_000;
/** SPIRE server sees every 5 s whether it needs another SVID, as when its CA was tainted. */
const ROTATOR_MS = 10_000;

/** Port of SPIRE server's API for agents, which it authenticates with its own SVID. */
const SPIRE_PORT = 8081;
const TOKEN_SECONDS = 365 * 24 * 3600;

export interface PartView {
  part: string;
  state: 'running' | 'stopped' | 'restarting';
  detail?: string;
  /** The last lines of its log, when it does not run. */
  log?: string[];
}

export interface ClusterOptions {
  name: string;
  directory: string;
  sockets: string;
  records: string;
  addresses: ClusterAddresses;
  spireVersion: SpireVersion;
  /** Proxy through which this cluster's processes reach the others. */
  proxyUrl: string;
  webAuthority: Authority;
  onProgress: (message: string) => void;
}

/** One real cluster of the sandbox. */
export class SandboxCluster {
  /** Every way in, in the order in which they are asked. */
  private readonly entrances: readonly Entrance[];

  private constructor(
    private readonly options: ClusterOptions,
    private readonly pki: ClusterPki,
    private readonly api: ClusterApi,
    private readonly controlPlane: ControlPlane,
    private readonly pods: PodRuntime,
  ) {
    const { name, addresses } = options;
    this.entrances = [
      new Router(name, api),
      new IngressController(name, api, addresses.loadBalancerIp(INGRESS_NUMBER)),
      new ServiceEntrance(name, api, addresses),
    ];
  }

  static async create(options: ClusterOptions): Promise<SandboxCluster> {
    const { name, directory, records, addresses, proxyUrl, sockets } = options;
    const pki = await clusterPki(path.join(directory, 'pki'), addresses.host);
    const api = new ClusterApi(addresses.apiServer, pki.ca, pki.admin);
    const controlPlane = new ControlPlane(name, directory, records, addresses, pki);
    const pods = new PodRuntime(
      {
        cluster: name,
        api,
        server: addresses.apiServer,
        ca: pki.ca,
        podsFolder: path.join(directory, 'pods'),
        socketsFolder: sockets,
        hostFolder: path.join(directory, 'host'),
        env: { HTTPS_PROXY: proxyUrl, NO_PROXY: '127.0.0.0/8,localhost' },
        records,
      },
      addresses,
    );
    return new SandboxCluster(options, pki, api, controlPlane, pods);
  }

  get name(): string {
    return this.options.name;
  }

  get kubeconfig(): string {
    return path.join(this.options.directory, 'kubeconfig');
  }

  get engineKubeconfig(): string {
    return path.join(this.options.directory, 'engine.kubeconfig');
  }

  /** Starts what does not run and makes what is not there; returns when SPIRE works. */
  async start(): Promise<void> {
    const { name, addresses, spireVersion, onProgress } = this.options;
    const { ca, admin } = this.pki;
    await this.controlPlane.startApiServer(this.api);
    writeKubeconfig(this.kubeconfig, { name, server: addresses.apiServer, ca, user: admin });
    const webPki = await webPkiManifests(this.options.webAuthority, name);
    const [core, custom] = partition(
      spireManifests(name, spireVersion, webPki),
      ({ apiVersion }) => !apiVersion.startsWith('spire.'),
    );
    const startWorkloads = async (): Promise<void> => {
      await this.controlPlane.startControllers(this.api);
      onProgress(`${name}: API server ready`);
      await this.createAll([nodeManifest(name), ingressClass(), ...core]);
    };
    // CRDs first of all: objects of a new kind can be made only some seconds after the kind is known to the API server.
    await Promise.all([this.applyCrds(), startWorkloads()]);
    await Promise.all([
      this.controlPlane.startKwok(),
      this.api.request(`/api/v1/nodes/${nodeName(name)}/status`, {
        method: 'PATCH',
        contentType: 'application/merge-patch+json',
        body: { status: nodeStatus(addresses) },
      }),
    ]);
    if (!this.started) {
      this.pods.start();
      for (const entrance of this.entrances) entrance.start();
      this.started = true;
    }
    await Promise.all([this.applyMissing(custom), this.applyEngineAccount(), this.allowDelegate()]);
    await eventually(`${name}: SPIRE server and agent are ready`, () => this.requireReady(), 120_000);
    onProgress(`${name}: SPIRE ${spireVersion} ready`);
  }

  private started = false;
  private operator: OperatorStandIn | undefined;

  /** Has SPIRE configured by the stand-in for ZTWIM's operator from now on. */
  async startOperator(): Promise<void> {
    if (this.operator !== undefined) return;
    this.operator = new OperatorStandIn(this.name, this.options.spireVersion, this.api);
    await this.operator.start();
    await eventually(`${this.name}: SPIRE is ready under its operator`, () => this.requireReady(), 120_000);
    this.options.onProgress(`${this.name}: operator's stand-in ready`);
  }

  async stop(): Promise<void> {
    await this.operator?.stop();
    await Promise.all(this.entrances.map((entrance) => entrance.stop()));
    await this.pods.stop();
    await this.controlPlane.stop();
    this.api.close();
  }

  /** What is behind a host (or address) and port by which the cluster is entered; undefined when nothing is. */
  async resolve(host: string, port: number): Promise<Backend | undefined> {
    for (const entrance of this.entrances) {
      const backend = await entrance.resolve(host, port);
      if (backend !== undefined) return backend;
    }
    return undefined;
  }

  /** Every process of the cluster and how it does. */
  view(): PartView[] {
    const parts = [...this.controlPlane.parts].map(([part, { running, ending }]): PartView =>
      running
        ? { part, state: 'running', ...restartDetail(this.controlPlane.givenUp.get(part)) }
        : { part, state: 'stopped', detail: ending ?? 'not started', log: tail(this.controlPlane.logFile(part)) },
    );
    const containers = this.pods.view().flatMap((pod) =>
      pod.containers.map(({ name, running, restarts, lastExit, logFile }): PartView => ({
        part: `${pod.name.replace(`${SPIRE_NAMESPACE}/`, '')} ${name}`,
        state: running ? 'running' : 'restarting',
        ...(restarts > 0
          ? { detail: restartsText(restarts, lastExit) }
          : lastExit === undefined
            ? {}
            : { detail: lastExit }),
        ...(running ? {} : { log: tail(logFile) }),
      })),
    );
    return [...parts, ...containers];
  }

  async stopServer(): Promise<void> {
    await this.serverContainer().hold();
  }

  startServer(): void {
    this.serverContainer().release();
  }

  async stopApi(): Promise<void> {
    await this.controlPlane.stopApiServer();
  }

  async startApi(): Promise<void> {
    await this.controlPlane.startApiServer(this.api);
    await Promise.all([this.controlPlane.startControllers(this.api), this.controlPlane.startKwok()]);
    // kwok listens before it knows in which containers it may run something. Those of pods that end meanwhile do not count.
    await eventually(`${this.name}: commands run in its pods`, () =>
      Promise.all(this.pods.running().map((pod) => pod.requireExec())),
    );
  }

  /** Makes SPIRE server change its CA, and forget the old one when asked to. */
  async rotateCa({ revoke }: { revoke: boolean }): Promise<void> {
    const container = this.serverContainer();
    const command = async (...args: string[]) => {
      const { stdout } = await run('./spire-server', args, { cwd: container.folder, env: container.environment() });
      return stdout;
    };
    const authorities = async () => {
      const bundle = JSON.parse(await command('bundle', 'show', '-format', 'spiffe')) as { keys: { x5c?: string[] }[] };
      return bundle.keys.flatMap(({ x5c = [] }) => x5c);
    };
    const known = await authorities();
    const prepared = JSON.parse(await command('localauthority', 'x509', 'prepare', '-output', 'json')) as {
      prepared_authority: { authority_id: string };
    };
    const before = JSON.parse(await command('localauthority', 'x509', 'show', '-output', 'json')) as {
      active?: { authority_id: string };
    };
    await command('localauthority', 'x509', 'activate', '-authorityID', prepared.prepared_authority.authority_id);
    if (!revoke || before.active === undefined) return;
    const agents = await this.agentSerials(command);
    await command('localauthority', 'x509', 'taint', '-authorityID', before.active.authority_id);
    await this.awaitAgents(command, agents);
    await command('localauthority', 'x509', 'revoke', '-authorityID', before.active.authority_id);
    const made = (await authorities())
      .filter((der) => !known.includes(der))
      .map((der) => new X509Certificate(Buffer.from(der, 'base64')));
    const presentsNew = async (withinMs?: number) =>
      eventually(
        `${this.name}: SPIRE server presents an SVID of its new CA`,
        async () => {
          const presented = await presentedCertificate(loopback(this.pods.find(SERVER_POD)?.podIp ?? ''), SPIRE_PORT);
          if (!made.some(({ publicKey }) => presented.verify(publicKey))) throw new Error('it is of an old one');
        },
        withinMs,
      );
    try {
      await presentsNew(ROTATOR_MS);
    } catch (error) {
      // It is of a CA before the one that is gone: after a rotation it stays that for as long as it is valid.
      console.error((error as Error).message);
      await container.hold();
      container.release();
      await presentsNew();
    }
  }

  /**
   * An agent that hears that its CA is tainted asks for another SVID; one that still has the old one when that CA is
   * revoked is locked out for good. An agent that cannot hear of it, as it rests after an outage, is started anew.
   */
  private async awaitAgents(command: SpireCommand, before: ReadonlyMap<string, string>): Promise<void> {
    try {
      await eventually(
        `${this.name}: agents hold SVIDs of the new CA`,
        async () => {
          const now = await this.agentSerials(command);
          const old = [...before].filter(([id, serial]) => now.get(id) === serial);
          if (old.length > 0) throw new Error(`${old.map(([id]) => id).join(', ')} does not yet`);
        },
        AGENTS_WITHIN_MS,
        500,
      );
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      console.error(error.message);
      const pods = await this.api.request<{ items: Resource[] }>(`/api/v1/namespaces/${SPIRE_NAMESPACE}/pods`);
      const agents = pods.items.filter(({ metadata }) => metadata.name.startsWith('spire-agent'));
      for (const { metadata } of agents) {
        await this.api.delete(`/api/v1/namespaces/${SPIRE_NAMESPACE}/pods/${metadata.name}`);
      }
    }
  }

  /** Serial number of each agent's SVID, by its SPIFFE ID's path. */
  private async agentSerials(command: SpireCommand): Promise<Map<string, string>> {
    const { agents = [] } = JSON.parse(await command('agent', 'list', '-output', 'json')) as {
      agents?: { id: { path: string }; x509svid_serial_number: string }[];
    };
    return new Map(agents.map(({ id, x509svid_serial_number: serial }) => [id.path, serial]));
  }

  private serverContainer() {
    const pod = this.pods.find(SERVER_POD);
    const container = pod?.containers.find(({ spec }) => spec.name === 'spire-server');
    if (container === undefined) throw new Error(`${this.name}: SPIRE server's pod does not run`);
    return container;
  }

  private async applyCrds(): Promise<void> {
    const crds = (['kwok-crds', 'spire-crds', 'openshift-crds'] as const).flatMap((asset) => {
      const folder = toolAsset(asset);
      return readdirSync(folder)
        .filter((file) => file.endsWith('.yaml'))
        .flatMap((file) => documents(readFileSync(path.join(folder, file), 'utf8')));
    });
    const wanted = crds.filter(
      ({ kind, metadata }) => kind === 'CustomResourceDefinition' && !UNUSED_CRDS.test(metadata.name),
    );
    await Promise.all(
      wanted.map((crd) => eventually(`${this.name}: ${crd.metadata.name} is taken`, () => this.createAll([crd]))),
    );
    const served = [
      '/apis/kwok.x-k8s.io/v1alpha1/execs',
      '/apis/kwok.x-k8s.io/v1alpha1/logs',
      '/apis/kwok.x-k8s.io/v1alpha1/stages',
      '/apis/spire.spiffe.io/v1alpha1/clusterspiffeids',
      '/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains',
      '/apis/spire.spiffe.io/v1alpha1/clusterstaticentries',
      '/apis/route.openshift.io/v1/routes',
    ];
    await Promise.all(
      served.map((at) => eventually(`${this.name}: ${at} is served`, () => this.api.request(`${at}?limit=1`))),
    );
  }

  /** Makes objects that are not there. What is there stays: it may have been changed on purpose since. */
  private async createAll(objects: Resource[]): Promise<void> {
    for (const object of objects) {
      try {
        await this.api.create(object);
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 409)) throw error;
      }
    }
  }

  /**
   * As createAll, for objects of kinds that are new. The API server holds each POST of a kind that was established less
   * than two seconds ago for two seconds, for the sake of its replicas (apiextensions-apiserver, customresource_handler.go,
   * serveResource), and an apply not; the sandbox has one replica.
   */
  private async applyMissing(objects: Resource[]): Promise<void> {
    for (const object of objects) if (!(await this.api.exists(object))) await this.api.apply(object);
  }

  /** The engine acts under an account of its own, with the permissions that the product ships. */
  private async applyEngineAccount(): Promise<void> {
    for (const file of ['rbac.yaml', 'rbac-workloads.yaml', 'rbac-exec.yaml']) {
      const rbac = documents(readFileSync(path.join(projectRoot(), 'deploy', file), 'utf8'));
      for (const object of rbac) await this.api.apply(object);
    }
    const { namespace, name } = ENGINE_ACCOUNT;
    const review = await this.api.request<{ status: { token: string } }>(
      `/api/v1/namespaces/${namespace}/serviceaccounts/${name}/token`,
      {
        method: 'POST',
        body: {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: { expirationSeconds: TOKEN_SECONDS },
        },
      },
    );
    writeKubeconfig(this.engineKubeconfig, {
      name: `${this.name}-engine`,
      server: this.options.addresses.apiServer,
      ca: this.pki.ca,
      user: { token: review.status.token },
    });
  }

  private async allowDelegate(): Promise<void> {
    const node = await this.api.request<Resource>(`/api/v1/nodes/${nodeName(this.name)}`);
    await this.applyMissing([delegateEntry(this.name, node.metadata.uid ?? '', process.getuid?.() ?? 0)]);
  }

  private async requireReady(): Promise<void> {
    const { items } = await this.api.request<{ items: Resource[] }>(`/api/v1/namespaces/${SPIRE_NAMESPACE}/pods`);
    const ready = items.filter((pod) =>
      (pod['status'] as { conditions?: { type: string; status: string }[] }).conditions?.some(
        ({ type, status }) => type === 'Ready' && status === 'True',
      ),
    );
    if (ready.length < 2) throw new Error(`${ready.length} of 2 pods are ready`);
    // SPIRE controller manager begins with an entry of its own, to see what SPIRE can do. A status comes after the entries
    // that were asked for; its `set` is true only for a while.
    const entry = await this.api.request<Resource & { status?: { rendered?: boolean } }>(
      `/apis/spire.spiffe.io/v1alpha1/clusterstaticentries/${DELEGATE_ENTRY}`,
    );
    if (entry.status?.rendered !== true) throw new Error('SPIRE controller manager has not made its first entry');
  }
}

/** kwok's kinds that the sandbox has no use for. */
const UNUSED_CRDS =
  /^(metrics|attaches|clusterattaches|portforwards|clusterportforwards|resourceusages|clusterresourceusages|clusterexecs|clusterlogs)\./;

function restartDetail(endings: readonly string[] = []): { detail?: string } {
  return endings.length === 0 ? {} : { detail: restartsText(endings.length, endings.at(-1)) };
}

function restartsText(restarts: number, last = ''): string {
  return `${restarts} restarts, last: ${last}`;
}

function partition<T>(all: T[], isFirst: (each: T) => boolean): [T[], T[]] {
  return [all.filter(isFirst), all.filter((each) => !isFirst(each))];
}

function documents(text: string): Resource[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Resource | null)
    .filter((object) => object !== null);
}

/** The last lines of a log. */
export function tail(file: string, lines = 8): string[] {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines);
  } catch {
    return [];
  }
}

/** The certificate with which somebody answers on a TLS port, whoever vouches for it. */
function presentedCertificate(host: string, port: number): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host, port, rejectUnauthorized: false }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      if (certificate === undefined) reject(new Error('no certificate was presented'));
      else resolve(certificate);
    });
    socket.once('error', reject);
  });
}
