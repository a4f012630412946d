import { SpanKind, trace, type Attributes } from '@opentelemetry/api';
import { inChildSpan } from '../tracing/span.js';
import type { ClusterConnection } from './connect.js';

/** What a request is about, as its path says. */
interface Target {
  group?: string;
  /** With the subresource: "pods/log". */
  resource?: string;
  namespace?: string;
  name?: string;
}

const VERBS: Readonly<Record<string, string>> = { POST: 'create', PATCH: 'patch', PUT: 'update', DELETE: 'delete' };

/**
 * Does a request as a span of the activity that asks for it: what is asked of which cluster, and the status of the
 * answer. Neither the query nor the server's address is on it, nor anything of body or credentials.
 * @param verb as RBAC names it, where the method does not say it
 */
export async function requestSpan<T>(
  { cluster }: ClusterConnection,
  { method, path, verb }: { method: string; path: string; verb?: string },
  work: () => Promise<T>,
): Promise<T> {
  const target = targetOf(path);
  const done = verb ?? VERBS[method] ?? (target.name === undefined && target.resource !== undefined ? 'list' : 'get');
  const attributes = {
    'spire_federator.cluster': cluster.name,
    'http.request.method': method,
    'kubernetes.verb': done,
    ...targetAttributes(target),
  };
  return inChildSpan(`${done} ${target.resource ?? path}`, { kind: SpanKind.CLIENT, attributes }, work);
}

/** Does a command in a pod as a span: by its first words, as its arguments may be anything. */
export async function execSpan<T>(
  { cluster }: ClusterConnection,
  { namespace, pod, container }: { namespace: string; pod: string; container: string },
  command: string,
  work: () => Promise<T>,
): Promise<T> {
  const attributes = {
    'spire_federator.cluster': cluster.name,
    'kubernetes.verb': 'create',
    ...targetAttributes({ resource: 'pods/exec', namespace, name: pod }),
    'k8s.container.name': container,
    'spire_federator.command': command,
  };
  return inChildSpan('create pods/exec', { kind: SpanKind.CLIENT, attributes }, work);
}

/** Notes what the API server answered to the request that is under way. */
export function noteStatus(status: number): void {
  trace.getActiveSpan()?.setAttribute('http.response.status_code', status);
}

export function noteExitCode(code: number): void {
  trace.getActiveSpan()?.setAttribute('process.exit.code', code);
}

function targetAttributes({ group, resource, namespace, name }: Target): Attributes {
  return {
    ...(group === undefined ? {} : { 'kubernetes.group': group }),
    ...(resource === undefined ? {} : { 'kubernetes.resource': resource }),
    ...(namespace === undefined ? {} : { 'k8s.namespace.name': namespace }),
    ...(name === undefined ? {} : { 'kubernetes.name': name }),
  };
}

/** Reads /api/v1/… and /apis/<group>/<version>/…, as kube-apiserver does (apiserver: pkg/endpoints/request/requestinfo.go). */
function targetOf(path: string): Target {
  const parts = path.split('/').filter((part) => part !== '');
  const group = parts[0] === 'apis' ? parts[1] : undefined;
  const rest = parts.slice(group === undefined ? 2 : 3).map(decodeURIComponent);
  const inNamespace = rest[0] === 'namespaces' && rest.length > 2;
  const [resource, name, subresource] = inNamespace ? rest.slice(2) : rest;
  return {
    ...(group === undefined ? {} : { group }),
    ...(resource === undefined ? {} : { resource: [resource, subresource].filter((each) => each).join('/') }),
    ...(inNamespace && rest[1] !== undefined ? { namespace: rest[1] } : {}),
    ...(name === undefined ? {} : { name }),
  };
}
