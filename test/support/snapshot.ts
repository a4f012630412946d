import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ClusterApi, type Resource } from '../../sandbox/kubernetes.js';
import { connectCluster } from '../../src/kubernetes/connect.js';
import { execInPod } from '../../src/kubernetes/exec.js';
import { clusterSchema } from '../../src/contract/inventory.js';

/** Kinds that live a life of their own, whoever changes what: they say nothing about what was put back. */
const UNSTABLE = new Set([
  'controllerrevisions',
  'endpoints',
  'endpointslices',
  'events',
  'execs',
  'leases',
  'logs',
  'pods',
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
export async function spireServer(directory: string, cluster: string, ...args: string[]): Promise<string> {
  const connection = await connectCluster(
    clusterSchema.parse({ name: cluster, kubeconfig: { path: path.join(directory, cluster, 'kubeconfig') } }),
  );
  try {
    const { namespace, server } = connection.cluster;
    const target = { namespace, pod: `${server}-0`, container: server };
    const { stdout, stderr, exitCode } = await execInPod(connection, target, ['./spire-server', ...args]);
    if (exitCode !== 0) throw new Error(`spire-server ${args.join(' ')}: ${stderr}${stdout}`);
    return stdout;
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
          snapshot[`${base}/${name} ${item.metadata.namespace ?? ''}/${item.metadata.name}`] = written(item);
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

async function snapshotSpire(directory: string, cluster: string): Promise<Record<string, unknown>> {
  const [bundles, relationships] = [
    await spireServer(directory, cluster, 'bundle', 'list', '-format', 'spiffe'),
    await spireServer(directory, cluster, 'federation', 'list', '-output', 'json'),
  ];
  return { 'spire bundle list': bundles, 'spire federation list': relationships };
}
