import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { clusterSchema } from '../../src/contract/inventory.js';
import type { Resource } from '../../sandbox/kubernetes.js';
import { DEFAULT_CLASS_NAME, DEFAULT_PROBE_IMAGE } from '../../src/contract/names.js';
import { exposureStrategy } from '../../src/federation/exposure.js';
import {
  PROBE_CONTAINER,
  probeExposureContext,
  probeIdentity,
  probePod,
  probeSpiffeId,
} from '../../src/federation/probe.js';
import { connectCluster, type ClusterConnection } from '../../src/kubernetes/connect.js';
import { execInPod } from '../../src/kubernetes/exec.js';
import { adminApi } from './snapshot.js';
import { eventually } from './spireTrustDomain.js';

/** Of its own, so that a change can probe beside it. */
const NAMESPACE = 'mtls-watch';
const FEDERATION = 'mtls-watch';
const trustDomain = (cluster: string) => `apps.${cluster}.sandbox.test`;

/** Two workloads of different clusters that speak mTLS again and again while something else happens. */
export class MtlsWatch {
  private stopped = false;
  private handshakes = 0;
  private readonly refused: string[] = [];
  private readonly watching: Promise<void>;

  private constructor(
    private readonly directory: string,
    private readonly clusters: readonly [string, string],
    private readonly dialler: ClusterConnection,
    private readonly pauseMs: number,
  ) {
    this.watching = this.watch();
  }

  /** Deploys the workloads and waits for their first handshake. @param pauseMs between two handshakes */
  static async start(directory: string, from: string, to: string, pauseMs = 50): Promise<MtlsWatch> {
    for (const cluster of [from, to]) await deploy(directory, cluster, cluster === from ? to : from);
    const dialler = await connectCluster(
      clusterSchema.parse({ name: from, kubeconfig: { path: path.join(directory, from, 'kubeconfig') } }),
    );
    await eventually(async () => {
      const refusal = await dial(dialler, to);
      if (refusal !== undefined) throw new Error(refusal);
    }, 180_000);
    return new MtlsWatch(directory, [from, to], dialler, pauseMs);
  }

  /** Ends it, removes the workloads, and tells how it went. */
  async stop(): Promise<{ handshakes: number; refused: string[] }> {
    this.stopped = true;
    await this.watching;
    this.dialler.close();
    for (const cluster of this.clusters) await remove(this.directory, cluster);
    return { handshakes: this.handshakes, refused: this.refused };
  }

  private async watch(): Promise<void> {
    while (!this.stopped) {
      const refusal = await dial(this.dialler, this.clusters[1]);
      if (refusal === undefined) this.handshakes++;
      else this.refused.push(refusal);
      await delay(this.pauseMs);
    }
  }
}

/** One handshake. @returns why there was none */
async function dial(connection: ClusterConnection, to: string): Promise<string | undefined> {
  const address = `probe-${NAMESPACE}.${trustDomain(to)}:443`;
  const expected = probeSpiffeId(trustDomain(to), 'federated');
  const { stdout, stderr } = await execInPod(
    connection,
    { namespace: NAMESPACE, pod: 'federated', container: PROBE_CONTAINER },
    ['./probe', 'dial', '--address', address, '--expect', expected, '--timeout', '5s'],
  );
  // Exec over a web socket now and then loses the output of a command that succeeded.
  if (stdout === '' && stderr === '') return dial(connection, to);
  const report = JSON.parse(stdout === '' ? '{}' : stdout) as { ok?: boolean; reason?: string; error?: string };
  return report.ok === true ? undefined : `${report.reason ?? ''} ${report.error ?? stderr}`;
}

async function deploy(directory: string, cluster: string, peer: string): Promise<void> {
  const context = { ...probeExposureContext({ type: 'route' }, trustDomain(cluster)), namespace: NAMESPACE };
  const identity = probeIdentity('federated', {
    cluster,
    federation: FEDERATION,
    className: DEFAULT_CLASS_NAME,
    exposure: { type: 'route' },
    trustDomain: trustDomain(cluster),
    federatesWith: [trustDomain(peer)],
    timeoutMs: 0,
  });
  Object.assign(identity['spec'] as object, {
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': NAMESPACE } },
  });
  const pod = probePod('federated', DEFAULT_PROBE_IMAGE, FEDERATION);
  pod.metadata.namespace = NAMESPACE;
  const namespace: Resource = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } };
  const api = adminApi(directory, cluster);
  try {
    await api.apply(namespace);
    // A pod is refused until its namespace has the default service account.
    await eventually(() => api.request(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts/default`), 60_000);
    for (const object of [identity, pod, ...exposureStrategy('route').objects(context)]) await api.apply(object);
  } finally {
    api.close();
  }
}

async function remove(directory: string, cluster: string): Promise<void> {
  const api = adminApi(directory, cluster);
  try {
    await api.delete(`/apis/spire.spiffe.io/v1alpha1/clusterspiffeids/spire-federator-${FEDERATION}-probe-federated`);
    await api.delete(`/api/v1/namespaces/${NAMESPACE}`);
    await eventually(async () => {
      const { items } = await api.request<{ items: { metadata: { name: string } }[] }>('/api/v1/namespaces');
      if (items.some(({ metadata }) => metadata.name === NAMESPACE)) throw new Error('the namespace is still there');
    }, 180_000);
  } finally {
    api.close();
  }
}
