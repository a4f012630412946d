import { PassThrough } from 'node:stream';
import { Exec, type V1Status } from '@kubernetes/client-node';
import { FederatorError } from '../contract/errors.js';
import type { ClusterConnection } from './connect.js';
import { kubernetesError } from './errors.js';

export interface ExecResult {
  stdout: string;
  stderr: string;
  exitCode: number;
}

export interface ExecTarget {
  namespace: string;
  pod: string;
  container: string;
}

/**
 * Runs a command in a container and waits for its end.
 * @param timeoutMs after which the call fails; the command itself may go on in the pod, as Kubernetes cannot end it
 * @throws FederatorError ExecFailed when the connection breaks or the command does not end in time (a retry may mend it),
 *   otherwise as classified by kubernetesError
 */
export async function execInPod(
  connection: ClusterConnection,
  target: ExecTarget,
  command: readonly string[],
  { timeoutMs = 20_000, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<ExecResult> {
  const name = connection.cluster.name;
  const said = `run ${command.slice(0, 3).join(' ')} in pod ${target.pod}`;
  const stdout = collect();
  const stderr = collect();
  let resolve!: (status: V1Status) => void;
  let reject!: (error: Error) => void;
  const ended = new Promise<V1Status>((...settle) => ([resolve, reject] = settle));
  // An abort that comes before anybody awaits must not be an unhandled rejection; whoever awaits still gets it.
  ended.catch(() => undefined);
  const fail = (why: string) => reject(new FederatorError('ExecFailed', `${name}: cannot ${said}: ${why}.`));
  const onAbort = () =>
    reject(signal?.reason instanceof Error ? signal.reason : new DOMException('Cancelled', 'AbortError'));
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => fail(`no end within ${timeoutMs / 1000} s`), timeoutMs);
  try {
    const socket = await new Exec(connection.config)
      .exec(
        target.namespace,
        target.pod,
        target.container,
        [...command],
        stdout.stream,
        stderr.stream,
        null,
        false,
        resolve,
      )
      .catch((error: unknown) => {
        throw upgradeError(name, said, error);
      });
    // The status may never come when the connection breaks. `onclose` follows a delivered status too: resolve wins.
    socket.onclose = () => fail('the connection closed before the command ended');
    try {
      const status = await ended;
      return { stdout: stdout.text(), stderr: stderr.text(), exitCode: exitCode(status) };
    } finally {
      socket.onclose = null;
      socket.close();
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

function collect() {
  const stream = new PassThrough();
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { stream, text: () => Buffer.concat(chunks).toString('utf8') };
}

/**
 * A kubelet sends the exit code as a cause of a NonZeroExitCode status; other implementations (kwok) only say it in the
 * message of an internal error.
 */
function exitCode(status: V1Status): number {
  if (status.status === 'Success') return 0;
  const cause = status.details?.causes?.find((each) => each.reason === 'ExitCode')?.message;
  const code = cause ?? /exit (?:status|code) (\d+)\W*$/.exec(status.message ?? '')?.[1];
  return code === undefined ? 126 : Number(code);
}

/** The web socket's error event has the HTTP status only in its text. */
function upgradeError(cluster: string, said: string, error: unknown): FederatorError {
  const cause = typeof error === 'object' && error !== null && 'error' in error ? error.error : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  const status = Number(/Unexpected server response: (\d+)/.exec(message)?.[1]);
  if (status === 403) {
    return new FederatorError(
      'Forbidden',
      `${cluster}: cannot ${said}: the engine's account may not exec into that pod. Apply deploy/rbac.yaml on that cluster.`,
    );
  }
  if (status === 404)
    return new FederatorError('NotFound', `${cluster}: cannot ${said}: there is no such pod or container.`);
  if (status >= 400) return new FederatorError('ExecFailed', `${cluster}: cannot ${said}: HTTP ${status}.`);
  return kubernetesError(cluster, said, cause);
}
