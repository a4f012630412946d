import { createHash } from 'node:crypto';
import type { KubernetesObject } from '../contract/kubernetes.js';
import {
  NUDGE,
  PENDING_BUNDLES,
  SERVER_CONF_LAST_GOOD,
  SERVER_CONF_RECORD,
  SERVER_CONF_UNDO,
} from '../contract/names.js';

/**
 * Digest of everything that the engine configures on a cluster, and of what others could make of it. It is compared with
 * the digest of the time when all was found to be as it must be: only a difference is worth a thorough look.
 */
export function configDigest(objects: readonly KubernetesObject[], serverConf: string): string {
  const relevant = objects.map(relevantParts).sort((a, b) => keyOf(a).localeCompare(keyOf(b)));
  return createHash('sha256')
    .update(JSON.stringify([relevant, federationSection(serverConf)]))
    .digest('hex')
    .slice(0, 16);
}

/** `server.federation` of a server.conf in JSON, as text; the text's hash where it is not JSON. */
export function federationSection(serverConf: string): string {
  try {
    const { server } = JSON.parse(serverConf) as { server?: { federation?: unknown; trust_domain?: string } };
    return JSON.stringify([server?.trust_domain, sorted(server?.federation ?? null)]);
  } catch {
    // Somebody broke it: that is a difference.
    return createHash('sha256').update(serverConf).digest('hex');
  }
}

/** Annotations that come and go without meaning anything for the federation. */
const PASSING = new Set([
  NUDGE,
  PENDING_BUNDLES,
  SERVER_CONF_UNDO,
  SERVER_CONF_LAST_GOOD,
  'kubectl.kubernetes.io/last-applied-configuration',
]);

function relevantParts(object: KubernetesObject): Record<string, unknown> {
  const { apiVersion, kind, metadata } = object;
  const annotations = Object.entries(metadata.annotations ?? {}).filter(([key]) => !PASSING.has(key));
  const common = {
    kind,
    name: metadata.name,
    labels: sorted(metadata.labels ?? {}),
    annotations: sorted(Object.fromEntries(annotations)),
  };
  switch (kind) {
    case 'ConfigMap':
      // Its text is compared by the section that matters.
      return { ...common, annotations: metadata.annotations?.[SERVER_CONF_RECORD] };
    case 'StatefulSet': {
      const { template, replicas } = (object['spec'] ?? {}) as {
        replicas?: number;
        template?: {
          metadata?: { annotations?: Record<string, string> };
          spec?: { containers?: { name: string; ports?: unknown }[] };
        };
      };
      return {
        ...common,
        annotations: undefined,
        replicas,
        containers: template?.spec?.containers?.map(({ name, ports }) => ({ name, ports: sorted(ports ?? []) })),
      };
    }
    case 'Route':
    case 'Ingress':
      return {
        ...common,
        apiVersion,
        spec: sorted(withoutCertificates(object['spec'])),
        admitted: sorted(admission(object['status'])),
      };
    default:
      return { ...common, apiVersion, spec: sorted(object['spec'] ?? null) };
  }
}

/** What of the TLS settings of a Route is renewed now and then, or is secret (openshift/api: route/v1, TLSConfig). */
const CERTIFICATES = new Set(['key', 'certificate', 'caCertificate', 'destinationCACertificate']);

function withoutCertificates(spec: unknown): unknown {
  const { tls, ...rest } = (spec ?? {}) as { tls?: object };
  // Those of an Ingress are a list, which names its Secrets.
  if (tls === undefined || Array.isArray(tls)) return { ...rest, tls };
  return { ...rest, tls: Object.fromEntries(Object.entries(tls).filter(([key]) => !CERTIFICATES.has(key))) };
}

function admission(status: unknown): unknown {
  const { ingress = [] } = (status ?? {}) as {
    ingress?: { host?: string; conditions?: { type: string; status: string }[] }[];
  };
  return ingress.map(({ host, conditions = [] }) => ({
    host,
    conditions: conditions.map(({ type, status: each }) => `${type} ${each}`),
  }));
}

/** The same value with the keys of its objects in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([key, each]) => [key, sorted(each)]),
  );
}

function keyOf(parts: Record<string, unknown>): string {
  return `${String(parts['kind'])}/${String(parts['name'])}`;
}
