import { createHash } from 'node:crypto';
import http from 'node:http';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Container, hostEnvironment, mountsEnvironment, type ContainerSpec } from './container.js';
import { knownImage } from './images.js';
import { ApiError, eventually, NoExec, type ClusterApi, type Resource } from './kubernetes.js';
import { loopback } from './layout.js';
import { connects } from './ports.js';
import {
  mountVolumes,
  NotMountable,
  SPIFFE_CSI_DRIVER,
  type MountedVolumes,
  type Volume,
  type VolumeHost,
} from './volumes.js';

export interface PodHost extends Omit<VolumeHost, 'podFolder' | 'socketFolder' | 'log'> {
  api: ClusterApi;
  podsFolder: string;
  socketsFolder: string;
  hostIp: string;
  hosts: Record<string, string>;
  env: Record<string, string>;
  records: string;
}

/** Pause before something that failed is tried again. */
const RETRY_MS = 100;
const PROBE_INTERVAL_MS = 50;
const SETTLED_PROBE_INTERVAL_MS = 1_000;

/** One pod: its volumes, its containers as processes, its status as a kubelet would report it. */
export class Pod {
  readonly containers: Container[] = [];
  readonly folder: string;
  private readonly startedAt = new Date().toISOString();
  private readonly ready = new Map<string, boolean>();
  private readonly stopping = new AbortController();
  private volumes: MountedVolumes | undefined;
  private served = false;
  private waiting = 'ContainerCreating';
  private waitingMessage = '';
  private reporting: Promise<void> | undefined;
  private reportAgain = false;
  private ended: Promise<void> | undefined;

  constructor(
    private pod: Resource,
    readonly podIp: string,
    private readonly socketFolder: string,
    private readonly host: PodHost,
  ) {
    const { namespace, name } = pod.metadata;
    this.folder = path.join(host.podsFolder, `${namespace}_${name}`);
  }

  get name(): string {
    return `${this.pod.metadata.namespace}/${this.pod.metadata.name}`;
  }

  get uid(): string {
    return this.pod.metadata.uid ?? '';
  }

  private get specs(): ContainerSpec[] {
    return (this.pod['spec'] as { containers: ContainerSpec[] }).containers;
  }

  private get isKnown(): boolean {
    return this.specs.some(({ image }) => knownImage(image) !== undefined);
  }

  /** Of a pod that only seems to run, the volumes through which it would get its identity; of others, all. */
  private get mountable(): Volume[] {
    const { volumes = [] } = this.pod['spec'] as { volumes?: Volume[] };
    return this.isKnown ? volumes : volumes.filter(({ csi }) => csi?.driver === SPIFFE_CSI_DRIVER);
  }

  /** Local folder of a volume, once mounted. */
  volumeFolder(name: string): string | undefined {
    return this.volumes?.folders.get(name);
  }

  /** Mounts, starts and then keeps the status true, until stopped. */
  async run(): Promise<void> {
    const { signal } = this.stopping;
    try {
      if (!(await this.mount(signal))) return;
      const containerHost = {
        podFolder: this.folder,
        address: loopback(this.podIp),
        folders: this.volumes?.folders ?? new Map<string, string>(),
        hosts: this.host.hosts,
        env: this.host.env,
        records: this.host.records,
        recordName: `${this.host.cluster}/pod/${this.name}/`,
      };
      for (const spec of this.specs.filter(({ image }) => knownImage(image) !== undefined)) {
        this.containers.push(new Container(spec, containerHost, () => void this.report()));
      }
      if (this.containers.length > 0 || this.mountable.length > 0) {
        if (!(await this.untilHeard('exec and logs', () => this.serveExecAndLogs(), signal))) return;
      }
      for (const container of this.containers) container.start();
      await this.report();
      await Promise.all([
        this.untilHeard('exec', () => this.requireExec(), signal),
        ...this.containers.map((container) => this.probe(container, signal)),
      ]);
    } catch (error) {
      if (!signal.aborted) console.error(`pod ${this.name}: ${(error as Error).stack}`);
    }
  }

  update(pod: Resource): void {
    this.pod = pod;
  }

  /** Ends the processes and gives up the volumes. */
  async stop(): Promise<void> {
    this.ended ??= (async () => {
      this.stopping.abort();
      await Promise.all(this.containers.map((container) => container.stop(5_000)));
      await this.volumes?.close();
    })();
    await this.ended;
  }

  /** Lets the API server forget the pod, once it is stopped; tried until the API server has heard it. */
  async forget(): Promise<void> {
    const { namespace, name, uid } = this.pod.metadata;
    const kwok = `/apis/kwok.x-k8s.io/v1alpha1/namespaces/${namespace}`;
    rmSync(this.socketFolder, { recursive: true, force: true });
    await eventually(
      `pod ${this.name} is forgotten`,
      async () => {
        if (this.served) {
          await Promise.all([
            this.host.api.delete(`${kwok}/execs/${name}`),
            this.host.api.delete(`${kwok}/logs/${name}`),
          ]);
        }
        await this.deletePod(`/api/v1/namespaces/${namespace}/pods/${name}`, uid);
      },
      10 * 60_000,
      200,
    );
  }

  private async deletePod(at: string, uid: string | undefined): Promise<void> {
    try {
      await this.host.api.request(at, { method: 'DELETE', body: { gracePeriodSeconds: 0, preconditions: { uid } } });
    } catch (error) {
      // Gone already, or another one of that name is there: both are what was wanted.
      if (!(error instanceof ApiError && [404, 409].includes(error.status))) throw error;
    }
  }

  /** Volumes that cannot be mounted yet are tried again, and the pod says why it waits. */
  private async mount(signal: AbortSignal): Promise<boolean> {
    mkdirSync(this.folder, { recursive: true });
    mkdirSync(this.socketFolder, { recursive: true, mode: 0o700 });
    if (this.mountable.length === 0) return !signal.aborted;
    while (!signal.aborted) {
      try {
        this.volumes = await mountVolumes(this.pod, this.mountable, {
          ...this.host,
          podFolder: this.folder,
          socketFolder: this.socketFolder,
          log: (message) => console.error(`pod ${this.name}: ${message}`),
        });
        return true;
      } catch (error) {
        if (!isTransient(error)) throw error;
        this.waitingMessage = error.message;
        await this.report();
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
    return false;
  }

  /** Does something until the API server has heard it; false once the pod is stopped. */
  private async untilHeard(what: string, attempt: () => Promise<void>, signal: AbortSignal): Promise<boolean> {
    for (let said = ''; !signal.aborted;) {
      try {
        await attempt();
        return !signal.aborted;
      } catch (error) {
        if (!isTransient(error)) throw error;
        if (error.message !== said) console.error(`pod ${this.name}: ${what}: ${error.message}`);
        said = error.message;
        await delay(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
    return false;
  }

  /**
   * Sees whether commands run in every container. kwok keeps what it made of its objects by the last version it
   * heard of, which it knows a moment before the object: asked in this moment, it would not know an object until the next one
   * changes (kwok 0.8, config/resources/cache.go). So the object of a pod of which it does not know is changed.
   * @throws NoExec of the first container in which none can be run, yet
   */
  async requireExec(): Promise<void> {
    const { namespace = '', name } = this.pod.metadata;
    if (!this.served) return;
    try {
      await Promise.all(this.specs.map((spec) => this.host.api.tryExec(namespace, name, spec.name)));
    } catch (error) {
      if (!this.stopping.signal.aborted && error instanceof NoExec && error.message.includes('no exec found')) {
        await this.serveExecAndLogs({ changed: new Date().toISOString() });
      }
      throw error;
    }
  }

  private async serveExecAndLogs(annotations: Record<string, string> = {}): Promise<void> {
    const { namespace = '', name } = this.pod.metadata;
    const metadata = { name, namespace, annotations };
    const apiVersion = 'kwok.x-k8s.io/v1alpha1';
    const folders = this.volumes?.folders ?? new Map<string, string>();
    const execs = this.specs.map((spec) => {
      const container = this.containers.find((each) => each.spec.name === spec.name);
      const environment = { ...(container?.environment() ?? hostEnvironment()), ...mountsEnvironment(spec, folders) };
      return {
        containers: [spec.name],
        local: {
          workDir: container?.folder ?? this.folder,
          envs: Object.entries(environment).map(([key, value]) => ({ name: key, value })),
        },
      };
    });
    this.served = true;
    await Promise.all([
      this.host.api.apply({
        apiVersion,
        kind: 'Exec',
        metadata,
        spec: { execs },
      }),
      this.host.api.apply({
        apiVersion,
        kind: 'Logs',
        metadata,
        spec: {
          logs: this.containers.map((container) => ({
            containers: [container.spec.name],
            logsFile: container.logFile,
            follow: true,
          })),
        },
      }),
    ]);
  }

  /** Keeps a container's readiness true: often while it starts, seldom once it is ready. */
  private async probe(container: Container, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const ready = container.state.running && (await this.answers(container.spec));
      if (this.ready.get(container.spec.name) !== ready) {
        this.ready.set(container.spec.name, ready);
        await this.report();
      }
      const interval = ready ? SETTLED_PROBE_INTERVAL_MS : PROBE_INTERVAL_MS;
      await delay(interval, undefined, { signal }).catch(() => undefined);
    }
  }

  private async answers({ readinessProbe, ports = [] }: ContainerSpec): Promise<boolean> {
    const check = readinessProbe?.httpGet ?? readinessProbe?.tcpSocket;
    if (check === undefined) return true;
    const port =
      typeof check.port === 'number' ? check.port : (ports.find(({ name }) => name === check.port)?.containerPort ?? 0);
    const address = loopback(this.podIp);
    return 'path' in check || readinessProbe?.httpGet !== undefined
      ? httpAnswers(address, port, readinessProbe?.httpGet?.path ?? '/')
      : connects(port, address);
  }

  /** Writes the status, one write at a time; what changes meanwhile is written next. */
  private async report(): Promise<void> {
    if (this.reporting !== undefined) {
      this.reportAgain = true;
      return this.reporting;
    }
    this.reporting = (async () => {
      do {
        this.reportAgain = false;
        await this.untilHeard('status', () => this.writeStatus(), this.stopping.signal);
      } while (this.reportAgain);
    })();
    try {
      await this.reporting;
    } finally {
      this.reporting = undefined;
    }
  }

  private async writeStatus(): Promise<void> {
    const { namespace, name } = this.pod.metadata;
    const statuses = this.specs.map((spec) => this.containerStatus(spec));
    const allReady = statuses.every(({ ready }) => ready);
    const started = statuses.every(
      ({ state }) => !('waiting' in state) || state.waiting?.reason === 'CrashLoopBackOff',
    );
    const condition = (type: string, status: boolean) => ({
      type,
      status: status ? 'True' : 'False',
      lastTransitionTime: new Date().toISOString().replace(/\.\d+Z/, 'Z'),
    });
    try {
      await this.host.api.patch(`/api/v1/namespaces/${namespace}/pods/${name}/status`, {
        // Another pod of that name is none of this one's business.
        metadata: { uid: this.uid },
        status: {
          phase: started ? 'Running' : 'Pending',
          hostIP: this.host.hostIp,
          podIP: this.podIp,
          podIPs: [{ ip: this.podIp }],
          startTime: this.startedAt.replace(/\.\d+Z/, 'Z'),
          conditions: [
            condition('PodScheduled', true),
            condition('Initialized', true),
            condition('ContainersReady', allReady),
            condition('Ready', allReady),
          ],
          containerStatuses: statuses,
        },
      });
    } catch (error) {
      // The pod went away under our hands.
      if (!(error instanceof ApiError && [404, 409].includes(error.status))) throw error;
    }
  }

  private containerStatus(spec: ContainerSpec) {
    const container = this.containers.find((each) => each.spec === spec || each.spec.name === spec.name);
    const common = {
      name: spec.name,
      image: spec.image,
      imageID: imageId(spec.image),
      containerID: `sandbox://${this.uid}-${spec.name}`,
    };
    const mounted = this.mountable.length === 0 || this.volumes !== undefined;
    if (!mounted) {
      const state = { waiting: { reason: this.waiting, message: this.waitingMessage } };
      return { ...common, ready: false, started: false, restartCount: 0, state };
    }
    if (container === undefined) {
      return {
        ...common,
        ready: true,
        started: true,
        restartCount: 0,
        state: { running: { startedAt: this.startedAt } },
      };
    }
    const { running, restartCount, startedAt = this.startedAt, lastExit } = container.state;
    const terminated =
      lastExit === undefined
        ? undefined
        : {
            exitCode: Number(/exit code (\d+)/.exec(lastExit)?.[1] ?? 137),
            reason: 'Error',
            message: lastExit,
            startedAt,
            finishedAt: new Date().toISOString(),
          };
    return {
      ...common,
      ready: running && (this.ready.get(spec.name) ?? false),
      started: running,
      restartCount,
      state: running
        ? { running: { startedAt } }
        : {
            waiting: {
              reason: lastExit === undefined ? 'ContainerCreating' : 'CrashLoopBackOff',
              message: lastExit ?? '',
            },
          },
      ...(terminated === undefined ? {} : { lastState: { terminated } }),
    };
  }
}

/** An image as a runtime names it, by a digest: here, of what its name stands for. */
function imageId(image: string): string {
  const digest = createHash('sha256').update(knownImage(image)?.tool ?? image);
  return `${image.replace(/[:@][^/]*$/, '')}@sha256:${digest.digest('hex')}`;
}

/** Whether trying again may help: what is to be mounted is not there yet, or the API server did not do what was asked. */
function isTransient(error: unknown): error is Error {
  if (error instanceof NotMountable || error instanceof ApiError || error instanceof NoExec) return true;
  // What the network says has a code, or is this program's own word on an answer that did not come.
  return error instanceof Error && ('syscall' in error || 'code' in error || /no answer within/.test(error.message));
}

function httpAnswers(host: string, port: number, path_: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get({ host, port, path: path_, timeout: 1_000, agent: false }, (response) => {
      response.resume();
      resolve((response.statusCode ?? 500) < 400);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
    request.once('close', () => resolve(false));
  });
}
