import { createHash } from 'node:crypto';
import type { Resource } from './kubernetes.js';
import { SPIRE_NAMESPACE, trustDomain } from './layout.js';
import { spireManifests } from './manifests.js';
import { DEFAULT_SPIRE_VERSION, type SpireVersion } from './spireVersions.js';

/** The operator's own Deployment, as the real one is named. */
export const DEPLOYMENT = 'zero-trust-workload-identity-manager-controller-manager';
export const ROUTE = 'spire-server-federation';
/** Annotation by which the operator restarts SPIRE server with a changed configuration. */
export const CONFIG_HASH = 'ztwim.openshift.io/spire-server-config-hash';
/** Labels by which the operator knows its own. */
const MANAGED = {
  'app.kubernetes.io/managed-by': 'zero-trust-workload-identity-manager',
  'app.kubernetes.io/part-of': 'zero-trust-workload-identity-manager',
};

/** The SpireServer that an object is made for. */
export interface Owner {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
}

/** spec.federation of a SpireServer, defaults filled in. */
export interface FederationSpec {
  bundleEndpoint: { profile: string; refreshHint: number };
  federatesWith?: {
    trustDomain: string;
    bundleEndpointUrl: string;
    bundleEndpointProfile: string;
    endpointSpiffeId?: string;
  }[];
  managedRoute?: string;
}

/** The operator's resources as somebody has made them who installed it, without any federation. */
export function operatorManifests(cluster: string): Resource[] {
  const labels = { name: 'zero-trust-workload-identity-manager' };
  return [
    {
      apiVersion: 'operator.openshift.io/v1alpha1',
      kind: 'ZeroTrustWorkloadIdentityManager',
      metadata: { name: 'cluster' },
      spec: { trustDomain: trustDomain(cluster), clusterName: cluster },
    },
    {
      apiVersion: 'operator.openshift.io/v1alpha1',
      kind: 'SpireServer',
      metadata: { name: 'cluster' },
      spec: { logLevel: 'info' },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: DEPLOYMENT, namespace: SPIRE_NAMESPACE, labels },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            containers: [
              {
                name: 'manager',
                image: 'sandbox/operator-stand-in',
                env: [{ name: 'OPERATOR_VERSION', value: '1.0.1' }],
              },
            ],
          },
        },
      },
    },
  ];
}

/** One of SPIRE's objects as the operator makes it, before anything of a federation is in it. */
function base(cluster: string, kind: string, version: SpireVersion = DEFAULT_SPIRE_VERSION): Resource {
  const found = spireManifests(cluster, version, []).find(
    (each) => each.kind === kind && each.metadata.name === 'spire-server',
  );
  if (found === undefined) throw new Error(`there is no ${kind} spire-server`);
  return structuredClone(found);
}

function ownedBy(object: Resource, owner: Owner): Resource {
  const references = [{ ...owner, controller: true, blockOwnerDeletion: true }];
  const metadata = {
    ...object.metadata,
    labels: { ...object.metadata.labels, ...MANAGED },
    ownerReferences: references,
  };
  return { ...object, metadata };
}

export function configMap(cluster: string, text: string, owner: Owner): Resource {
  return ownedBy({ ...base(cluster, 'ConfigMap'), data: { 'server.conf': text } }, owner);
}

/** server.conf in JSON, with the settings of SpireServer. */
export function render(cluster: string, federation: FederationSpec | undefined): string {
  const { data } = base(cluster, 'ConfigMap') as Resource & { data: Record<string, string> };
  const conf = JSON.parse(data['server.conf'] ?? '') as { server: Record<string, unknown> };
  if (federation !== undefined) {
    const { bundleEndpoint, federatesWith = [] } = federation;
    conf.server['federation'] = {
      bundle_endpoint: {
        address: '0.0.0.0',
        port: 8443,
        refresh_hint: `${bundleEndpoint.refreshHint}s`,
        profile: { [bundleEndpoint.profile]: {} },
      },
      ...(federatesWith.length === 0
        ? {}
        : {
            federates_with: Object.fromEntries(
              federatesWith.map((each) => [
                each.trustDomain,
                {
                  bundle_endpoint_url: each.bundleEndpointUrl,
                  bundle_endpoint_profile: {
                    [each.bundleEndpointProfile]:
                      each.bundleEndpointProfile === 'https_spiffe'
                        ? { endpoint_spiffe_id: each.endpointSpiffeId }
                        : {},
                  },
                },
              ]),
            ),
          }),
    };
  }
  return JSON.stringify(conf, undefined, 2);
}

export function service(cluster: string, federation: FederationSpec | undefined, owner: Owner): Resource {
  const object = ownedBy(base(cluster, 'Service'), owner);
  const spec = object['spec'] as { ports: object[] };
  const port = { name: 'federation', port: 8443, targetPort: 8443, protocol: 'TCP' };
  return { ...object, spec: { ...spec, ports: [...spec.ports, ...(federation === undefined ? [] : [port])] } };
}

export function statefulSet(
  cluster: string,
  version: SpireVersion,
  federation: FederationSpec | undefined,
  text: string,
  owner: Owner,
): Resource {
  const object = ownedBy(base(cluster, 'StatefulSet', version), owner);
  const spec = object['spec'] as {
    template: { metadata: object; spec: { containers: { name: string; ports?: object[] }[] } };
  };
  const { template } = spec;
  const hash = createHash('sha256').update(text.trim()).digest('hex');
  const port = { name: 'federation', containerPort: 8443, protocol: 'TCP' };
  const containers = template.spec.containers.map((container) =>
    container.name === 'spire-server' && federation !== undefined
      ? { ...container, ports: [...(container.ports ?? []), port] }
      : container,
  );
  return {
    ...object,
    spec: {
      ...spec,
      template: {
        metadata: { ...template.metadata, annotations: { [CONFIG_HASH]: hash } },
        spec: { ...template.spec, containers },
      },
    },
  };
}

export function route(cluster: string): Resource {
  return {
    apiVersion: 'route.openshift.io/v1',
    kind: 'Route',
    metadata: { name: ROUTE, namespace: SPIRE_NAMESPACE, labels: MANAGED },
    spec: {
      host: `federation.${trustDomain(cluster)}`,
      to: { kind: 'Service', name: 'spire-server', weight: 100 },
      port: { targetPort: 'federation' },
      wildcardPolicy: 'None',
      tls: { termination: 'passthrough', insecureEdgeTerminationPolicy: 'Redirect' },
    },
  };
}
