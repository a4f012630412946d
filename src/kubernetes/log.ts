import { FederatorError, type FederatorErrorType } from '../contract/errors.js';
import type { ClusterConnection } from './connect.js';
import type { ExecTarget } from './exec.js';
import { requestText } from './request.js';

/**
 * Types of what an API server answers for a container that waits to be started (400), and for one that its kubelet does
 * not know, any more or after its own restart not yet (404): whoever asks knows that there is such a container.
 */
const NO_LOG_NOW: ReadonlySet<FederatorErrorType> = new Set(['InvalidObject', 'NotFound']);

/** Of a pod that has no container of that name (kubernetes: pkg/registry/core/pod/strategy.go, LogLocation). */
const NO_SUCH_CONTAINER = /is not valid for pod/;

/**
 * Reads the newest lines of a container's log, those of the last `sinceSeconds` when given.
 * @param previous of the container before the one that runs
 * @throws FederatorError NotReady when the container is about to begin or to end, so that it has no log just now
 */
export async function readLog(
  connection: ClusterConnection,
  { namespace, pod, container }: ExecTarget,
  {
    tailLines = 200,
    sinceSeconds,
    previous = false,
  }: { tailLines?: number; sinceSeconds?: number; previous?: boolean } = {},
): Promise<string[]> {
  const request = requestText(connection, {
    method: 'GET',
    path: `/api/v1/namespaces/${namespace}/pods/${pod}/log`,
    query: {
      container,
      tailLines: String(tailLines),
      ...(sinceSeconds === undefined ? {} : { sinceSeconds: String(sinceSeconds) }),
      ...(previous ? { previous: 'true' } : {}),
    },
    attempt: `read the log of pod ${pod}`,
  });
  const text = await request.catch((error: unknown) => {
    if (error instanceof FederatorError && NO_LOG_NOW.has(error.type) && !NO_SUCH_CONTAINER.test(error.message))
      throw new FederatorError('NotReady', error.message);
    throw error;
  });
  return text.split('\n').filter((line) => line !== '');
}
