import { findBackend, Watched, type Backend, type Entrance, type ServicePort } from './entrance.js';
import type { ClusterApi, Resource } from './kubernetes.js';
import { HTTPS_PORT } from './layout.js';

/** Class of the Ingresses that the sandbox serves. */
export const INGRESS_CLASS = 'sandbox';
/** As ingress-nginx wants it said that TLS is not to be touched. */
const PASSTHROUGH = 'nginx.ingress.kubernetes.io/ssl-passthrough';

interface IngressBackend {
  service?: { name: string; port?: { number?: number; name?: string } };
}

interface IngressSpec {
  ingressClassName?: string;
  rules?: { host?: string; http?: { paths: { backend: IngressBackend }[] } }[];
}

/** The class by which the sandbox's controller knows its Ingresses; the default, as in a cluster with one controller. */
export function ingressClass(): Resource {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IngressClass',
    metadata: {
      name: INGRESS_CLASS,
      annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' },
    },
    spec: { controller: 'sandbox.test/ingress' },
  };
}

/**
 * Stands for an Ingress controller. It admits Ingresses of its class that pass TLS through, by its address in their
 * status, and leads connections to what is behind their hosts. Anything else of Ingresses it does not know.
 */
export class IngressController implements Entrance {
  private readonly ingresses: Watched;

  /** @param address under which it is reached */
  constructor(
    cluster: string,
    private readonly api: ClusterApi,
    private readonly address: string,
  ) {
    this.ingresses = new Watched(cluster, api, '/apis/networking.k8s.io/v1/ingresses', (each) => this.admit(each));
  }

  start(): void {
    this.ingresses.start();
  }

  stop(): Promise<void> {
    return this.ingresses.stop();
  }

  async resolve(host: string, port: number): Promise<Backend | undefined> {
    if (port !== HTTPS_PORT) return undefined;
    for (const ingress of this.ingresses.all.filter(isServed)) {
      const rule = (ingress['spec'] as IngressSpec).rules?.find((each) => each.host === host);
      const service = rule?.http?.paths[0]?.backend.service;
      if (service === undefined) continue;
      const { namespace = '' } = ingress.metadata;
      const wanted = service.port;
      const name = await this.portName(namespace, service.name, (each) =>
        wanted?.number === undefined ? each.name === wanted?.name : each.port === wanted.number,
      );
      return name === undefined
        ? undefined
        : findBackend(this.api, { namespace, name: service.name }, (each) => each.name === name);
    }
    return undefined;
  }

  /** Name of a port of a Service; EndpointSlices know ports by their names. */
  private async portName(
    namespace: string,
    name: string,
    fits: (port: ServicePort) => boolean,
  ): Promise<string | undefined> {
    const service = await this.api.get(`/api/v1/namespaces/${namespace}/services/${name}`);
    const found = (service?.['spec'] as { ports?: ServicePort[] } | undefined)?.ports?.find(fits);
    return found === undefined ? undefined : (found.name ?? '');
  }

  private async admit(ingress: Resource): Promise<void> {
    const status = ingress['status'] as { loadBalancer?: { ingress?: { ip?: string }[] } } | undefined;
    const { namespace, name } = ingress.metadata;
    const admitted = status?.loadBalancer?.ingress?.some(({ ip }) => ip === this.address) === true;
    if (admitted === isServed(ingress)) return;
    await this.api.patch(`/apis/networking.k8s.io/v1/namespaces/${namespace}/ingresses/${name}/status`, {
      status: { loadBalancer: { ingress: admitted ? [] : [{ ip: this.address }] } },
    });
  }
}

function isServed(ingress: Resource): boolean {
  const { ingressClassName } = ingress['spec'] as IngressSpec;
  return ingressClassName === INGRESS_CLASS && ingress.metadata.annotations?.[PASSTHROUGH] === 'true';
}
