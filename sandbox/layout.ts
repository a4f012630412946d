import { createHash } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';

/** SPIRE's namespace, as in the Zero Trust Workload Identity Manager. */
export const SPIRE_NAMESPACE = 'zero-trust-workload-identity-manager';
export const CLASS_NAME = 'zero-trust-workload-identity-manager-spire';

export const API_SERVER_PORT = 6443;
/** Port of what serves exec and logs. */
export const KUBELET_PORT = 10250;
/** Port of routers and Ingress controllers for TLS. */
export const HTTPS_PORT = 443;

/** Names of the sandbox's clusters, in the order in which they are made: client-1, server-1, edge-1, edge-2 … */
export function clusterName(index: number): string {
  return ['client-1', 'server-1'][index] ?? `edge-${index - 1}`;
}

export function trustDomain(cluster: string): string {
  return `apps.${cluster}.sandbox.test`;
}

export function nodeName(cluster: string): string {
  return `${cluster}-node`;
}

/** Where everything of one sandbox lies. */
export interface SandboxPaths {
  directory: string;
  state: string;
  processes: string;
  inventory: string;
  /** The authority that stands for those that every system knows. */
  webPki: string;
  supervisorLog: string;
  /** Unix sockets must have short paths, so they lie in the system's temporary folder. */
  sockets: string;
  control: string;
}

/** @param directory the state folder, `.sandbox` by default */
export function sandboxPaths(directory: string): SandboxPaths {
  const absolute = path.resolve(directory);
  const key = createHash('sha256').update(absolute).digest('hex').slice(0, 8);
  const sockets = path.join(os.tmpdir(), `sf-${key}`);
  return {
    directory: absolute,
    state: path.join(absolute, 'state.json'),
    processes: path.join(absolute, 'processes'),
    inventory: path.join(absolute, 'inventory.yaml'),
    webPki: path.join(absolute, 'web-pki'),
    supervisorLog: path.join(absolute, 'supervisor.log'),
    sockets,
    control: path.join(sockets, 'control.sock'),
  };
}

/** Added to a cluster's index, it gives the third octet of its load balancers' addresses. */
const LOAD_BALANCERS = 128;

/**
 * Addresses of one cluster. All of 127.0.0.0/8 is this machine, so every cluster and every pod gets an address of its own
 * there, and ports need not differ. The Kubernetes API refuses loopback addresses in EndpointSlices, so pods show up
 * with the same address in 10.0.0.0/8.
 */
export class ClusterAddresses {
  /**
   * @param block second octet, one per sandbox
   * @param index third octet, one per cluster
   */
  constructor(
    private readonly block: number,
    private readonly index: number,
  ) {}

  /** Where the control plane listens. */
  get host(): string {
    return `127.${this.block}.${this.index}.1`;
  }

  /** The node's address as the cluster shows it. */
  get advertised(): string {
    return `10.${this.block}.${this.index}.1`;
  }

  get apiServer(): string {
    return `https://${this.host}:${API_SERVER_PORT}`;
  }

  /** A pod's address as the cluster shows it. */
  podIp(number: number): string {
    return `10.${this.block}.${this.index}.${number}`;
  }

  /** An address for a load balancer; nobody listens there, the sandbox's proxies know what is behind it. */
  loadBalancerIp(number: number): string {
    return `10.${this.block}.${LOAD_BALANCERS + this.index}.${number}`;
  }
}

/** The address at which a pod really listens. */
export function loopback(podIp: string): string {
  return podIp.replace(/^10\./, '127.');
}
