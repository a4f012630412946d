import { ApiError, type ClusterApi, type Resource } from './kubernetes.js';
import { loopback } from './layout.js';

/** Where something really listens. */
export interface Backend {
  address: string;
  port: number;
}

/** One way into a cluster: it knows what is exposed through it, and what is behind that. */
export interface Entrance {
  start(): void;
  stop(): Promise<void>;
  /** What is behind a host (or address) and port; undefined when nothing is exposed there, or nothing ready is behind it. */
  resolve(host: string, port: number): Promise<Backend | undefined>;
}

export interface ServicePort {
  name?: string;
  port: number;
  nodePort?: number;
}

interface EndpointSlice extends Resource {
  endpoints?: { addresses: string[]; conditions?: { ready?: boolean } }[] | null;
  ports?: { name?: string; port: number }[] | null;
}

/** What was behind the Services of a cluster when its API server was last asked. */
const known = new WeakMap<ClusterApi, Map<string, EndpointSlice[]>>();

/** As routers do, goes by what it knows while the API server is away. */
async function endpointSlices(api: ClusterApi, namespace: string, service: string): Promise<EndpointSlice[]> {
  const services = known.get(api) ?? new Map<string, EndpointSlice[]>();
  known.set(api, services);
  const key = `${namespace}/${service}`;
  try {
    const selector = encodeURIComponent(`kubernetes.io/service-name=${service}`);
    const { items } = await api.request<{ items: EndpointSlice[] }>(
      `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=${selector}`,
    );
    services.set(key, items);
    return items;
  } catch (error) {
    const last = services.get(key);
    if ((error instanceof ApiError && error.status < 500) || last === undefined) throw error;
    return last;
  }
}

/**
 * A ready pod behind a Service.
 * @param fits picks the port among those of the Service's EndpointSlices: named as in the Service, numbered as in the pod
 */
export async function findBackend(
  api: ClusterApi,
  { namespace, name }: { namespace: string; name: string },
  fits: (port: { name: string; port: number }) => boolean,
): Promise<Backend | undefined> {
  for (const { endpoints, ports } of await endpointSlices(api, namespace, name)) {
    const ready = endpoints?.find(({ conditions }) => conditions?.ready !== false)?.addresses[0];
    const target = ports?.find((each) => fits({ name: each.name ?? '', port: each.port }));
    if (ready !== undefined && target !== undefined) return { address: loopback(ready), port: target.port };
  }
  return undefined;
}

/** Objects of one kind as they are now, and what a controller does about each of them. */
export class Watched {
  private readonly objects = new Map<string, Resource>();
  private readonly watching = new AbortController();
  private watch: Promise<void> | undefined;

  /**
   * @param cluster for messages
   * @param path of the collection
   * @param reconcile brings an object to what it should be; called at every change of it
   */
  constructor(
    private readonly cluster: string,
    private readonly api: ClusterApi,
    private readonly path: string,
    private readonly reconcile: (object: Resource) => Promise<void>,
  ) {}

  /** Those that are there, the oldest first. */
  get all(): Resource[] {
    const age = ({ metadata }: Resource) => (metadata as { creationTimestamp?: string }).creationTimestamp ?? '';
    return [...this.objects.values()].sort((a, b) => age(a).localeCompare(age(b)));
  }

  start(): void {
    this.watch = this.api.watch(
      this.path,
      (type, object) => {
        const key = `${object.metadata.namespace}/${object.metadata.name}`;
        if (type === 'DELETED') this.objects.delete(key);
        else this.objects.set(key, object);
        if (type === 'DELETED') return;
        this.reconcile(object).catch((error: unknown) => {
          // Deleted meanwhile, or the API server is away: the watch brings it again.
          console.error(`${this.cluster}: ${object.kind} ${key} not reconciled: ${(error as Error).message}`);
        });
      },
      this.watching.signal,
    );
  }

  async stop(): Promise<void> {
    this.watching.abort();
    await this.watch;
  }
}
