import type { ExposureFacts } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { BUNDLE_ENDPOINT_OBJECT, BUNDLE_ENDPOINT_PORT_NAME } from '../contract/names.js';
import { managedRoute, managedRouteSpec } from './managedRoute.js';
import { covers } from './ownership.js';

/** What the strategies need to know to expose one port of one cluster. */
export interface ExposureContext {
  namespace: string;
  serviceName: string;
  /** Name of the Route or Ingress. */
  routeName: string;
  /** Labels of the pod behind the Service. */
  selector: Record<string, string>;
  /** Port of the pod, and of the Service. */
  targetPort: number;
  exposure: ExposureFacts;
  trustDomain: string;
}

/** One way in which a bundle endpoint is reached from other clusters. */
export interface ExposureStrategy {
  /** Manifests to apply; the caller marks them as its own. */
  objects(context: ExposureContext): KubernetesObject[];
  /** Where others reach it, read from the live objects; undefined while the cluster has not assigned it. */
  endpointUrl(context: ExposureContext, live: readonly KubernetesObject[]): string | undefined;
}

interface RouteStatus {
  ingress?: { host?: string; conditions?: { type: string; status: string; reason?: string; message?: string }[] }[];
}

/** Of a Service and of an Ingress alike. */
interface BalancerStatus {
  loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] };
}

/** As ingress-nginx is told to leave TLS alone. */
const INGRESS_NGINX_PASSTHROUGH: Readonly<Record<string, string>> = {
  'nginx.ingress.kubernetes.io/ssl-passthrough': 'true',
  'nginx.ingress.kubernetes.io/backend-protocol': 'HTTPS',
};

const route: ExposureStrategy = {
  objects: (context) => {
    const { namespace, routeName, serviceName, exposure } = context;
    const host = exposure.type === 'route' ? exposure.host : undefined;
    return [
      service(context, 'ClusterIP'),
      {
        apiVersion: 'route.openshift.io/v1',
        kind: 'Route',
        metadata: { name: routeName, namespace },
        spec: {
          // Without a host the cluster assigns one of its own domain.
          ...(host === undefined ? {} : { host }),
          to: { kind: 'Service', name: serviceName },
          port: { targetPort: BUNDLE_ENDPOINT_PORT_NAME },
          // SPIRE authenticates the endpoint with its SVID, so TLS must reach it untouched.
          tls: { termination: 'passthrough', insecureEdgeTerminationPolicy: 'None' },
        },
      },
    ];
  },
  endpointUrl: ({ exposure }, live) => {
    const wanted = exposure.type === 'route' ? exposure.host : undefined;
    const hosts = admittedHosts(live.find(({ kind }) => kind === 'Route'));
    // After a change of its host, a router may still have it under the old one.
    const host = wanted === undefined ? hosts[0] : hosts.find((each) => each === wanted);
    return host === undefined ? undefined : `https://${host}`;
  },
};

const ingress: ExposureStrategy = {
  objects: (context) => {
    const { namespace, routeName, serviceName, targetPort, exposure } = context;
    if (exposure.type !== 'ingress') return [];
    const { host, ingressClassName, annotations = INGRESS_NGINX_PASSTHROUGH } = exposure;
    return [
      service(context, 'ClusterIP'),
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'Ingress',
        metadata: {
          name: routeName,
          namespace,
          annotations: { ...annotations },
        },
        spec: {
          ...(ingressClassName === undefined ? {} : { ingressClassName }),
          tls: [{ hosts: [host] }],
          rules: [
            {
              host,
              http: {
                paths: [
                  {
                    path: '/',
                    pathType: 'Prefix',
                    backend: { service: { name: serviceName, port: { number: targetPort } } },
                  },
                ],
              },
            },
          ],
        },
      },
    ];
  },
  endpointUrl: ({ exposure }, live) =>
    exposure.type === 'ingress' && live.some(({ kind }) => kind === 'Ingress') ? `https://${exposure.host}` : undefined,
};

const loadBalancer: ExposureStrategy = {
  objects: (context) => {
    const { exposure } = context;
    if (exposure.type !== 'loadBalancer') return [];
    const { loadBalancerClass, annotations } = exposure;
    return [
      service(context, 'LoadBalancer', {
        ...(annotations === undefined ? {} : { annotations }),
        spec: loadBalancerClass === undefined ? {} : { loadBalancerClass },
      }),
    ];
  },
  endpointUrl: ({ targetPort }, live) => {
    const [assigned] = assignedAddresses(live.find(({ kind }) => kind === 'Service'));
    return assigned === undefined ? undefined : `https://${inUrl(assigned)}:${targetPort}`;
  },
};

const nodePort: ExposureStrategy = {
  objects: (context) => {
    const { exposure } = context;
    const port = exposure.type === 'nodePort' ? exposure.nodePort : undefined;
    return [service(context, 'NodePort', { port: port === undefined ? {} : { nodePort: port } })];
  },
  endpointUrl: ({ exposure }, live) => {
    if (exposure.type !== 'nodePort') return undefined;
    const found = live.find(({ kind }) => kind === 'Service');
    const spec = found?.['spec'] as { ports?: { name?: string; nodePort?: number }[] } | undefined;
    const port = spec?.ports?.find(({ name }) => name === BUNDLE_ENDPOINT_PORT_NAME)?.nodePort;
    if (exposure.nodePort !== undefined && port !== exposure.nodePort) return undefined;
    return port === undefined ? undefined : `https://${inUrl(exposure.host)}:${port}`;
  },
};

const address: ExposureStrategy = {
  objects: (context) => [service(context, 'ClusterIP')],
  endpointUrl: ({ exposure }) => (exposure.type === 'address' ? exposure.url : undefined),
};

const STRATEGIES: Readonly<Record<ExposureFacts['type'], ExposureStrategy>> = {
  route,
  ingress,
  loadBalancer,
  nodePort,
  address,
  managedRoute,
};

/** The strategy for a kind of exposure. */
export function exposureStrategy(type: ExposureFacts['type']): ExposureStrategy {
  return STRATEGIES[type];
}

/** Types of Services; each is reached in all the ways of those before it, too. */
const SERVICE_TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer'];

/**
 * A Service as it should be, but still reached in every way in which it is now: whoever uses its load balancer or its
 * node port must not lose it before knowing better. The wanted object itself where nothing would be lost.
 */
export function keepingWays(before: KubernetesObject, wanted: KubernetesObject): KubernetesObject {
  if (wanted.kind !== 'Service') return wanted;
  const is = before['spec'] as { type?: string; loadBalancerClass?: string };
  const spec = wanted['spec'] as { type: string };
  if (SERVICE_TYPES.indexOf(is.type ?? '') <= SERVICE_TYPES.indexOf(spec.type)) return wanted;
  const { type, loadBalancerClass } = is;
  const annotations = { ...before.metadata.annotations, ...wanted.metadata.annotations };
  return {
    ...wanted,
    metadata: { ...wanted.metadata, ...(Object.keys(annotations).length === 0 ? {} : { annotations }) },
    spec: { ...spec, type, ...(loadBalancerClass === undefined ? {} : { loadBalancerClass }) },
  };
}

/**
 * What the cluster itself says against an object that exposes the endpoint: a Route that its router refused, an Ingress
 * that no controller has taken, a Service without a load balancer. Undefined when nothing speaks against it.
 */
export function admissionProblem(object: KubernetesObject): string | undefined {
  const name = `${object.kind} ${object.metadata.name}`;
  const spec = object['spec'] as { type?: string; ingressClassName?: string; loadBalancerClass?: string } | undefined;
  switch (object.kind) {
    case 'Route': {
      if (admittedHosts(object).length > 0) return undefined;
      const said = routerConditions(object).map(({ reason = '', message = '' }) => `${reason} ${message}`.trim());
      return `${name} is not admitted: ${said.join(', ') || 'no router has looked at it'}`;
    }
    case 'Ingress': {
      if (assignedAddresses(object).length > 0) return undefined;
      const which = spec?.ingressClassName;
      return `${name} is not admitted: no Ingress controller ${which === undefined ? '' : `of class ${which} `}has put its address into the status`;
    }
    case 'Service': {
      if (spec?.type !== 'LoadBalancer' || assignedAddresses(object).length > 0) return undefined;
      const which = spec.loadBalancerClass;
      return `${name} has no load balancer: no controller ${which === undefined ? '' : `of class ${which} `}has put an address into its status`;
    }
    default:
      return undefined;
  }
}

/** Why an exposed endpoint cannot be reached yet: what is missing, and what the cluster itself says about the rest. */
export function exposureProblems(context: ExposureContext, live: readonly KubernetesObject[]): string[] {
  const wanted = exposureStrategy(context.exposure.type).objects(context);
  return wanted.flatMap(({ kind, metadata }) => {
    const found = live.find((each) => each.kind === kind);
    return found === undefined ? `${kind} ${metadata.name} is missing` : (admissionProblem(found) ?? []);
  });
}

/** What of the Route that ZTWIM's operator makes is not as it must be; undefined when all is. */
export function managedRouteProblem(trustDomain: string, live: readonly KubernetesObject[]): string | undefined {
  const found = live.find(({ kind }) => kind === 'Route');
  if (found === undefined) return `Route ${BUNDLE_ENDPOINT_OBJECT} is missing: the operator has not made it`;
  return covers(found['spec'], managedRouteSpec(trustDomain))
    ? admissionProblem(found)
    : `Route ${found.metadata.name} is not as the operator makes it`;
}

/** Hosts under which routers have admitted a Route; one router may refuse what another takes. */
function admittedHosts(routeObject: KubernetesObject | undefined): string[] {
  return ((routeObject?.['status'] as RouteStatus | undefined)?.ingress ?? [])
    .filter(({ conditions = [] }) => conditions.some(({ type, status }) => type === 'Admitted' && status === 'True'))
    .flatMap(({ host }) => host ?? []);
}

function routerConditions(routeObject: KubernetesObject): { reason?: string; message?: string }[] {
  return ((routeObject['status'] as RouteStatus | undefined)?.ingress ?? [])
    .flatMap(({ conditions = [] }) => conditions)
    .filter(({ type }) => type === 'Admitted');
}

/** Addresses that a controller has given to a Service or an Ingress. */
function assignedAddresses(object: KubernetesObject | undefined): string[] {
  const { ingress = [] } = (object?.['status'] as BalancerStatus | undefined)?.loadBalancer ?? {};
  return ingress.flatMap(({ hostname, ip }) => hostname ?? ip ?? []);
}

/** A host as a URL has it: IPv6 addresses in brackets. */
function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

function service(
  context: ExposureContext,
  type: 'ClusterIP' | 'LoadBalancer' | 'NodePort',
  more: { annotations?: Record<string, string>; spec?: object; port?: object } = {},
): KubernetesObject {
  const { namespace, serviceName, selector, targetPort } = context;
  const { annotations, spec, port } = more;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: serviceName, namespace, ...(annotations === undefined ? {} : { annotations }) },
    spec: {
      type,
      selector,
      ports: [{ name: BUNDLE_ENDPOINT_PORT_NAME, port: targetPort, protocol: 'TCP', targetPort, ...port }],
      ...spec,
    },
  };
}
