import { ApiException, HttpMethod, IsomorphicFetchHttpLibrary, RequestContext } from '@kubernetes/client-node';
import { FederatorError } from '../contract/errors.js';
import { noteClock } from './clock.js';
import type { ClusterConnection } from './connect.js';
import { kubernetesError } from './errors.js';
import { kubernetesRequestSeconds, observed } from './latency.js';
import { noteStatus, requestSpan } from './spans.js';

const http = new IsomorphicFetchHttpLibrary();

export interface KubernetesRequest {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Path below the API server's URL, e.g. /api/v1/namespaces/x/pods. */
  path: string;
  query?: Record<string, string>;
  body?: unknown;
  contentType?: string;
  /** What is attempted, for the error message: "read ConfigMap spire-server". */
  attempt: string;
}

/**
 * Sends one request with the cluster's credentials and returns the answer's text. Objects travel as plain JSON: the
 * client library's typed models drop fields they do not know, and an undo must restore an object exactly.
 * @throws FederatorError as classified by kubernetesError
 */
export async function requestText(connection: ClusterConnection, request: KubernetesRequest): Promise<string> {
  return observed(kubernetesRequestSeconds, { cluster: connection.label, method: request.method }, () =>
    requestSpan(connection, request, () => send(connection, request)),
  );
}

async function send(connection: ClusterConnection, request: KubernetesRequest): Promise<string> {
  const { method, path, query = {}, body, contentType = 'application/json', attempt } = request;
  const server = connection.config.getCurrentCluster()?.server.replace(/\/$/, '');
  const context = new RequestContext(`${server}${path}`, HttpMethod[method]);
  for (const [key, value] of Object.entries(query)) context.setQueryParam(key, value);
  if (body !== undefined) {
    context.setHeaderParam('Content-Type', contentType);
    context.setBody(JSON.stringify(body));
  }
  try {
    await connection.config.applySecurityAuthentication(context);
    const sentAt = Date.now();
    const response = await http.send(context).toPromise();
    noteClock(connection, response.headers['date'], sentAt);
    noteStatus(response.httpStatusCode);
    const text = await response.body.text();
    if (response.httpStatusCode >= 300) throw new ApiException(response.httpStatusCode, '', text, {});
    return text;
  } catch (error) {
    throw kubernetesError(connection, attempt, error);
  }
}

/** As requestText, for answers in JSON. */
export async function requestJson<T>(connection: ClusterConnection, request: KubernetesRequest): Promise<T> {
  const text = await requestText(connection, request);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new FederatorError(
      'KubernetesUnavailable',
      `${connection.cluster.name}: cannot ${request.attempt}: the answer is not JSON, so something else than the API server answers: ${text.slice(0, 100)}`,
    );
  }
}
