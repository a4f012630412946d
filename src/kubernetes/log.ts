import type { ClusterConnection } from './connect.js';
import type { ExecTarget } from './exec.js';
import { requestText } from './request.js';

/**
 * Reads the newest lines of a container's log, those of the last `sinceSeconds` when given.
 * @param previous of the container before the one that runs
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
  const text = await requestText(connection, {
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
  return text.split('\n').filter((line) => line !== '');
}
