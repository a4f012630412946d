import https from 'node:https';
import type { IncomingMessage } from 'node:http';
import { ApiException } from '@kubernetes/client-node';
import type { ClusterConnection } from './connect.js';
import { kubernetesError } from './errors.js';
import { noteStatus, requestSpan } from './spans.js';

/** How long the API server may take to begin its answer. */
const ANSWER_WITHIN_MS = 15_000;

/**
 * Opens an answer that goes on, as that of a watch or of a followed log. It is read as it comes and ends with the signal.
 * The client library's own watch and log following either never end or fail uncaught when the connection breaks.
 * @throws FederatorError as classified by kubernetesError when it cannot be opened; afterwards the stream itself fails
 */
export async function openStream(
  connection: ClusterConnection,
  request: StreamRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const verb = request.query?.['watch'] === undefined ? {} : { verb: 'watch' };
  return requestSpan(connection, { method: 'GET', path: request.path, ...verb }, () =>
    open(connection, request, signal),
  );
}

interface StreamRequest {
  path: string;
  query?: Record<string, string>;
  attempt: string;
}

async function open(
  connection: ClusterConnection,
  { path, query = {}, attempt }: StreamRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { config } = connection;
  try {
    const url = new URL(`${config.getCurrentCluster()?.server.replace(/\/$/, '')}${path}`);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    const options: https.RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = https.get(url, { ...options, signal }, resolve);
      request.once('error', reject);
      request.setTimeout(ANSWER_WITHIN_MS, () => request.destroy(new Error('no answer in time')));
      request.once('response', () => request.setTimeout(0));
    });
    noteStatus(answer.statusCode ?? 0);
    if (answer.statusCode === 200) return answer.setEncoding('utf8');
    const body = (await answer.setEncoding('utf8').toArray()).join('');
    throw new ApiException(answer.statusCode ?? 0, '', body, {});
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw kubernetesError(connection, attempt, error);
  }
}

/** The lines of a stream as they come; the last one, if it is not ended, too. */
export async function* linesOf(stream: AsyncIterable<unknown>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}
