import type { ClusterApi, Resource } from './kubernetes.js';
import { loopback, trustDomain } from './layout.js';

interface RouteSpec {
  host?: string;
  to: { name: string };
  port?: { targetPort: string | number };
}

interface EndpointSlice extends Resource {
  endpoints?: { addresses: string[]; conditions?: { ready?: boolean } }[] | null;
  ports?: { name?: string; port: number }[] | null;
}

/** A cluster's router, as OpenShift has one: gives Routes their host, admits them, and knows what is behind them. */
export class Router {
  private readonly routes = new Map<string, Resource>();
  private readonly watching = new AbortController();
  private watch: Promise<void> | undefined;

  constructor(
    private readonly cluster: string,
    private readonly api: ClusterApi,
  ) {}

  start(): void {
    this.watch = this.api.watch(
      '/apis/route.openshift.io/v1/routes',
      (type, route) => {
        const key = `${route.metadata.namespace}/${route.metadata.name}`;
        if (type === 'DELETED') {
          this.routes.delete(key);
          return;
        }
        this.routes.set(key, route);
        this.admit(route).catch((error: unknown) => {
          // Deleted meanwhile, or the API server is away: the watch brings it again.
          console.error(`${this.cluster}: Route ${key} not admitted: ${(error as Error).message}`);
        });
      },
      this.watching.signal,
    );
  }

  async stop(): Promise<void> {
    this.watching.abort();
    await this.watch;
  }

  /** Real address behind a Route's host; undefined when no Route has it or nothing ready is behind it. */
  async resolve(host: string): Promise<{ address: string; port: number } | undefined> {
    const route = [...this.routes.values()].find((each) => (each['spec'] as RouteSpec).host === host);
    if (route === undefined) return undefined;
    const { to, port } = route['spec'] as RouteSpec;
    const { namespace } = route.metadata;
    const selector = encodeURIComponent(`kubernetes.io/service-name=${to.name}`);
    const slices = await this.api.request<{ items: EndpointSlice[] }>(
      `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=${selector}`,
    );
    for (const { endpoints, ports } of slices.items) {
      const ready = endpoints?.find(({ conditions }) => conditions?.ready !== false)?.addresses[0];
      const target = ports?.find(
        ({ name, port: number }) => port === undefined || name === port.targetPort || number === port.targetPort,
      );
      if (ready !== undefined && target !== undefined) return { address: loopback(ready), port: target.port };
    }
    return undefined;
  }

  private async admit(route: Resource): Promise<void> {
    const { namespace, name } = route.metadata;
    const spec = route['spec'] as RouteSpec;
    const path = `/apis/route.openshift.io/v1/namespaces/${namespace}/routes/${name}`;
    if (spec.host === undefined || spec.host === '') {
      await this.api.patch(path, { spec: { host: `${name}-${namespace}.${trustDomain(this.cluster)}` } });
      return;
    }
    const status = route['status'] as { ingress?: { host: string }[] } | undefined;
    if (status?.ingress?.[0]?.host === spec.host) return;
    await this.api.patch(`${path}/status`, {
      status: {
        ingress: [
          {
            host: spec.host,
            routerName: 'default',
            wildcardPolicy: 'None',
            conditions: [
              { type: 'Admitted', status: 'True', lastTransitionTime: new Date().toISOString().replace(/\.\d+Z/, 'Z') },
            ],
          },
        ],
      },
    });
  }
}
