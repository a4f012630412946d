import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ClusterApi, eventually, type Resource } from '../../sandbox/kubernetes.js';
import { connectCluster, type ClusterConnection } from '../../src/kubernetes/connect.js';
import { execInPod, type ExecTarget } from '../../src/kubernetes/exec.js';
import { readLog } from '../../src/kubernetes/log.js';
import { clusterSchema } from '../../src/contract/inventory.js';
import { parsePollLine, type PollLine } from '../../src/spire/pollLog.js';
import { serverTarget } from '../../src/spire/server.js';

/** Kinds that live a life of their own, whoever changes what: they say nothing about what was put back. */
const UNSTABLE = new Set([
  'controllerrevisions',
  'endpoints',
  'endpointslices',
  'events',
  'execs',
  'leases',
  'logs',
  'componentstatuses',
]);

/** Every object of a cluster as its users wrote it, and SPIRE server's own state, by name. */
export async function snapshotCluster(directory: string, cluster: string): Promise<Record<string, unknown>> {
  const [objects, spire] = await Promise.all([snapshotObjects(directory, cluster), snapshotSpire(directory, cluster)]);
  return { ...objects, ...spire };
}

/** The administrator's door to a cluster of a sandbox. */
export function adminApi(directory: string, cluster: string): ClusterApi {
  const pki = (file: string) => path.join(directory, cluster, 'pki', file);
  const kubeconfig = JSON.parse(readFileSync(path.join(directory, cluster, 'kubeconfig'), 'utf8')) as {
    clusters: { cluster: { server: string } }[];
  };
  const server = kubeconfig.clusters[0]?.cluster.server ?? '';
  return new ClusterApi(server, pki('ca.crt'), { key: pki('admin.key'), certificate: pki('admin.crt') });
}

/** Runs a command of SPIRE server in its pod, as an administrator. */
export function spireServer(directory: string, cluster: string, ...args: string[]): Promise<string> {
  return atServer(directory, cluster, async (connection, target) => {
    const { stdout, stderr, exitCode } = await execInPod(connection, target, ['./spire-server', ...args]);
    if (exitCode !== 0) throw new Error(`spire-server ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
  });
}

/** What SPIRE server's log says of its polls, the newest last. */
export async function pollLines(directory: string, cluster: string): Promise<PollLine[]> {
  const log = await atServer(directory, cluster, (connection, target) => readLog(connection, target));
  return log.flatMap((line) => parsePollLine(line) ?? []);
}

async function atServer<T>(
  directory: string,
  cluster: string,
  work: (connection: ClusterConnection, target: ExecTarget) => Promise<T>,
): Promise<T> {
  const connection = await connectCluster(
    clusterSchema.parse({ name: cluster, kubeconfig: { path: path.join(directory, cluster, 'kubeconfig') } }),
  );
  try {
    return await work(connection, serverTarget(connection));
  } finally {
    connection.close();
  }
}

async function snapshotObjects(directory: string, cluster: string): Promise<Record<string, unknown>> {
  const api = adminApi(directory, cluster);
  try {
    const groups = await api.request<{ groups: { preferredVersion: { groupVersion: string } }[] }>('/apis');
    const bases = ['/api/v1', ...groups.groups.map((group) => `/apis/${group.preferredVersion.groupVersion}`)];
    const snapshot: Record<string, unknown> = {};
    for (const base of bases) {
      const { resources } = await api.request<{ resources: { name: string; verbs: string[] }[] }>(base);
      for (const { name } of resources.filter((each) => each.verbs.includes('list') && !UNSTABLE.has(each.name))) {
        const { items } = await api.request<{ items: Resource[] }>(`${base}/${name}`);
        for (const item of items) {
          const of = `${base}/${name} ${item.metadata.namespace ?? ''}`;
          if (name === 'pods') addPod(snapshot, of, item);
          else snapshot[`${of}/${item.metadata.name}`] = written(item);
        }
      }
    }
    return snapshot;
  } finally {
    api.close();
  }
}

/** An object without what the API server and controllers note on it by themselves. */
function written(object: Resource): unknown {
  const { status: _status, metadata, ...rest } = object;
  const { resourceVersion: _version, uid: _uid, ...kept } = metadata as Record<string, unknown>;
  for (const key of ['managedFields', 'generation', 'creationTimestamp']) delete kept[key];
  return { ...rest, metadata: kept };
}

/** A pod as it was asked for. One that was replaced by its like counts as the same, under whatever name and UID. */
function addPod(snapshot: Record<string, unknown>, of: string, pod: Resource): void {
  const { labels, annotations } = pod.metadata as Record<string, unknown>;
  const key = `${of}/${lastingName(pod)}`;
  const { containers } = pod['spec'] as { containers: unknown };
  const asked = JSON.parse(
    // The volume of the service account's token has a random name.
    JSON.stringify({ labels, annotations, containers }).replaceAll(/kube-api-access-\w+/g, 'kube-api-access-…'),
  ) as unknown;
  snapshot[key] = [...((snapshot[key] as unknown[] | undefined) ?? []), asked];
}

/** A pod's name without what is random in it; those of a StatefulSet keep theirs. */
function lastingName({ metadata }: Resource): string {
  const { generateName, ownerReferences = [] } = metadata as {
    generateName?: string;
    ownerReferences?: { kind: string }[];
  };
  const keeps = generateName === undefined || ownerReferences.some(({ kind }) => kind === 'StatefulSet');
  return keeps ? metadata.name : `${generateName}…`;
}

async function snapshotSpire(directory: string, cluster: string): Promise<Record<string, unknown>> {
  const [bundles, relationships] = [
    await spireServer(directory, cluster, 'bundle', 'list', '-format', 'spiffe'),
    await spireServer(directory, cluster, 'federation', 'list', '-output', 'json'),
  ];
  const { federation_relationships = [] } = JSON.parse(relationships) as {
    federation_relationships?: { trust_domain: string }[];
  };
  return {
    // In the order of trust domains: SPIRE has them in that in which they came.
    'spire bundle list': bundles
      .split(/^(?=\*+\n\* )/m)
      .map((each) => each.trim())
      .sort(),
    'spire federation list': federation_relationships.sort((one, other) =>
      one.trust_domain.localeCompare(other.trust_domain),
    ),
    'spire entries': await settledEntries(directory, cluster),
  };
}

interface Entry {
  spiffe_id: { path: string };
  parent_id: unknown;
  selectors?: { type: string; value: string }[];
  federates_with?: string[];
  hint?: string;
  x509_svid_ttl?: number;
  jwt_svid_ttl?: number;
}

/** How long SPIRE controller manager may take to make entries what its objects say: its regular look comes each 10 s. */
const SETTLED_WITHIN_MS = 30_000;

/**
 * The registration entries, once there are as many as SPIRE controller manager says that there must be: it removes those
 * of a deleted ClusterSPIFFEID, and of a deleted pod, some moments later.
 */
async function settledEntries(directory: string, cluster: string): Promise<unknown[]> {
  const api = adminApi(directory, cluster);
  try {
    return await eventually(
      `${cluster} has the registration entries that its ClusterSPIFFEIDs ask for`,
      async () => {
        const text = await spireServer(directory, cluster, 'entry', 'show', '-output', 'json');
        const { entries = [] } = JSON.parse(text) as { entries?: Entry[] };
        const wanted = await wantedEntries(api);
        // SPIRE controller manager makes one of its own for a moment, to see what SPIRE can do: at each start, and again.
        if (entries.some(({ spiffe_id }) => spiffe_id.path.startsWith('/spire-controller-manager/')))
          throw new Error('SPIRE controller manager is trying what SPIRE can do');
        const ids = entries.map(({ spiffe_id }) => spiffe_id.path).join(', ');
        if (entries.length !== wanted) throw new Error(`${wanted} are wanted, there are ${entries.length}: ${ids}`);
        const pods = await podNames(api);
        const gone = entries
          .flatMap(({ selectors = [] }) => selectors)
          .flatMap(({ type, value }) => (type === 'k8s' && value.startsWith('pod-uid:') ? [value.slice(8)] : []))
          .filter((uid) => !pods.has(uid));
        if (gone.length > 0) throw new Error(`there are entries of pods that are gone: ${gone.join(', ')}`);
        return entries
          .map((entry) => comparable(entry, pods))
          .sort((one, other) => JSON.stringify(one).localeCompare(JSON.stringify(other)));
      },
      SETTLED_WITHIN_MS,
      200,
    );
  } finally {
    api.close();
  }
}

async function wantedEntries(api: ClusterApi): Promise<number> {
  const list = async (plural: string) =>
    (await api.request<{ items: Resource[] }>(`/apis/spire.spiffe.io/v1alpha1/${plural}`)).items;
  const perPod = (await list('clusterspiffeids')).map(({ status }) => {
    const { stats = {} } = (status ?? {}) as { stats?: { entriesToSet?: number } };
    return stats.entriesToSet ?? 0;
  });
  return perPod.reduce((sum, count) => sum + count, (await list('clusterstaticentries')).length);
}

async function podNames(api: ClusterApi): Promise<Map<string, string>> {
  const { items } = await api.request<{ items: Resource[] }>('/api/v1/pods');
  return new Map(items.map((pod) => [pod.metadata.uid ?? '', `${pod.metadata.namespace ?? ''}/${lastingName(pod)}`]));
}

/** An entry without its ID, its times and the number of its revisions, and with the names of its pods. */
function comparable(entry: Entry, pods: ReadonlyMap<string, string>): unknown {
  const { spiffe_id, parent_id, selectors = [], federates_with = [], hint = '', x509_svid_ttl, jwt_svid_ttl } = entry;
  return {
    spiffe_id,
    parent_id,
    selectors: selectors
      .map(({ type, value }) => `${type}:${value}`)
      .map((selector) => selector.replace(/^k8s:pod-uid:(.*)$/, (whole, uid: string) => pods.get(uid) ?? whole))
      .sort(),
    federates_with: [...federates_with].sort(),
    hint,
    x509_svid_ttl,
    jwt_svid_ttl,
  };
}

/** Has a SPIRE server forget the bundle of a peer; its registration entries stay and no longer federate with it. */
export async function deleteStoredBundle(directory: string, cluster: string, trustDomain: string): Promise<string> {
  return spireServer(directory, cluster, 'bundle', 'delete', '-id', `spiffe://${trustDomain}`, '-mode', 'dissociate');
}
