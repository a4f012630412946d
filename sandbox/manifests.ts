import type { Resource } from './kubernetes.js';
import { CLASS_NAME, KUBELET_PORT, nodeName, SPIRE_NAMESPACE, trustDomain, type ClusterAddresses } from './layout.js';
import type { SpireVersion } from './spireVersions.js';
import { WEB_CERTIFICATE, WEB_ROOTS } from './webPki.js';

const SERVER_LABELS = {
  'app.kubernetes.io/name': 'spire-server',
  'app.kubernetes.io/instance': 'cluster-zero-trust-workload-identity-manager',
  'app.kubernetes.io/component': 'control-plane',
};
const AGENT_LABELS = {
  ...SERVER_LABELS,
  'app.kubernetes.io/name': 'spire-agent',
  'app.kubernetes.io/component': 'node-agent',
};

/** Where every pod finds its service account; the sandbox adds a kubeconfig to what a kubelet puts there. */
const ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';
export const AGENT_ADMIN_SOCKET = '/tmp/spire-agent/private/admin.sock';

/** SPIFFE ID of the sandbox itself, by which the agent lets it ask for the identities of pods. */
export function delegateSpiffeId(cluster: string): string {
  return `spiffe://${trustDomain(cluster)}/sandbox/kubelet`;
}

/** A node that is ready; the sandbox runs its pods. */
export function nodeManifest(cluster: string): Resource {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: nodeName(cluster),
      labels: { 'kubernetes.io/hostname': nodeName(cluster), 'kubernetes.io/os': 'linux' },
    },
  };
}

/** Status of the node: where exec and logs are served, where node ports are, and room for any pod. */
export function nodeStatus({ host, advertised }: ClusterAddresses): Record<string, unknown> {
  const room = { cpu: '64', memory: '256Gi', pods: '1000', 'ephemeral-storage': '256Gi' };
  return {
    addresses: [
      { type: 'InternalIP', address: host },
      { type: 'ExternalIP', address: advertised },
    ],
    daemonEndpoints: { kubeletEndpoint: { Port: KUBELET_PORT } },
    capacity: room,
    allocatable: room,
    conditions: [{ type: 'Ready', status: 'True', reason: 'SandboxReady', message: 'the sandbox plays this node' }],
    nodeInfo: {
      architecture: 'amd64',
      bootID: '',
      containerRuntimeVersion: 'sandbox',
      kernelVersion: '',
      kubeProxyVersion: '',
      kubeletVersion: 'v1.36.3',
      machineID: '',
      operatingSystem: 'linux',
      osImage: 'sandbox',
      systemUUID: '',
    },
  };
}

/**
 * SPIRE as the Zero Trust Workload Identity Manager lays it out, without any federation. In the order of applying.
 * @param webPki what SPIRE server's pod mounts of the Web PKI
 */
export function spireManifests(cluster: string, version: SpireVersion, webPki: Resource[]): Resource[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: SPIRE_NAMESPACE } },
    ...webPki,
    ...['spire-server', 'spire-agent'].map((name) => namespaced('v1', 'ServiceAccount', name)),
    ...accessManifests(),
    namespaced('v1', 'ConfigMap', 'spire-bundle'),
    { ...namespaced('v1', 'ConfigMap', 'spire-server'), data: { 'server.conf': serverConf(cluster) } },
    {
      ...namespaced('v1', 'ConfigMap', 'spire-controller-manager'),
      data: { 'controller-manager-config.yaml': controllerManagerConfig(cluster) },
    },
    { ...namespaced('v1', 'ConfigMap', 'spire-agent'), data: { 'agent.conf': agentConf(cluster) } },
    {
      ...namespaced('v1', 'Service', 'spire-server'),
      spec: { selector: SERVER_LABELS, ports: [{ name: 'grpc', port: 443, targetPort: 'grpc', protocol: 'TCP' }] },
    },
    serverStatefulSet(version),
    agentDaemonSet(version),
    defaultIdentity(),
  ];
}

/** Name of the ClusterStaticEntry that lets the sandbox's kubelet get the identities of pods. */
export const DELEGATE_ENTRY = 'sandbox-kubelet';

/** The agent's permission for the sandbox to ask for the identities of pods, once the node's UID is known. */
export function delegateEntry(cluster: string, nodeUid: string, userId: number): Resource {
  return {
    apiVersion: 'spire.spiffe.io/v1alpha1',
    kind: 'ClusterStaticEntry',
    metadata: { name: DELEGATE_ENTRY },
    spec: {
      className: CLASS_NAME,
      parentID: `spiffe://${trustDomain(cluster)}/spire/agent/k8s_psat/${cluster}/${nodeUid}`,
      spiffeID: delegateSpiffeId(cluster),
      selectors: [`unix:uid:${userId}`],
    },
  };
}

function serverConf(cluster: string): string {
  return json({
    server: {
      bind_address: '0.0.0.0',
      bind_port: '8081',
      trust_domain: trustDomain(cluster),
      data_dir: '/run/spire/data',
      log_level: 'info',
      ca_key_type: 'ec-p256',
      ca_ttl: '24h',
      ca_subject: [{ country: ['US'], organization: ['Sandbox'], common_name: trustDomain(cluster) }],
      default_x509_svid_ttl: '1h',
      // Agents get new entries from a cache; five seconds by default.
      experimental: { cache_reload_interval: '1s' },
      jwt_issuer: `https://oidc-discovery.${trustDomain(cluster)}`,
    },
    plugins: {
      DataStore: [
        { sql: { plugin_data: { database_type: 'sqlite3', connection_string: '/run/spire/data/datastore.sqlite3' } } },
      ],
      KeyManager: [{ disk: { plugin_data: { keys_path: '/run/spire/data/keys.json' } } }],
      NodeAttestor: [
        {
          k8s_psat: {
            plugin_data: {
              clusters: [
                {
                  [cluster]: {
                    service_account_allow_list: [`${SPIRE_NAMESPACE}:spire-agent`],
                    audience: ['spire-server'],
                    kube_config_file: `${ACCOUNT_FOLDER}/kubeconfig`,
                  },
                },
              ],
            },
          },
        },
      ],
      Notifier: [
        {
          k8sbundle: {
            plugin_data: {
              namespace: SPIRE_NAMESPACE,
              config_map: 'spire-bundle',
              kube_config_file_path: `${ACCOUNT_FOLDER}/kubeconfig`,
            },
          },
        },
      ],
    },
    health_checks: {
      listener_enabled: true,
      bind_address: '0.0.0.0',
      bind_port: '8080',
      live_path: '/live',
      ready_path: '/ready',
    },
  });
}

function agentConf(cluster: string): string {
  return json({
    agent: {
      data_dir: '/var/lib/spire',
      log_level: 'info',
      server_address: `spire-server.${SPIRE_NAMESPACE}`,
      server_port: '8081',
      socket_path: '/tmp/spire-agent/public/spire-agent.sock',
      admin_socket_path: AGENT_ADMIN_SOCKET,
      authorized_delegates: [delegateSpiffeId(cluster)],
      trust_bundle_path: '/run/spire/bundle/bundle.crt',
      // Five seconds by default; nobody wants to wait that long for a test workload's identity.
      experimental: { sync_interval: '1s' },
      trust_domain: trustDomain(cluster),
    },
    plugins: {
      KeyManager: [{ memory: { plugin_data: null } }],
      NodeAttestor: [{ k8s_psat: { plugin_data: { cluster, token_path: '/var/run/secrets/tokens/spire-agent' } } }],
      WorkloadAttestor: [{ unix: { plugin_data: {} } }],
    },
  });
}

function controllerManagerConfig(cluster: string): string {
  return json({
    apiVersion: 'spire.spiffe.io/v1alpha1',
    kind: 'ControllerManagerConfig',
    metrics: { bindAddress: '127.0.0.1:0' },
    health: { healthProbeBindAddress: '127.0.0.1:0' },
    leaderElection: { leaderElect: false },
    className: CLASS_NAME,
    watchClassless: false,
    clusterName: cluster,
    clusterDomain: 'cluster.local',
    trustDomain: trustDomain(cluster),
    ignoreNamespaces: ['kube-system', 'kube-public', 'local-path-storage'],
    spireServerSocketPath: '/tmp/spire-server/private/api.sock',
    validatingWebhookConfigurationName: 'spire-controller-manager-webhook',
  });
}

function serverStatefulSet(version: SpireVersion): Resource {
  return {
    ...namespaced('apps/v1', 'StatefulSet', 'spire-server', SERVER_LABELS),
    spec: {
      replicas: 1,
      serviceName: 'spire-server',
      selector: { matchLabels: SERVER_LABELS },
      template: {
        metadata: { labels: SERVER_LABELS },
        spec: {
          serviceAccountName: 'spire-server',
          terminationGracePeriodSeconds: 10,
          containers: [
            {
              name: 'spire-server',
              image: `ghcr.io/spiffe/spire-server:${version}`,
              args: ['-config', '/run/spire/config/server.conf'],
              // The authorities of its system, by which it verifies bundle endpoints with profile https_web.
              env: [{ name: 'SSL_CERT_FILE', value: '/run/spire/web-roots/ca.crt' }],
              ports: [
                { name: 'grpc', containerPort: 8081, protocol: 'TCP' },
                { name: 'healthz', containerPort: 8080, protocol: 'TCP' },
              ],
              readinessProbe: { httpGet: { path: '/ready', port: 'healthz' }, periodSeconds: 5 },
              volumeMounts: [
                { name: 'server-socket', mountPath: '/tmp/spire-server/private' },
                { name: 'spire-config', mountPath: '/run/spire/config', readOnly: true },
                { name: 'spire-data', mountPath: '/run/spire/data' },
                { name: 'web-roots', mountPath: '/run/spire/web-roots', readOnly: true },
                { name: 'web-certificate', mountPath: '/run/spire/web-certificate', readOnly: true },
              ],
            },
            {
              name: 'spire-controller-manager',
              image: 'ghcr.io/spiffe/spire-controller-manager:0.7.0',
              args: ['--config=/controller-manager-config.d/controller-manager-config.yaml'],
              env: [{ name: 'ENABLE_WEBHOOKS', value: 'false' }],
              volumeMounts: [
                { name: 'server-socket', mountPath: '/tmp/spire-server/private', readOnly: true },
                { name: 'controller-manager-config', mountPath: '/controller-manager-config.d', readOnly: true },
              ],
            },
          ],
          volumes: [
            { name: 'server-socket', emptyDir: {} },
            { name: 'spire-config', configMap: { name: 'spire-server' } },
            { name: 'controller-manager-config', configMap: { name: 'spire-controller-manager' } },
            { name: 'spire-data', hostPath: { path: '/var/lib/spire-server', type: 'DirectoryOrCreate' } },
            { name: 'web-roots', configMap: { name: WEB_ROOTS } },
            { name: 'web-certificate', secret: { secretName: WEB_CERTIFICATE } },
          ],
        },
      },
    },
  };
}

function agentDaemonSet(version: SpireVersion): Resource {
  return {
    ...namespaced('apps/v1', 'DaemonSet', 'spire-agent', AGENT_LABELS),
    spec: {
      selector: { matchLabels: AGENT_LABELS },
      template: {
        metadata: { labels: AGENT_LABELS },
        spec: {
          serviceAccountName: 'spire-agent',
          terminationGracePeriodSeconds: 5,
          containers: [
            {
              name: 'spire-agent',
              image: `ghcr.io/spiffe/spire-agent:${version}`,
              args: ['-config', '/run/spire/config/agent.conf'],
              volumeMounts: [
                { name: 'agent-config', mountPath: '/run/spire/config', readOnly: true },
                { name: 'spire-bundle', mountPath: '/run/spire/bundle', readOnly: true },
                { name: 'agent-data', mountPath: '/var/lib/spire' },
                { name: 'agent-sockets', mountPath: '/tmp/spire-agent' },
                { name: 'spire-token', mountPath: '/var/run/secrets/tokens' },
              ],
            },
          ],
          volumes: [
            { name: 'agent-config', configMap: { name: 'spire-agent' } },
            { name: 'spire-bundle', configMap: { name: 'spire-bundle' } },
            { name: 'agent-data', emptyDir: {} },
            { name: 'agent-sockets', emptyDir: {} },
            {
              name: 'spire-token',
              projected: {
                sources: [
                  { serviceAccountToken: { path: 'spire-agent', audience: 'spire-server', expirationSeconds: 7200 } },
                ],
              },
            },
          ],
        },
      },
    },
  };
}

/** The operator's own default: an identity without federation for every pod that nothing else gives one. */
function defaultIdentity(): Resource {
  return {
    apiVersion: 'spire.spiffe.io/v1alpha1',
    kind: 'ClusterSPIFFEID',
    metadata: { name: 'zero-trust-workload-identity-manager-spire-default' },
    spec: {
      className: CLASS_NAME,
      fallback: true,
      hint: 'default',
      namespaceSelector: {
        matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'NotIn', values: [SPIRE_NAMESPACE] }],
      },
      spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}',
    },
  };
}

/** What SPIRE's own service accounts may do: attest agents, publish the bundle, run the controller manager. */
function accessManifests(): Resource[] {
  const rules = [
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    { apiGroups: [''], resources: ['pods', 'nodes', 'namespaces', 'endpoints'], verbs: ['get', 'list', 'watch'] },
    { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
    { apiGroups: ['spire.spiffe.io'], resources: ['*'], verbs: ['get', 'list', 'watch', 'patch', 'update'] },
  ];
  return [
    { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole', metadata: { name: 'spire-server' }, rules },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'spire-server' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'spire-server' },
      subjects: [{ kind: 'ServiceAccount', name: 'spire-server', namespace: SPIRE_NAMESPACE }],
    },
    {
      ...namespaced('rbac.authorization.k8s.io/v1', 'Role', 'spire-bundle'),
      rules: [{ apiGroups: [''], resources: ['configmaps'], resourceNames: ['spire-bundle'], verbs: ['get', 'patch'] }],
    },
    {
      ...namespaced('rbac.authorization.k8s.io/v1', 'RoleBinding', 'spire-bundle'),
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'spire-bundle' },
      subjects: [{ kind: 'ServiceAccount', name: 'spire-server', namespace: SPIRE_NAMESPACE }],
    },
  ];
}

function namespaced(apiVersion: string, kind: string, name: string, labels?: Record<string, string>): Resource {
  return {
    apiVersion,
    kind,
    metadata: { name, namespace: SPIRE_NAMESPACE, ...(labels === undefined ? {} : { labels }) },
  };
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
