import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { ApiException, Exec, type V1Status } from '@kubernetes/client-node';
import WebSocket from 'ws';
import { FederatorError } from '../contract/errors.js';
import type { ClusterConnection } from './connect.js';
import { kubernetesError, statusMessage } from './errors.js';
import { execSeconds, observed } from './latency.js';
import { execSpan, noteExitCode } from './spans.js';

export interface ExecResult {
  stdout: string;
  stderr: string;
  exitCode: number;
}

/** Exit code of a command that did not get as far as one of its own, as of a shell that cannot start it. */
export const NOT_STARTED = 126;

export interface ExecTarget {
  namespace: string;
  pod: string;
  container: string;
}

interface ExecOptions {
  timeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * Runs a command in a container and waits for its end.
 * @param timeoutMs after which the call fails, opening the connection included; the command itself may go on in the pod,
 *   as Kubernetes cannot end it
 * @throws FederatorError ExecFailed when the connection does not open or breaks, when the pod or container is not there,
 *   or when the command does not end in time (a retry may mend each of these); otherwise as classified by kubernetesError
 */
export async function execInPod(
  connection: ClusterConnection,
  target: ExecTarget,
  command: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> {
  return observed(execSeconds, { cluster: connection.label }, () =>
    execSpan(connection, target, firstWords(command), () => run(connection, target, command, options)),
  );
}

async function run(
  connection: ClusterConnection,
  target: ExecTarget,
  command: readonly string[],
  { timeoutMs = 20_000, signal }: ExecOptions,
): Promise<ExecResult> {
  signal?.throwIfAborted();
  const attempt = `run ${firstWords(command)} in pod ${target.pod}`;
  const stdout = new Collector();
  const stderr = new Collector();
  const exec = new OpenExec(connection, attempt);
  const onAbort = () => exec.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => exec.failFor(`no end within ${timeoutMs / 1000} s`), timeoutMs);
  try {
    const status = await exec.run(target, command, stdout, stderr);
    const code = exitCode(status);
    noteExitCode(code);
    // Of what never ran, only the status says why.
    const said = code === NOT_STARTED ? stderr.text || (status.message ?? '') : stderr.text;
    return { stdout: stdout.text, stderr: said, exitCode: code };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/** What names a command; what follows may be a secret. */
function firstWords(command: readonly string[]): string {
  return command.slice(0, 3).join(' ');
}

/**
 * One web socket from before it opens to its end. It has one outcome, whichever comes first: the command's status, or
 * why there is none. After that no socket is left, nor does one open late.
 */
class OpenExec {
  private readonly outcome: Promise<V1Status>;
  private resolve!: (status: V1Status) => void;
  private reject!: (error: Error) => void;
  private socket: WebSocket | undefined;
  private over = false;

  constructor(
    private readonly connection: ClusterConnection,
    private readonly attempt: string,
  ) {
    this.outcome = new Promise<V1Status>((...settle) => ([this.resolve, this.reject] = settle));
    // A failure may come while nobody awaits it yet; whoever does still gets it.
    this.outcome.catch(() => undefined);
  }

  async run(
    { namespace, pod, container }: ExecTarget,
    command: readonly string[],
    stdout: Writable,
    stderr: Writable,
  ): Promise<V1Status> {
    // The library's own handler gives no hold on a socket that is still being opened.
    const handler = { connect: (path: string, _onText: unknown, onData: OnData) => this.open(path, onData) };
    new Exec(this.connection.config, handler)
      .exec(namespace, pod, container, [...command], stdout, stderr, null, false, this.resolve)
      .catch((error: unknown) => this.fail(error));
    try {
      const status = await this.outcome;
      this.socket?.close();
      return status;
    } catch (error) {
      this.socket?.terminate();
      throw error;
    } finally {
      this.over = true;
    }
  }

  fail(error: unknown): void {
    this.reject(kubernetesError(this.connection, this.attempt, error));
  }

  failFor(why: string): void {
    const said = `${this.connection.cluster.name}: cannot ${this.attempt}: ${why}`;
    this.reject(new FederatorError('ExecFailed', /[.!]$/.test(said) ? said : `${said}.`));
  }

  abort(reason: unknown): void {
    this.reject(reason instanceof Error ? reason : new DOMException('Cancelled', 'AbortError'));
  }

  private async open(path: string, onData: OnData): Promise<WebSocket> {
    const { config } = this.connection;
    const options: WebSocket.ClientOptions = {};
    // May run a program of the kubeconfig's, and so take its time.
    await config.applyToHTTPSOptions(options);
    if (this.over) throw new FederatorError('ExecFailed', 'Nobody waits for it any more.');
    const server = config.getCurrentCluster()?.server.replace(/\/$/, '').replace(/^http/, 'ws');
    const socket = new WebSocket(`${server}${path}`, PROTOCOL, options);
    this.socket = socket;
    socket.on('error', (error) => this.fail(error));
    socket.on('unexpected-response', (_request, response) => void this.refused(response));
    socket.on('message', (data: Buffer) => this.receive(data, onData));
    // The status may never come when the connection breaks. A close follows a delivered status too: the status wins.
    socket.on('close', () => this.failFor('the connection closed before the command ended'));
    await once(socket, 'open');
    return socket;
  }

  private receive(data: Buffer, onData: OnData): void {
    try {
      if (data.length > 0) onData(data.readUInt8(0), data.subarray(1));
    } catch (error) {
      this.failFor(`the answer cannot be read (${(error as Error).message})`);
    }
  }

  /** The API server, or what stands before it, answers and does not open a web socket. */
  private async refused(response: IncomingMessage): Promise<void> {
    const status = response.statusCode ?? 0;
    const body = await text(response).catch(() => '');
    if (status === 401 || status === 403) this.fail(new ApiException(status, '', body, {}));
    else this.failFor(statusMessage(body) ?? `HTTP ${status}`);
  }
}

type OnData = (channel: number, data: Buffer) => boolean;

/** Output and errors on channels of their own, and the command's status as JSON on a third. */
const PROTOCOL = 'v4.channel.k8s.io';

/** Takes what is written to it at once, so that nothing is on its way any more when the status comes. */
class Collector extends Writable {
  private readonly chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(chunk);
    done();
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('utf8');
  }
}

/**
 * A kubelet sends the exit code as a cause of a NonZeroExitCode status; other implementations (kwok) only say it in the
 * message of an internal error.
 */
function exitCode(status: V1Status): number {
  if (status.status === 'Success') return 0;
  const cause = status.details?.causes?.find((each) => each.reason === 'ExitCode')?.message;
  const code = cause ?? /exit (?:status|code) (\d+)\W*$/.exec(status.message ?? '')?.[1];
  return code === undefined ? NOT_STARTED : Number(code);
}
