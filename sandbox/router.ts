import { findBackend, Watched, type Backend, type Entrance } from './entrance.js';
import type { ClusterApi, Resource } from './kubernetes.js';
import { HTTPS_PORT, trustDomain } from './layout.js';

interface RouteSpec {
  host?: string;
  to: { name: string };
  port?: { targetPort: string | number };
}

/** A cluster's router, as OpenShift has one: gives Routes their host, admits them, and knows what is behind them. */
export class Router implements Entrance {
  private readonly routes: Watched;

  constructor(
    private readonly cluster: string,
    private readonly api: ClusterApi,
  ) {
    this.routes = new Watched(cluster, api, '/apis/route.openshift.io/v1/routes', (route) => this.admit(route));
  }

  start(): void {
    this.routes.start();
  }

  stop(): Promise<void> {
    return this.routes.stop();
  }

  async resolve(host: string, port: number): Promise<Backend | undefined> {
    const route = this.routes.all.find((each) => (each['spec'] as RouteSpec).host === host);
    if (route === undefined || port !== HTTPS_PORT) return undefined;
    const { to, port: target } = route['spec'] as RouteSpec;
    const { namespace = '' } = route.metadata;
    return findBackend(
      this.api,
      { namespace, name: to.name },
      (each) => target === undefined || each.name === target.targetPort || each.port === target.targetPort,
    );
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
