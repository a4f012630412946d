import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { writeExecCommands } from './execCommands.js';
import { eventually, type ClusterApi } from './kubernetes.js';
import { API_SERVER_PORT, KUBELET_PORT, type ClusterAddresses } from './layout.js';
import { writeKubeconfig, type ClusterPki } from './pki.js';
import { connects } from './ports.js';
import { SandboxProcess } from './processes.js';
import { toolPath } from './tools/toolPath.js';

const SERVICE_ACCOUNT_ISSUER = 'https://kubernetes.default.svc';

/** Controllers that the sandbox needs; the rest would only take time and memory. */
const CONTROLLERS = [
  'serviceaccount-controller',
  'serviceaccount-token-controller',
  'root-ca-certificate-publisher-controller',
  'namespace-controller',
  'statefulset-controller',
  'daemonset-controller',
  'deployment-controller',
  'replicaset-controller',
  'endpointslice-controller',
  'garbage-collector-controller',
  'pod-garbage-collector-controller',
  'job-controller',
  'disruption-controller',
];

/**
 * Parts that count on whoever started them: they give up where they cannot go on, the scheduler for one when it sees a pod
 * move after its API server was away, and a kubelet starts them again.
 */
const RESTARTED: ReadonlySet<ControlPlanePart> = new Set(['kube-controller-manager', 'kube-scheduler']);
const RESTART_AFTER_MS = 1_000;
/** Of what `SandboxProcess.ending` says of a process that was not ended by a signal. */
const GAVE_UP = 'exit code';

export type ControlPlanePart = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler' | 'kwok';

/** The real control plane of one cluster, with kwok in the kubelet's place for exec and logs. */
export class ControlPlane {
  readonly parts = new Map<ControlPlanePart, SandboxProcess>();
  /** How parts ended that gave up and were started again. */
  readonly givenUp = new Map<ControlPlanePart, string[]>();
  private readonly logs: string;

  constructor(
    private readonly cluster: string,
    private readonly directory: string,
    private readonly records: string,
    private readonly addresses: ClusterAddresses,
    private readonly pki: ClusterPki,
  ) {
    this.logs = path.join(directory, 'logs');
    mkdirSync(this.logs, { recursive: true });
  }

  logFile(part: ControlPlanePart): string {
    return path.join(this.logs, `${part}.log`);
  }

  /** Starts the storage and the API server unless they run; returns once it answers, which is a second before it is ready. */
  async startApiServer(api: ClusterApi): Promise<void> {
    this.ensure('etcd', this.etcdArgs());
    this.ensure('kube-apiserver', this.apiServerArgs());
    await eventually(
      `${this.cluster}: the API server answers`,
      () => api.request('/livez/ping', { timeoutMs: 2_000 }),
      120_000,
    );
  }

  /** Waits until the API server is ready, and starts the controllers that do not run. */
  async startControllers(api: ClusterApi): Promise<void> {
    await eventually(
      `${this.cluster}: the API server is ready`,
      () => api.request('/readyz', { timeoutMs: 2_000 }),
      120_000,
    );
    const { controllerManager, scheduler } = this.pki;
    this.ensure('kube-controller-manager', [
      ...this.clientArgs('kube-controller-manager', controllerManager),
      `--root-ca-file=${this.pki.ca}`,
      `--service-account-private-key-file=${this.pki.serviceAccountKey}`,
      '--use-service-account-credentials=false',
      `--controllers=${CONTROLLERS.join(',')}`,
      '--kube-api-qps=200',
      '--kube-api-burst=400',
    ]);
    this.ensure('kube-scheduler', [
      ...this.clientArgs('kube-scheduler', scheduler),
      '--kube-api-qps=200',
      '--kube-api-burst=400',
    ]);
  }

  /** Starts the server for exec and logs unless it runs, and returns once it answers; its CRDs must be there. */
  async startKwok(): Promise<void> {
    const args = [
      `--kubeconfig=${this.kubeconfig('kwok', this.pki.admin)}`,
      // Pods and nodes are the sandbox's own business: with the Stage kind enabled and no Stage made, kwok plays neither.
      '--enable-crds=Stage,Exec,Logs',
      '--manage-all-nodes',
      `--node-ip=${this.addresses.host}`,
      `--node-port=${KUBELET_PORT}`,
      `--server-address=${this.addresses.host}:${KUBELET_PORT}`,
      `--tls-cert-file=${this.pki.kubelet.certificate}`,
      `--tls-private-key-file=${this.pki.kubelet.key}`,
    ];
    const commands = writeExecCommands(this.directory);
    this.ensure('kwok', args, { PATH: `${commands}:${process.env['PATH'] ?? ''}` });
    await eventually(
      `${this.cluster}: exec and logs are served`,
      async () => {
        if (!(await connects(KUBELET_PORT, this.addresses.host))) throw new Error('kwok does not listen yet');
      },
      60_000,
    );
  }

  /**
   * Ends the API server, and with it the controllers, as they end when they cannot renew their leases; here they have none,
   * and what they knew would now and then stay as old as the outage for minutes after it. So it is with kwok, which asks
   * ever more seldom.
   */
  async stopApiServer(): Promise<void> {
    await Promise.all([...RESTARTED, 'kwok' as const].map((part) => this.parts.get(part)?.stop(2_000)));
    await this.parts.get('kube-apiserver')?.stop(2_000);
  }

  /** Ends every part, the storage last. */
  async stop(): Promise<void> {
    for (const group of [
      ['kwok', 'kube-scheduler', 'kube-controller-manager'],
      ['kube-apiserver'],
      ['etcd'],
    ] as const) {
      await Promise.all(group.map((part) => this.parts.get(part)?.stop(3_000)));
    }
  }

  private ensure(part: ControlPlanePart, args: string[], environment: Record<string, string> = {}): void {
    if (this.parts.get(part)?.running === true) return;
    const started = new SandboxProcess({
      name: `${this.cluster}/${part}`,
      command: toolPath(part),
      args,
      log: this.logFile(part),
      records: this.records,
      // A start is mostly allocation: collected less often, it is faster, and there is memory to spare.
      env: { ...process.env, GOGC: '200', GOMAXPROCS: '2', ...environment },
    });
    this.parts.set(part, started);
    if (RESTARTED.has(part)) void this.startAgain(part, started, () => this.ensure(part, args, environment));
  }

  /** What gave up is started again; what somebody killed stays so, for all to see. */
  private async startAgain(part: ControlPlanePart, started: SandboxProcess, start: () => void): Promise<void> {
    const ending = await started.exited;
    if (!ending.startsWith(GAVE_UP)) return;
    await delay(RESTART_AFTER_MS);
    if (started.stopAsked || this.parts.get(part) !== started) return;
    this.givenUp.set(part, [...(this.givenUp.get(part) ?? []), ending]);
    start();
  }

  private kubeconfig(name: string, user: { key: string; certificate: string }): string {
    const file = path.join(this.directory, 'kubeconfigs', name);
    writeKubeconfig(file, { name: `${this.cluster}-${name}`, server: this.addresses.apiServer, ca: this.pki.ca, user });
    return file;
  }

  private clientArgs(name: string, user: { key: string; certificate: string }): string[] {
    const file = this.kubeconfig(name, user);
    return [
      `--kubeconfig=${file}`,
      `--authentication-kubeconfig=${file}`,
      `--authorization-kubeconfig=${file}`,
      '--leader-elect=false',
      '--secure-port=0',
    ];
  }

  private etcdArgs(): string[] {
    const { host } = this.addresses;
    return [
      '--name=sandbox',
      `--data-dir=${path.join(this.directory, 'etcd')}`,
      `--listen-client-urls=http://${host}:2379`,
      `--advertise-client-urls=http://${host}:2379`,
      `--listen-peer-urls=http://${host}:2380`,
      `--initial-advertise-peer-urls=http://${host}:2380`,
      `--initial-cluster=sandbox=http://${host}:2380`,
      '--unsafe-no-fsync',
      '--log-level=warn',
    ];
  }

  private apiServerArgs(): string[] {
    const { host, advertised } = this.addresses;
    const { apiServer, ca, admin, serviceAccountKey, serviceAccountPublicKey } = this.pki;
    return [
      `--bind-address=${host}`,
      `--secure-port=${API_SERVER_PORT}`,
      `--advertise-address=${advertised}`,
      '--endpoint-reconciler-type=none',
      `--etcd-servers=http://${host}:2379`,
      `--tls-cert-file=${apiServer.certificate}`,
      `--tls-private-key-file=${apiServer.key}`,
      `--client-ca-file=${ca}`,
      `--service-account-issuer=${SERVICE_ACCOUNT_ISSUER}`,
      `--service-account-key-file=${serviceAccountPublicKey}`,
      `--service-account-signing-key-file=${serviceAccountKey}`,
      '--service-cluster-ip-range=10.255.0.0/16',
      '--authorization-mode=Node,RBAC',
      '--allow-privileged',
      // The sandbox makes its node ready by itself; taints would only come and go.
      '--disable-admission-plugins=TaintNodesByCondition,DefaultTolerationSeconds,StorageObjectInUseProtection,Priority',
      '--kubelet-preferred-address-types=InternalIP',
      `--kubelet-certificate-authority=${ca}`,
      `--kubelet-client-certificate=${admin.certificate}`,
      `--kubelet-client-key=${admin.key}`,
      '--enable-priority-and-fairness=false',
      '--profiling=false',
    ];
  }
}
