import { adminApi, spireServer } from './snapshot.js';
import { eventually } from './spireTrustDomain.js';

const NAMESPACE = 'zero-trust-workload-identity-manager';
const CLASS = 'zero-trust-workload-identity-manager-spire';
const ENDPOINT = 'spire-server-federation';

const trustDomain = (cluster: string) => `apps.${cluster}.sandbox.test`;
const url = (cluster: string) => `https://${ENDPOINT}-${NAMESPACE}.${trustDomain(cluster)}`;

/**
 * A federation as scripts of kubectl calls make it: no labels, no refresh hint, and in the ClusterSPIFFEIDs all trust
 * domains on every cluster, its own too.
 * @param autoFederated those that got the ClusterSPIFFEIDs
 */
export async function federateByScript(
  directory: string,
  clusters: readonly string[],
  autoFederated: readonly string[] = clusters,
): Promise<void> {
  for (const cluster of clusters) await exposeAndConfigure(directory, cluster, clusters);
  for (const cluster of clusters) await ready(directory, cluster);
  for (const cluster of clusters) {
    for (const peer of clusters.filter((each) => each !== cluster)) await relate(directory, cluster, peer);
    if (autoFederated.includes(cluster)) await autoFederate(directory, cluster, clusters);
  }
}

async function exposeAndConfigure(directory: string, cluster: string, clusters: readonly string[]): Promise<void> {
  const api = adminApi(directory, cluster);
  try {
    const metadata = { name: ENDPOINT, namespace: NAMESPACE };
    const base = `/api/v1/namespaces/${NAMESPACE}`;
    await api.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        selector: { 'app.kubernetes.io/name': 'spire-server' },
        ports: [{ name: 'federation', port: 8443, targetPort: 8443 }],
      },
    });
    await api.apply({
      apiVersion: 'route.openshift.io/v1',
      kind: 'Route',
      metadata,
      spec: {
        to: { kind: 'Service', name: ENDPOINT },
        port: { targetPort: 'federation' },
        tls: { termination: 'passthrough' },
      },
    });
    const map = (await api.get(`${base}/configmaps/spire-server`)) as unknown as { data: Record<string, string> };
    const conf = JSON.parse(map.data['server.conf'] ?? '{}') as { server: Record<string, unknown> };
    conf.server['federation'] = {
      bundle_endpoint: { address: '0.0.0.0', port: 8443 },
      federates_with: Object.fromEntries(
        clusters
          .filter((peer) => peer !== cluster)
          .map((peer) => [
            trustDomain(peer),
            {
              bundle_endpoint_url: url(peer),
              bundle_endpoint_profile: {
                https_spiffe: { endpoint_spiffe_id: `spiffe://${trustDomain(peer)}/spire/server` },
              },
            },
          ]),
      ),
    };
    const data = { 'server.conf': JSON.stringify(conf, undefined, 2) };
    await api.patch(`${base}/configmaps/spire-server`, { data });
    const set = `/apis/apps/v1/namespaces/${NAMESPACE}/statefulsets/spire-server`;
    const { spec } = (await api.get(set)) as unknown as {
      spec: { template: { spec: { containers: { name: string; ports?: object[] }[] } } };
    };
    const containers = spec.template.spec.containers.map((container) =>
      container.name === 'spire-server'
        ? { ...container, ports: [...(container.ports ?? []), { containerPort: 8443, name: 'federation' }] }
        : container,
    );
    await api.patch(set, { spec: { template: { spec: { containers } } } });
  } finally {
    api.close();
  }
}

/** Until the restarted server listens where its peers will look. */
async function ready(directory: string, cluster: string): Promise<void> {
  await eventually(async () => {
    const api = adminApi(directory, cluster);
    try {
      const pod = (await api.get(`/api/v1/namespaces/${NAMESPACE}/pods/spire-server-0`)) as unknown as {
        spec: { containers: { ports?: { containerPort: number }[] }[] };
        status: { conditions?: { type: string; status: string }[] };
      };
      const declared = pod.spec.containers.some(({ ports = [] }) => ports.some((each) => each.containerPort === 8443));
      const isReady = pod.status.conditions?.some((each) => each.type === 'Ready' && each.status === 'True');
      if (!declared || isReady !== true) throw new Error(`${cluster}: not restarted yet`);
    } finally {
      api.close();
    }
    await spireServer(directory, cluster, 'healthcheck');
  }, 60_000);
}

async function relate(directory: string, cluster: string, peer: string): Promise<void> {
  const trustDomainBundle = await spireServer(directory, peer, 'bundle', 'show', '-format', 'spiffe');
  const api = adminApi(directory, cluster);
  try {
    await api.apply({
      apiVersion: 'spire.spiffe.io/v1alpha1',
      kind: 'ClusterFederatedTrustDomain',
      metadata: { name: `${peer}-federation` },
      spec: {
        className: CLASS,
        trustDomain: trustDomain(peer),
        bundleEndpointURL: url(peer),
        bundleEndpointProfile: {
          type: 'https_spiffe',
          endpointSPIFFEID: `spiffe://${trustDomain(peer)}/spire/server`,
        },
        trustDomainBundle,
      },
    });
  } finally {
    api.close();
  }
  await eventually(
    () => spireServer(directory, cluster, 'federation', 'refresh', '-id', `spiffe://${trustDomain(peer)}`),
    60_000,
  );
}

const SYSTEM_NAMESPACES = [
  ...['kube-system', 'kube-public', 'kube-node-lease'],
  ...['openshift', 'openshift-monitoring', 'openshift-operators'],
];

const PATH = '/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}';

/** The ClusterSPIFFEIDs: whom they select, by name. One is written as some do, with the trust domain that is its cluster's. */
const selections = (own: string) => ({
  'all-workloads-auto-federated': {
    spiffeIDTemplate: `spiffe://{{ .TrustDomain }}${PATH}`,
    podSelector: { matchLabels: {} },
    namespaceSelector: {
      matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: SYSTEM_NAMESPACES }],
    },
  },
  'label-based-auto-federated': {
    spiffeIDTemplate: `spiffe://${own}${PATH}`,
    podSelector: { matchLabels: { federated: 'true' } },
    namespaceSelector: { matchLabels: {} },
  },
});

async function autoFederate(directory: string, cluster: string, clusters: readonly string[]): Promise<void> {
  const api = adminApi(directory, cluster);
  try {
    for (const [name, selection] of Object.entries(selections(trustDomain(cluster)))) {
      await api.apply({
        apiVersion: 'spire.spiffe.io/v1alpha1',
        kind: 'ClusterSPIFFEID',
        metadata: { name },
        spec: {
          className: CLASS,
          ...selection,
          federatesWith: clusters.map(trustDomain),
        },
      });
    }
  } finally {
    api.close();
  }
}
