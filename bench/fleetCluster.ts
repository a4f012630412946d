import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { Authority } from '../sandbox/authority.js';
import type { KubernetesObject } from '../src/contract/kubernetes.js';
import { BUNDLE_ENDPOINT_OBJECT, DEFAULT_CLASS_NAME, DEFAULT_REFRESH_HINT_SECONDS } from '../src/contract/names.js';
import { DEFAULT_NAMESPACE, DEFAULT_SERVER } from '../src/contract/inventory.js';
import { owned } from '../src/federation/ownership.js';
import { CFTD, serverSpiffeId } from '../src/federation/relationship.js';

const POLL_MS = (DEFAULT_REFRESH_HINT_SECONDS / 4) * 1000;
const AT = { namespace: DEFAULT_NAMESPACE };

/** A member of a simulated fleet: what its Kubernetes API and its SPIRE server answer, and its own real keys. */
export interface FleetCluster {
  name: string;
  trustDomain: string;
  endpointUrl: string;
  /** Of its bundle endpoint, which presents an SVID. */
  tls: { key: string; cert: string };
  /** As `bundle show -format spiffe` prints it, and as the endpoint serves it. */
  bundle: string;
  /** Its part of what `bundle list -output json` prints on its peers. */
  stored: string;
}

/** @param endpointPort where its bundle endpoint listens on loopback */
export async function fleetCluster(name: string, endpointPort: number): Promise<FleetCluster> {
  const trustDomain = `${name}.fleet.test`;
  const authority = await Authority.create(name);
  const [{ certificate: ca }, { key, certificate }] = await Promise.all([
    authority.pem(),
    authority.issue({ subject: 'O=SPIRE', uris: [serverSpiffeId(trustDomain)] }),
  ]);
  const asn1 = new X509Certificate(ca).raw.toString('base64');
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kid = `${name}-jwt`;
  const keys = [
    { use: 'x509-svid', kty: 'EC', x5c: [asn1] },
    { ...publicKey.export({ format: 'jwk' }), use: 'jwt-svid', kid },
  ];
  return {
    name,
    trustDomain,
    endpointUrl: `https://127.0.0.1:${endpointPort}`,
    tls: { key, cert: certificate },
    bundle: JSON.stringify({ keys, spiffe_sequence: 1, spiffe_refresh_hint: DEFAULT_REFRESH_HINT_SECONDS }),
    stored: JSON.stringify({
      trust_domain: trustDomain,
      refresh_hint: String(DEFAULT_REFRESH_HINT_SECONDS),
      x509_authorities: [{ asn1, tainted: false }],
      jwt_authorities: [
        { key_id: kid, public_key: publicKey.export({ format: 'der', type: 'spki' }).toString('base64') },
      ],
    }),
  };
}

/** The objects of a member by kind, as a setup with dynamic relationships leaves them. */
export function fleetObjects(
  cluster: FleetCluster,
  peers: readonly FleetCluster[],
  federation: string,
  startedAt: string,
): Record<string, KubernetesObject[]> {
  const metadata = { name: DEFAULT_SERVER, ...AT };
  const selector = { app: DEFAULT_SERVER };
  const conf = { server: { trust_domain: cluster.trustDomain, federation: { bundle_endpoint: { port: 8443 } } } };
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: BUNDLE_ENDPOINT_OBJECT, ...AT },
    spec: { selector, ports: [{ name: 'federation', port: 8443, targetPort: 8443 }] },
  };
  const container = { name: DEFAULT_SERVER, ports: [{ containerPort: 8443 }] };
  return {
    configmaps: [{ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'server.conf': JSON.stringify(conf) } }],
    statefulsets: [
      {
        apiVersion: 'apps/v1',
        kind: 'StatefulSet',
        metadata,
        spec: { selector: { matchLabels: selector }, template: { metadata: {}, spec: { containers: [container] } } },
      },
    ],
    pods: [
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: `${DEFAULT_SERVER}-0`, ...AT },
        spec: { containers: [container] },
        status: {
          conditions: [{ type: 'Ready', status: 'True' }],
          containerStatuses: [{ name: DEFAULT_SERVER, restartCount: 0, state: { running: { startedAt } } }],
        },
      },
    ],
    services: [owned(service, federation)],
    clusterspiffeids: [],
    clusterfederatedtrustdomains: peers.map((peer) =>
      owned(
        {
          ...CFTD,
          metadata: { name: peer.trustDomain },
          spec: {
            className: DEFAULT_CLASS_NAME,
            trustDomain: peer.trustDomain,
            bundleEndpointURL: peer.endpointUrl,
            bundleEndpointProfile: { type: 'https_spiffe', endpointSPIFFEID: serverSpiffeId(peer.trustDomain) },
            trustDomainBundle: peer.bundle,
          },
        },
        federation,
      ),
    ),
  };
}

/** SPIRE server's log of so many seconds: each peer is polled when its turn is, all of them with success. */
export function fleetLog(peers: readonly FleetCluster[], sinceSeconds: number, now: number): string {
  const lines: { at: number; line: string }[] = [];
  peers.forEach(({ trustDomain }, index) => {
    const phase = (index * POLL_MS) / peers.length;
    const newest = Math.floor((now - phase) / POLL_MS) * POLL_MS + phase;
    for (let at = newest; at > now - sinceSeconds * 1000; at -= POLL_MS) {
      const time = new Date(at).toISOString();
      const line = `time="${time}" level=info msg="Bundle refreshed" subsystem_name=bundle_client trust_domain=${trustDomain}`;
      lines.push({ at, line });
    }
  });
  return lines
    .sort((a, b) => a.at - b.at)
    .map(({ line }) => line)
    .join('\n');
}
