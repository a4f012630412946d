import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CriLog } from './criLog.js';
import { imageBinary, knownImage } from './images.js';
import { SandboxProcess } from './processes.js';

export interface ContainerSpec {
  name: string;
  image: string;
  command?: string[];
  args?: string[];
  env?: { name: string; value?: string }[];
  ports?: { name?: string; containerPort: number }[];
  volumeMounts?: { name: string; mountPath: string }[];
  readinessProbe?: { httpGet?: { path?: string; port: string | number }; tcpSocket?: { port: string | number } };
}

/** What a container's process needs to know of its surroundings. */
export interface ContainerHost {
  podFolder: string;
  /** The pod's real address. */
  address: string;
  folders: Map<string, string>;
  /** Names that the cluster's DNS would resolve, with their addresses. */
  hosts: Record<string, string>;
  env: Record<string, string>;
  records: string;
  recordName: string;
}

/** First pause before a process is started again; it doubles with every quick exit. */
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 10_000;
/** Where SPIRE server has its API unless told otherwise. */
const SERVER_SOCKET = '/tmp/spire-server/private/api.sock';
/** A process that ran this long is taken for one that had worked. */
const STABLE_MS = 10_000;

export interface ContainerState {
  running: boolean;
  startedAt?: string;
  restartCount: number;
  lastExit?: string;
}

/**
 * A container as a process of this machine. It shares the machine's files and network, so what a mount and a network
 * namespace would do is done to its arguments, environment and configuration: paths of mounts become local ones, and
 * "all addresses" becomes the pod's own.
 */
export class Container {
  readonly folder: string;
  readonly logFile: string;
  private readonly log: CriLog;
  private process: SandboxProcess | undefined;
  private stopped = false;
  private held = false;
  private restartCount = -1;
  private startedAt: string | undefined;
  private lastExit: string | undefined;
  private backoffMs = FIRST_BACKOFF_MS;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    readonly spec: ContainerSpec,
    private readonly host: ContainerHost,
    private readonly onChange: () => void,
  ) {
    this.folder = path.join(host.podFolder, spec.name);
    this.logFile = path.join(this.folder, 'log');
    mkdirSync(this.folder, { recursive: true });
    this.log = new CriLog(this.logFile);
    this.writeProgram();
  }

  get state(): ContainerState {
    return {
      running: this.process?.running ?? false,
      restartCount: Math.max(0, this.restartCount),
      ...(this.startedAt === undefined ? {} : { startedAt: this.startedAt }),
      ...(this.lastExit === undefined ? {} : { lastExit: this.lastExit }),
    };
  }

  start(): void {
    if (this.stopped || this.held) return;
    const image = knownImage(this.spec.image);
    if (image === undefined) return;
    const args = [...image.entrypoint, ...this.defaultArgs(image.program), ...(this.spec.args ?? [])].map((argument) =>
      this.configured(this.localise(argument)),
    );
    const startedAt = Date.now();
    this.startedAt = new Date(startedAt).toISOString();
    this.restartCount++;
    const process_ = new SandboxProcess({
      name: this.host.recordName + this.spec.name,
      command: imageBinary(image),
      args,
      cwd: this.folder,
      env: this.environment(),
      onOutput: (stream, chunk) => this.log.write(stream, chunk),
      records: this.host.records,
    });
    this.process = process_;
    this.onChange();
    void process_.exited.then((how) => {
      this.lastExit = how;
      if (this.stopped || this.held) return;
      if (Date.now() - startedAt > STABLE_MS) this.backoffMs = FIRST_BACKOFF_MS;
      this.timer = setTimeout(() => this.start(), this.backoffMs);
      this.backoffMs = Math.min(this.backoffMs * 2, MAX_BACKOFF_MS);
      this.onChange();
    });
  }

  /** Ends the process and keeps it down, until released. */
  async hold(): Promise<void> {
    this.held = true;
    clearTimeout(this.timer);
    await this.process?.stop();
    this.onChange();
  }

  release(): void {
    if (!this.held) return;
    this.held = false;
    this.start();
  }

  async stop(graceMs: number): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.process?.stop(graceMs);
    // Its last words may still be on their way; nobody has to wait for them.
    void Promise.resolve(this.process?.drained).then(() => this.log.close());
  }

  /** Local path of a path inside the container. */
  localise(text: string): string {
    const mounts = [...(this.spec.volumeMounts ?? [])].sort((a, b) => b.mountPath.length - a.mountPath.length);
    let result = text;
    for (const { name, mountPath } of mounts) {
      const folder = this.host.folders.get(name);
      if (folder !== undefined) result = replacePath(result, mountPath, folder);
    }
    result = result.replaceAll('0.0.0.0', this.host.address);
    for (const [name, address] of Object.entries(this.host.hosts)) {
      result = result.replaceAll(
        new RegExp(`${name.replaceAll('.', '\\.')}(\\.svc(\\.cluster\\.local)?)?(?![\\w.-])`, 'g'),
        address,
      );
    }
    return result;
  }

  /** Paths that the program has built in, and that are mounts in the container. */
  private defaultArgs(program: string): string[] {
    return program === 'spire-server' ? ['-socketPath', SERVER_SOCKET] : [];
  }

  /** For an argument that names a configuration file: the path of its translated copy. */
  private configured(argument: string): string {
    const [, option = '', file = ''] = /^(--?[\w-]+=)?(\/.*)$/.exec(argument) ?? [];
    const mounted = [...this.host.folders.values()].some((folder) => file.startsWith(`${folder}/`));
    if (file === '' || !mounted || !existsSync(file) || !/\.(conf|ya?ml|json)$/.test(file)) return argument;
    const copy = path.join(this.folder, path.basename(file));
    writeFileSync(copy, this.localise(readFileSync(file, 'utf8')));
    return `${option}${copy}`;
  }

  environment(): Record<string, string> {
    const own = Object.fromEntries((this.spec.env ?? []).map(({ name, value = '' }) => [name, this.localise(value)]));
    const account = [...(this.spec.volumeMounts ?? [])].find(({ mountPath }) =>
      mountPath.endsWith('/kubernetes.io/serviceaccount'),
    );
    const kubeconfig = account && this.host.folders.get(account.name);
    return {
      ...hostEnvironment(),
      ...this.host.env,
      ...(kubeconfig === undefined ? {} : { KUBECONFIG: path.join(kubeconfig, 'kubeconfig') }),
      ...own,
    };
  }

  /** The program as exec finds it in the container's working folder: `./spire-server`, `./probe`. */
  private writeProgram(): void {
    const image = knownImage(this.spec.image);
    if (image === undefined) return;
    const socket = this.localise(SERVER_SOCKET);
    const file = path.join(this.folder, image.program);
    const binary = shellQuote(imageBinary(image));
    const lines =
      image.program === 'spire-server'
        ? [
            // Commands are one or two words; their options follow. SPIRE's default socket lies in a mount.
            'case "$1 $2" in',
            `  "healthcheck "*) first=$1; shift; exec ${binary} "$first" -socketPath ${shellQuote(socket)} "$@" ;;`,
            '  --version*|-version*|-*|run*|validate*|" ") ;;',
            `  *\\ show|*\\ list|*\\ create|*\\ update|*\\ delete|*\\ set|*\\ count|*\\ evict|*\\ ban|*\\ purge|*\\ mint|*\\ generate|*\\ refresh|*\\ get|*\\ reset) first=$1 second=$2; shift 2; exec ${binary} "$first" "$second" -socketPath ${shellQuote(socket)} "$@" ;;`,
            `  "localauthority "*|"upstreamauthority "*|"logger "*) first=$1 second=$2 third=$3; shift 3; exec ${binary} "$first" "$second" "$third" -socketPath ${shellQuote(socket)} "$@" ;;`,
            'esac',
            `exec ${binary} "$@"`,
          ]
        : [`exec ${binary} "$@"`];
    writeFileSync(file, `#!/bin/sh\n${lines.join('\n')}\n`);
    chmodSync(file, 0o755);
  }
}

/** What every process of a container needs of this machine. */
export function hostEnvironment(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '' };
}

/** Tells the commands that exec runs which folder stands for each mount of their container; execCommands.ts. */
export function mountsEnvironment(
  { volumeMounts = [] }: ContainerSpec,
  folders: ReadonlyMap<string, string>,
): Record<string, string> {
  const mounts = volumeMounts.flatMap(({ name, mountPath }) => {
    const folder = folders.get(name);
    return folder === undefined ? [] : [`${mountPath}=${folder}`];
  });
  return mounts.length === 0 ? {} : { SANDBOX_MOUNTS: mounts.join(':') };
}

function replacePath(text: string, from: string, to: string): string {
  const pattern = new RegExp(`(?<![\\w./-])${from.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}(?=/|"|'|\\s|$)`, 'g');
  return text.replaceAll(pattern, to).replaceAll(`unix://${from}`, `unix://${to}`);
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
