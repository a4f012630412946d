import path from 'node:path';
import type { Resource } from './kubernetes.js';
import { nodeName, SPIRE_NAMESPACE, type ClusterAddresses } from './layout.js';
import { AGENT_ADMIN_SOCKET } from './manifests.js';
import { Pod, type PodHost } from './pod.js';

/** Where SPIRE server's pod is, always: its agents must find it again after a restart. */
const SERVER_POD = `${SPIRE_NAMESPACE}/spire-server-0`;

export interface PodView {
  name: string;
  containers: { name: string; running: boolean; restarts: number; lastExit?: string; logFile: string }[];
}

/** Plays the kubelet of a cluster's only node: runs the pods that the scheduler placed on it. */
export class PodRuntime {
  private readonly pods = new Map<string, Pod>();
  private readonly numbers = new Map<string, number>();
  private readonly ending = new Set<string>();
  private readonly watching = new AbortController();
  private watch: Promise<void> | undefined;
  private readonly host: PodHost;
  private stopping = false;

  constructor(
    host: Omit<PodHost, 'hosts' | 'adminSocket' | 'hostIp'>,
    private readonly addresses: ClusterAddresses,
  ) {
    this.numbers.set(SERVER_POD, 10);
    this.host = {
      ...host,
      hostIp: addresses.advertised,
      hosts: { [`spire-server.${SPIRE_NAMESPACE}`]: addresses.podIp(10).replace(/^10\./, '127.') },
      adminSocket: () => this.agentAdminSocket(),
    };
  }

  start(): void {
    const selector = encodeURIComponent(`spec.nodeName=${nodeName(this.host.cluster)}`);
    this.watch = this.host.api.watch(
      `/api/v1/pods?fieldSelector=${selector}`,
      (type, object) => this.onChange(type, object),
      this.watching.signal,
    );
  }

  find(name: string): Pod | undefined {
    return [...this.pods.values()].find((pod) => pod.name === name);
  }

  /** Pods with a container that runs as a process. */
  running(): Pod[] {
    return [...this.pods.values()].filter(({ containers }) => containers.some(({ state }) => state.running));
  }

  /** Known pods and their processes. */
  view(): PodView[] {
    return [...this.pods.values()]
      .filter((pod) => pod.containers.length > 0)
      .map((pod) => ({
        name: pod.name,
        containers: pod.containers.map(({ spec, state, logFile }) => ({
          name: spec.name,
          running: state.running,
          restarts: state.restartCount,
          logFile,
          ...(state.lastExit === undefined ? {} : { lastExit: state.lastExit }),
        })),
      }));
  }

  /** Ends all processes; the pods stay in the API and start again with the sandbox. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.watching.abort();
    await this.watch;
    await Promise.all([...this.pods.values()].map((pod) => pod.stop()));
    this.pods.clear();
  }

  private onChange(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: Resource): void {
    if (this.stopping) return;
    const uid = object.metadata.uid ?? '';
    const known = this.pods.get(uid);
    if (type === 'DELETED' || object.metadata.deletionTimestamp !== undefined) {
      if (known === undefined && type !== 'DELETED') {
        this.end(uid, this.create(object));
      } else if (known !== undefined) {
        this.end(uid, known);
      }
      return;
    }
    if (known !== undefined) {
      known.update(object);
      return;
    }
    const pod = this.create(object);
    this.pods.set(uid, pod);
    void pod.run();
  }

  private end(uid: string, pod: Pod): void {
    if (this.ending.has(uid)) return;
    this.ending.add(uid);
    pod
      .stop()
      .then(() => (this.stopping ? undefined : pod.forget()))
      .catch((error: unknown) => console.error(`pod ${pod.name}: cannot be ended: ${(error as Error).message}`))
      .finally(() => {
        this.pods.delete(uid);
        this.ending.delete(uid);
      });
  }

  private create(object: Resource): Pod {
    const name = `${object.metadata.namespace}/${object.metadata.name}`;
    const number = this.numberOf(name);
    return new Pod(object, this.addresses.podIp(number), path.join(this.host.socketsFolder, String(number)), this.host);
  }

  /** A pod keeps its number, and so its address, over restarts. */
  private numberOf(name: string): number {
    const known = this.numbers.get(name);
    if (known !== undefined) return known;
    const taken = new Set(this.numbers.values());
    let number = 11;
    while (taken.has(number)) number++;
    if (number > 254) {
      // Names of pods long gone give their numbers back.
      const alive = new Set([...this.pods.values()].map((pod) => pod.name));
      for (const old of [...this.numbers.keys()]) if (!alive.has(old) && old !== SERVER_POD) this.numbers.delete(old);
      return this.numberOf(name);
    }
    this.numbers.set(name, number);
    return number;
  }

  private agentAdminSocket(): string | undefined {
    for (const pod of this.pods.values()) {
      const agent = pod.containers.find(({ spec }) => spec.name === 'spire-agent');
      if (agent !== undefined) return agent.localise(AGENT_ADMIN_SOCKET);
    }
    return undefined;
  }
}
