import { findBackend, Watched, type Backend, type Entrance, type ServicePort } from './entrance.js';
import type { ClusterApi, Resource } from './kubernetes.js';
import type { ClusterAddresses } from './layout.js';

/** Keeps a Service until its load balancer has been given back, as the controllers of clouds do. */
const CLEANUP = 'service.kubernetes.io/load-balancer-cleanup';
const FIRST_NUMBER = 10;
const LAST_NUMBER = 250;

interface ServiceSpec {
  type?: string;
  loadBalancerClass?: string;
  ports?: ServicePort[];
}

/**
 * Services that are reached from outside: stands for a cloud's load balancers, which get an address of their own each,
 * and for the node, on whose address every node port leads to its Service.
 */
export class ServiceEntrance implements Entrance {
  private readonly services: Watched;
  private readonly assigned = new Map<string, string>();

  constructor(
    cluster: string,
    private readonly api: ClusterApi,
    private readonly addresses: ClusterAddresses,
  ) {
    this.services = new Watched(cluster, api, '/api/v1/services', (service) => this.balance(service));
  }

  start(): void {
    this.services.start();
  }

  stop(): Promise<void> {
    return this.services.stop();
  }

  async resolve(host: string, port: number): Promise<Backend | undefined> {
    for (const service of this.services.all) {
      const { ports = [] } = service['spec'] as ServiceSpec;
      const found =
        host === this.addresses.advertised
          ? ports.find((each) => each.nodePort === port)
          : host === assignedAddress(service)
            ? ports.find((each) => each.port === port)
            : undefined;
      if (found === undefined) continue;
      const { namespace = '', name } = service.metadata;
      return findBackend(this.api, { namespace, name }, (each) => each.name === (found.name ?? ''));
    }
    return undefined;
  }

  /** Gives a load balancer its address, and takes it back from a Service that is none any more or that goes. */
  private async balance(service: Resource): Promise<void> {
    const { namespace, name, deletionTimestamp, resourceVersion } = service.metadata;
    const { finalizers = [] } = service.metadata as { finalizers?: string[] };
    const { type, loadBalancerClass } = service['spec'] as ServiceSpec;
    const key = `${namespace}/${name}`;
    const path = `/api/v1/namespaces/${namespace}/services/${name}`;
    // A class asks for a certain controller, and this is none of those.
    const wanted = type === 'LoadBalancer' && loadBalancerClass === undefined && deletionTimestamp === undefined;
    if (wanted !== finalizers.includes(CLEANUP)) {
      const rest = finalizers.filter((each) => each !== CLEANUP);
      if (!wanted) this.assigned.delete(key);
      await this.api.patch(path, { metadata: { resourceVersion, finalizers: wanted ? [...rest, CLEANUP] : rest } });
      return;
    }
    if (!wanted) {
      if (assignedAddress(service) !== undefined && deletionTimestamp === undefined)
        await this.api.patch(`${path}/status`, { status: { loadBalancer: null } });
      return;
    }
    const address = assignedAddress(service);
    if (address !== undefined) {
      this.assigned.set(key, address);
      return;
    }
    await this.api.patch(`${path}/status`, { status: { loadBalancer: { ingress: [{ ip: this.assign(key) }] } } });
  }

  private assign(key: string): string {
    const known = this.assigned.get(key);
    if (known !== undefined) return known;
    const taken = new Set(this.assigned.values());
    for (let number = FIRST_NUMBER; number <= LAST_NUMBER; number++) {
      const address = this.addresses.loadBalancerIp(number);
      if (taken.has(address)) continue;
      this.assigned.set(key, address);
      return address;
    }
    throw new Error('all addresses for load balancers are taken');
  }
}

function assignedAddress(service: Resource): string | undefined {
  const status = service['status'] as { loadBalancer?: { ingress?: { ip?: string }[] } } | undefined;
  return status?.loadBalancer?.ingress?.[0]?.ip;
}
