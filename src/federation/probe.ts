import type { DeployProbeRequest, ProbeRole } from '../contract/activities.js';
import type { ExposureFacts } from '../contract/facts.js';
import type { Exposure } from '../contract/inventory.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { BUNDLE_ENDPOINT_PORT, PROBE_NAMESPACE } from '../contract/names.js';
import type { ExposureContext } from './exposure.js';
import { owned } from './ownership.js';

export const PROBE_ROLES: readonly ProbeRole[] = ['federated', 'unfederated'];
export const PROBE_CONTAINER = 'probe';
/** Name of what exposes the federated test workload: its Service, and its Route or Ingress. */
export const PROBE_ENDPOINT = 'probe';

const ROLE_LABEL = 'spire-federator.io/probe';
const SOCKET_FOLDER = '/spiffe-workload-api';

/** SPIFFE ID of a test workload; its ClusterSPIFFEID gives it. */
export function probeSpiffeId(trustDomain: string, role: ProbeRole): string {
  return `spiffe://${trustDomain}${probePath(role)}`;
}

function probePath(role: ProbeRole): string {
  return `/spire-federator/probe/${role}`;
}

/**
 * How a test workload is reached: the way the bundle endpoint is, under a host of its own. Undefined where only one
 * given address leads to the cluster: from there others can be reached, but not the other way round.
 */
export function probeExposure(exposure: ExposureFacts): Exposure | undefined {
  switch (exposure.type) {
    case 'route':
    case 'managedRoute':
      return { type: 'route' };
    case 'ingress':
      return { ...exposure, host: `probe-${exposure.host}` };
    case 'nodePort':
      return { type: 'nodePort', host: exposure.host };
    case 'loadBalancer':
      return exposure;
    case 'address':
      return undefined;
  }
}

/** What the exposure strategies need to expose the federated test workload. */
export function probeExposureContext(exposure: Exposure, trustDomain: string): ExposureContext {
  return {
    namespace: PROBE_NAMESPACE,
    serviceName: PROBE_ENDPOINT,
    routeName: PROBE_ENDPOINT,
    selector: { [ROLE_LABEL]: 'federated' },
    targetPort: BUNDLE_ENDPOINT_PORT,
    exposure,
    trustDomain,
  };
}

/** A test workload as any workload of the cluster would be written: it takes its identity from the CSI volume. */
export function probePod(
  role: ProbeRole,
  image: string,
  federation: string,
  spiffeIdPath = probePath(role),
): KubernetesObject {
  return owned(
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: role, namespace: PROBE_NAMESPACE, labels: { [ROLE_LABEL]: role } },
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: PROBE_CONTAINER,
            image,
            args: ['serve', '--listen', `0.0.0.0:${BUNDLE_ENDPOINT_PORT}`],
            env: [
              { name: 'SPIFFE_ENDPOINT_SOCKET', value: `unix://${SOCKET_FOLDER}/spire-agent.sock` },
              { name: 'PROBE_SPIFFE_ID_PATH', value: spiffeIdPath },
            ],
            ports: [{ containerPort: BUNDLE_ENDPOINT_PORT, name: 'federation' }],
            // It listens once it has an identity.
            readinessProbe: { tcpSocket: { port: BUNDLE_ENDPOINT_PORT }, periodSeconds: 1 },
            volumeMounts: [{ name: 'spiffe-workload-api', mountPath: SOCKET_FOLDER, readOnly: true }],
            securityContext: {
              allowPrivilegeEscalation: false,
              capabilities: { drop: ['ALL'] },
              runAsNonRoot: true,
              seccompProfile: { type: 'RuntimeDefault' },
            },
          },
        ],
        volumes: [{ name: 'spiffe-workload-api', csi: { driver: 'csi.spiffe.io', readOnly: true } }],
      },
    },
    federation,
  );
}

/** The identity of a test workload; only the federated one names other trust domains. */
export function probeIdentity(role: ProbeRole, request: DeployProbeRequest): KubernetesObject {
  return owned(
    {
      apiVersion: 'spire.spiffe.io/v1alpha1',
      kind: 'ClusterSPIFFEID',
      metadata: { name: probeIdentityName(role, request.federation) },
      spec: {
        className: request.className,
        spiffeIDTemplate:
          role === 'federated' && request.spiffeId !== undefined
            ? request.spiffeId
            : `spiffe://{{ .TrustDomain }}${probePath(role)}`,
        namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': PROBE_NAMESPACE } },
        podSelector: { matchLabels: { [ROLE_LABEL]: role } },
        ...(role === 'federated' ? { federatesWith: request.federatesWith } : {}),
      },
    },
    request.federation,
  );
}

export function probeIdentityName(role: ProbeRole, federation: string): string {
  return `spire-federator-${federation}-probe-${role}`;
}
