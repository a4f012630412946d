import { ApiException } from '@kubernetes/client-node';
import { FederatorError, type FederatorErrorType } from '../contract/errors.js';
import type { ClusterConnection } from './connect.js';

const BY_STATUS: Readonly<Record<number, FederatorErrorType>> = {
  400: 'InvalidObject',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Conflict',
  422: 'InvalidObject',
};

const REMEDIES: Partial<Record<FederatorErrorType, string>> = {
  Unauthorized: 'Its credentials are not accepted: they may have expired. Renew the kubeconfig.',
  Forbidden:
    'Apply deploy/rbac.yaml (for workload show, deploy/rbac-workloads.yaml too) on that cluster, or bind the missing permission to the engine.',
};

/** Node's and OpenSSL's codes for a server certificate that the kubeconfig's CA does not vouch for. */
const TLS_CODES =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$/;

/**
 * Turns whatever a Kubernetes call threw into a FederatorError: the one place where Kubernetes and network errors are
 * classified.
 * @param attempt what was tried, e.g. "read ConfigMap spire-server"
 */
export function kubernetesError(
  { cluster: { name: cluster, kubeconfig }, config }: Pick<ClusterConnection, 'cluster' | 'config'>,
  attempt: string,
  error: unknown,
): FederatorError {
  if (error instanceof FederatorError) return error;
  if (error instanceof ApiException) {
    const type =
      BY_STATUS[error.code] ?? (error.code >= 500 || error.code === 429 ? 'KubernetesUnavailable' : 'InvalidObject');
    const remedy = REMEDIES[type];
    const said = statusMessage(error.body) ?? `HTTP ${error.code}`;
    return new FederatorError(
      type,
      `${cluster}: cannot ${attempt}: ${said}${remedy === undefined ? '' : ` ${remedy}`}`,
    );
  }
  const code = networkCode(error);
  const message = error instanceof Error ? error.message : String(error);
  if (code !== undefined && TLS_CODES.test(code)) {
    return new FederatorError(
      'InvalidKubeconfig',
      `${cluster}: cannot ${attempt}: the API server's certificate is not signed by the CA in the kubeconfig (${code}). Renew the kubeconfig.`,
    );
  }
  return new FederatorError(
    'ClusterUnreachable',
    `${cluster}: cannot ${attempt}: the API server cannot be reached (${code ?? message}). Check that it is up, and that the worker can reach ${config.getCurrentCluster()?.server ?? 'it'}, its address in ${kubeconfig.path}.`,
    { cause: error },
  );
}

/** Message of a Kubernetes Status body, which the client hands over parsed or as text. */
export function statusMessage(body: unknown): string | undefined {
  let status = body;
  if (typeof status === 'string') {
    try {
      status = JSON.parse(status);
    } catch {
      return (status as string).trim().slice(0, 300) || undefined;
    }
  }
  if (typeof status === 'object' && status !== null && 'message' in status && typeof status.message === 'string') {
    const { message } = status;
    return /[.!]$/.test(message) ? message : `${message}.`;
  }
  return undefined;
}

function networkCode(error: unknown): string | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    if ('code' in current && typeof current.code === 'string') return current.code;
    if (current.name === 'AbortError' || current.name === 'TimeoutError') return 'no answer in time';
  }
  return undefined;
}
