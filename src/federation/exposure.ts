import type { Exposure } from '../contract/inventory.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { BUNDLE_ENDPOINT_PORT_NAME } from '../contract/names.js';

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
  exposure: Exposure;
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

interface ServiceStatus {
  loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] };
}

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
  endpointUrl: (_context, live) => {
    const found = live.find(({ kind }) => kind === 'Route');
    const admitted = (found?.['status'] as RouteStatus | undefined)?.ingress?.find((ingress) =>
      ingress.conditions?.some(({ type, status }) => type === 'Admitted' && status === 'True'),
    );
    return admitted?.host === undefined ? undefined : `https://${admitted.host}`;
  },
};

const ingress: ExposureStrategy = {
  objects: (context) => {
    const { namespace, routeName, serviceName, targetPort, exposure } = context;
    if (exposure.type !== 'ingress') return [];
    const { host, ingressClassName } = exposure;
    return [
      service(context, 'ClusterIP'),
      {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'Ingress',
        metadata: {
          name: routeName,
          namespace,
          annotations: {
            'nginx.ingress.kubernetes.io/ssl-passthrough': 'true',
            'nginx.ingress.kubernetes.io/backend-protocol': 'HTTPS',
          },
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
  objects: (context) => [service(context, 'LoadBalancer')],
  endpointUrl: ({ targetPort }, live) => {
    const found = live.find(({ kind }) => kind === 'Service');
    const [assigned] = (found?.['status'] as ServiceStatus | undefined)?.loadBalancer?.ingress ?? [];
    const host = assigned?.hostname ?? assigned?.ip;
    return host === undefined ? undefined : `https://${host.includes(':') ? `[${host}]` : host}:${targetPort}`;
  },
};

const nodePort: ExposureStrategy = {
  objects: (context) => {
    const { exposure } = context;
    const port = exposure.type === 'nodePort' ? exposure.nodePort : undefined;
    return [service(context, 'NodePort', port)];
  },
  endpointUrl: ({ exposure }, live) => {
    if (exposure.type !== 'nodePort') return undefined;
    const found = live.find(({ kind }) => kind === 'Service');
    const spec = found?.['spec'] as { ports?: { name?: string; nodePort?: number }[] } | undefined;
    const port = spec?.ports?.find(({ name }) => name === BUNDLE_ENDPOINT_PORT_NAME)?.nodePort;
    return port === undefined ? undefined : `https://${exposure.host}:${port}`;
  },
};

const address: ExposureStrategy = {
  objects: (context) => [service(context, 'ClusterIP')],
  endpointUrl: ({ exposure }) => (exposure.type === 'address' ? exposure.url : undefined),
};

const STRATEGIES: Readonly<Record<Exposure['type'], ExposureStrategy>> = {
  route,
  ingress,
  loadBalancer,
  nodePort,
  address,
};

/** The strategy for a kind of exposure. */
export function exposureStrategy(type: Exposure['type']): ExposureStrategy {
  return STRATEGIES[type];
}

/** Why an exposed endpoint has no address: what the cluster itself says about it. */
export function exposureProblems(context: ExposureContext, live: readonly KubernetesObject[]): string[] {
  const missing = exposureStrategy(context.exposure.type)
    .objects(context)
    .filter((wanted) => !live.some(({ kind }) => kind === wanted.kind))
    .map(({ kind, metadata }) => `${kind} ${metadata.name} is missing`);
  const found = live.find(({ kind }) => kind === 'Route');
  const refused = ((found?.['status'] as RouteStatus | undefined)?.ingress ?? []).flatMap(({ conditions = [] }) =>
    conditions
      .filter(({ type, status }) => type === 'Admitted' && status !== 'True')
      .map(({ reason, message }) =>
        `Route ${found?.metadata.name} is not admitted: ${reason ?? ''} ${message ?? ''}`.trim(),
      ),
  );
  return [...missing, ...refused];
}

function service(
  context: ExposureContext,
  type: 'ClusterIP' | 'LoadBalancer' | 'NodePort',
  nodePortNumber?: number,
): KubernetesObject {
  const { namespace, serviceName, selector, targetPort } = context;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: serviceName, namespace },
    spec: {
      type,
      selector,
      ports: [
        {
          name: BUNDLE_ENDPOINT_PORT_NAME,
          port: targetPort,
          protocol: 'TCP',
          targetPort,
          ...(nodePortNumber === undefined ? {} : { nodePort: nodePortNumber }),
        },
      ],
    },
  };
}
