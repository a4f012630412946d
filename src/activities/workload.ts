import { Context } from '@temporalio/activity';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { DEFAULT_CLASS_NAME } from '../contract/names.js';
import type { EntryFacts, PodFacts, WorkloadFacts, WorkloadReference } from '../contract/workload.js';
import { readIdentity } from '../federation/identity.js';
import { CLUSTER_SPIFFE_ID } from '../federation/policy.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { listObjects, readObject } from '../kubernetes/objects.js';
import { parseBundleList } from '../spire/bundle.js';
import { readServerConf } from '../spire/serverConf.js';
import type { Clusters } from './clusters.js';
import { readClassName } from './facts.js';
import { readServerConfMap } from './server.js';

/** A SPIFFE ID may have thousands of pods; so many are looked at. */
const PODS_AT_MOST = 20;
const CSI_DRIVER = 'csi.spiffe.io';

/** What explains the identity of workloads. */
export function workloadActivities(clusters: Clusters) {
  return {
    /** No pods when the cluster has none such. Changes nothing. */
    async readWorkload({
      cluster,
      workload,
    }: {
      cluster: string;
      workload: WorkloadReference;
    }): Promise<WorkloadFacts> {
      const { connection, spire } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const [{ text }, className, identities, stored, entries] = await Promise.all([
        readServerConfMap(connection),
        connection.cluster.className ?? readClassName(connection),
        listObjects(connection, CLUSTER_SPIFFE_ID),
        spire.storedBundles(signal),
        spire.entries(workload.kind === 'spiffeId' ? workload.spiffeId : undefined, signal),
      ]);
      const pods = await findPods(connection, workload, entries);
      return {
        cluster,
        trustDomain: readServerConf(text).trustDomain,
        className: className ?? DEFAULT_CLASS_NAME,
        storedBundles: [...parseBundleList(stored).keys()],
        pods: await Promise.all(pods.slice(0, PODS_AT_MOST).map((pod) => readPodFacts(connection, pod))),
        entries: entries.filter(({ selectors }) =>
          pods.some(({ metadata }) => selectors.includes(`k8s:pod-uid:${metadata.uid}`)),
        ),
        identities: identities.map(readIdentity),
      };
    },
  };
}

async function findPods(
  connection: ClusterConnection,
  workload: WorkloadReference,
  entries: readonly EntryFacts[],
): Promise<KubernetesObject[]> {
  if (workload.kind === 'pod') {
    const { namespace, name } = workload;
    const pod = await readObject(connection, { apiVersion: 'v1', kind: 'Pod', metadata: { namespace, name } });
    return pod === undefined ? [] : [pod];
  }
  const uids = new Set(
    workload.kind === 'uid'
      ? [workload.uid]
      : entries.flatMap(({ selectors }) => selectors).map((selector) => selector.replace('k8s:pod-uid:', '')),
  );
  const pods = await listObjects(connection, { apiVersion: 'v1', kind: 'Pod' });
  return pods.filter(({ metadata }) => metadata.uid !== undefined && uids.has(metadata.uid));
}

interface PodBody {
  spec?: { nodeName?: string; serviceAccountName?: string; volumes?: { csi?: { driver?: string } }[] };
  status?: { phase?: string };
}

async function readPodFacts(connection: ClusterConnection, pod: KubernetesObject): Promise<PodFacts> {
  const { name, namespace = '', uid = '', labels = {} } = pod.metadata;
  const { spec, status } = pod as PodBody;
  const found = await readObject(connection, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
  return {
    namespace,
    name,
    uid,
    labels,
    namespaceLabels: found?.metadata.labels ?? {},
    serviceAccount: spec?.serviceAccountName ?? 'default',
    phase: status?.phase ?? 'Unknown',
    ...(spec?.nodeName === undefined ? {} : { nodeName: spec.nodeName }),
    csiVolume: spec?.volumes?.some(({ csi }) => csi?.driver === CSI_DRIVER) ?? false,
  };
}
