import { Context } from '@temporalio/activity';
import type { ReadWorkloadRequest } from '../contract/activities.js';
import { DEFAULT_PROBE_IMAGE } from '../contract/names.js';
import type {
  EntryFacts,
  PodFacts,
  TrustDomainAuthorities,
  WorkloadFacts,
  WorkloadReference,
} from '../contract/workload.js';
import { readIdentity } from '../federation/identity.js';
import { CLUSTER_SPIFFE_ID } from '../federation/policy.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { listObjects, readObject } from '../kubernetes/objects.js';
import type { Pod } from '../kubernetes/rollout.js';
import { parseBundle, type TrustBundle } from '../spire/bundle.js';
import type { SpireServer } from '../spire/server.js';
import { readServerConf } from '../spire/serverConf.js';
import type { Clusters } from './clusters.js';
import { readControllerManager, watchedClass } from './controllerManager.js';
import { CSI_DRIVER, readHeld } from './held.js';
import { readServerConfMap } from './server.js';

/** A SPIFFE ID may have thousands of pods; so many are looked at. */
const PODS_AT_MOST = 20;

/** What explains the identity of workloads. */
export function workloadActivities(clusters: Clusters) {
  return {
    /** No pods when the cluster has none such. Changes nothing. */
    async readWorkload({ cluster, workload, lookInside }: ReadWorkloadRequest): Promise<WorkloadFacts> {
      const { connection, spire } = await clusters.get(cluster);
      const signal = Context.current().cancellationSignal;
      const { probeImage = DEFAULT_PROBE_IMAGE } = await clusters.read();
      const trustDomain = readTrustDomain(cluster, connection, spire, signal);
      const [own, controllerManager, identities, stored, entries] = await Promise.all([
        trustDomain,
        readControllerManager(connection),
        listObjects(connection, CLUSTER_SPIFFE_ID),
        spire.storedBundles(signal),
        workload.kind === 'spiffeId'
          ? trustDomain.then((domain) => entriesOf(spire, domain, workload.spiffeId, signal))
          : spire.entries(undefined, signal),
      ]);
      const found = await findPods(connection, workload, entries);
      const pods = found.slice(0, PODS_AT_MOST);
      const theirs = entries.filter(({ selectors }) =>
        pods.some(({ metadata }) => selectors.includes(`k8s:pod-uid:${metadata.uid}`)),
      );
      const parents = [...new Set(theirs.map(({ parentId }) => parentId))];
      const [podFacts, agents] = await Promise.all([
        Promise.all(pods.map((pod) => readPodFacts(connection, pod, lookInside ? probeImage : undefined, signal))),
        Promise.all(parents.map((parentId) => spire.agent(parentId, signal))),
      ]);
      return {
        ...own,
        className: watchedClass(connection, controllerManager),
        ignoreNamespaces: controllerManager.ignoreNamespaces,
        storedBundles: Object.fromEntries(
          [...stored].map(([trustDomain, bundle]) => [trustDomain, x509Authorities(bundle)]),
        ),
        pods: podFacts,
        morePods: found.length - pods.length,
        entries: theirs,
        agents: agents.filter((agent) => agent !== undefined),
        identities: identities.map(readIdentity),
      };
    },

    /** The current keys of a cluster's trust domain, by its own SPIRE server. Changes nothing. */
    async readAuthorities({ cluster }: { cluster: string }): Promise<TrustDomainAuthorities> {
      const { connection, spire } = await clusters.get(cluster);
      return readTrustDomain(cluster, connection, spire, Context.current().cancellationSignal);
    },
  };
}

async function readTrustDomain(
  cluster: string,
  connection: ClusterConnection,
  spire: SpireServer,
  signal: AbortSignal,
): Promise<TrustDomainAuthorities> {
  const [{ text }, bundle] = await Promise.all([readServerConfMap(connection), spire.bundle(signal)]);
  return {
    cluster,
    trustDomain: readServerConf(text).trustDomain,
    authorities: x509Authorities(parseBundle(bundle)),
  };
}

/** SPIRE server refuses to be asked for a SPIFFE ID of another trust domain, and has no entry for it. */
async function entriesOf(
  spire: SpireServer,
  { trustDomain }: TrustDomainAuthorities,
  spiffeId: string,
  signal: AbortSignal,
): Promise<EntryFacts[]> {
  return spiffeId.startsWith(`spiffe://${trustDomain}/`) ? spire.entries(spiffeId, signal) : [];
}

function x509Authorities({ keys }: TrustBundle): string[] {
  return keys
    .filter(({ use }) => use === 'x509-svid')
    .map(({ id }) => id)
    .sort();
}

async function findPods(
  connection: ClusterConnection,
  workload: WorkloadReference,
  entries: readonly EntryFacts[],
): Promise<Pod[]> {
  if (workload.kind === 'pod') {
    const { namespace, name } = workload;
    const pod = await readObject<Pod>(connection, { apiVersion: 'v1', kind: 'Pod', metadata: { namespace, name } });
    return pod === undefined ? [] : [pod];
  }
  const uids = new Set(
    workload.kind === 'uid'
      ? [workload.uid]
      : entries.flatMap(({ selectors }) => selectors).map((selector) => selector.replace('k8s:pod-uid:', '')),
  );
  const pods = await listObjects<Pod>(connection, { apiVersion: 'v1', kind: 'Pod' });
  return pods.filter(({ metadata }) => metadata.uid !== undefined && uids.has(metadata.uid));
}

/** @param probeImage absent where what the pod holds does not matter */
async function readPodFacts(
  connection: ClusterConnection,
  pod: Pod,
  probeImage: string | undefined,
  signal: AbortSignal,
): Promise<PodFacts> {
  const { name, namespace = '', uid = '', labels = {} } = pod.metadata;
  const { spec, status } = pod;
  const [found, held] = await Promise.all([
    readObject(connection, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }),
    probeImage === undefined ? { unread: 'nobody looked' } : readHeld(connection, pod, probeImage, signal),
  ]);
  return {
    namespace,
    name,
    uid,
    labels,
    namespaceLabels: found?.metadata.labels ?? {},
    serviceAccount: spec.serviceAccountName ?? 'default',
    phase: status?.phase ?? 'Unknown',
    ...(spec.nodeName === undefined ? {} : { nodeName: spec.nodeName }),
    csiVolume: spec.volumes?.some(({ csi }) => csi?.driver === CSI_DRIVER) ?? false,
    held,
  };
}
