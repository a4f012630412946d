import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { down, status, up } from '../../sandbox/client.js';
import { ApiError, eventually, type Resource } from '../../sandbox/kubernetes.js';
import { sandboxPaths } from '../../sandbox/layout.js';
import { livingProcesses } from '../../sandbox/processes.js';
import { requiredPermissions } from '../../src/activities/permissions.js';
import { loadInventory } from '../../src/config.js';
import { clusterSchema } from '../../src/contract/inventory.js';
import { missingPermissions, type Permission } from '../../src/kubernetes/access.js';
import { connectCluster, type ClusterConnection } from '../../src/kubernetes/connect.js';
import { readLog } from '../../src/kubernetes/log.js';
import { deleteObject, patchObject, readObject } from '../../src/kubernetes/objects.js';
import { requestJson } from '../../src/kubernetes/request.js';
import { hasKubectl, kubernetesManifests, renderedRegion, type PodTemplate } from '../support/kubernetesManifests.js';
import { adminApi, spireServer } from '../support/snapshot.js';

const NAMESPACE = 'zero-trust-workload-identity-manager';
const MINUTE = 60_000;

let folder: string;
let directory: string;

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'federator-sandbox-'));
  directory = path.join(folder, '.sandbox');
  await up({ directory, clusters: 1 });
}, 3 * MINUTE);

afterAll(async () => {
  await down({ directory });
  rmSync(folder, { recursive: true, force: true });
}, MINUTE);

function pids(): Map<string, number> {
  return new Map(livingProcesses(sandboxPaths(directory).processes).map(({ name, pid }) => [name, pid]));
}

/** Whether a process does anything any more; what init has not yet collected does not. */
function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
}

async function engine(): Promise<ClusterConnection> {
  const { clusters } = await loadInventory(path.join(directory, 'inventory.yaml'));
  const [cluster] = clusters;
  if (cluster === undefined) throw new Error('the inventory is empty');
  return connectCluster(cluster);
}

test(
  'a second cluster is added, and the first one goes on undisturbed',
  async () => {
    const before = pids();
    await up({ directory, clusters: 2 });
    const after = pids();
    for (const [name, pid] of before) expect({ name, pid: after.get(name) }).toEqual({ name, pid });
    expect(after.size).toBeGreaterThan(before.size);
    const { clusters } = await status({ directory });
    expect(clusters.map(({ cluster, healthy }) => ({ cluster, healthy }))).toEqual([
      { cluster: 'client-1', healthy: true },
      { cluster: 'server-1', healthy: true },
    ]);
  },
  MINUTE,
);

test('kubeconfigs are for their owner only', () => {
  for (const file of ['kubeconfig', 'engine.kubeconfig']) {
    expect(statSync(path.join(directory, 'client-1', file)).mode & 0o777).toBe(0o600);
  }
});

test('SPIRE server answers through exec, and its log can be read', async () => {
  expect(await spireServer(directory, 'client-1', 'healthcheck')).toContain('healthy');
  const connection = await engine();
  const log = await readLog(connection, { namespace: NAMESPACE, pod: 'spire-server-0', container: 'spire-server' });
  expect(log.join('\n')).toContain('Starting Server APIs');
  connection.close();
});

test(
  "a workload's volume has a socket of its own, its SVID, its key and its bundle",
  async () => {
    const api = adminApi(directory, 'client-1');
    await api.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'workload', namespace: 'default' },
      spec: {
        containers: [
          {
            name: 'app',
            image: 'spire-federator/probe:0.1.0',
            args: ['serve', '--listen', '0.0.0.0:8443'],
            env: [{ name: 'SPIFFE_ENDPOINT_SOCKET', value: 'unix:///spiffe-workload-api/spire-agent.sock' }],
            volumeMounts: [{ name: 'spiffe', mountPath: '/spiffe-workload-api' }],
            readinessProbe: { tcpSocket: { port: 8443 } },
          },
        ],
        volumes: [{ name: 'spiffe', csi: { driver: 'csi.spiffe.io', readOnly: true } }],
      },
    });
    await eventually('the workload is ready', async () => {
      const pod = await api.request<Resource>('/api/v1/namespaces/default/pods/workload');
      expect(pod['status']).toMatchObject({ containerStatuses: [{ ready: true }] });
    });
    const { sockets } = sandboxPaths(directory);
    const found = readdirSync(sockets, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('svid.pem'),
    );
    expect(found).toHaveLength(1);
    const volume = path.join(sockets, path.dirname(found[0] ?? ''));
    expect(readdirSync(volume).sort()).toEqual(['bundle.pem', 'spire-agent.sock', 'svid-key.pem', 'svid.pem']);
    expect(readFileSync(path.join(volume, 'svid.pem'), 'utf8')).toContain('BEGIN CERTIFICATE');
    expect(statSync(path.join(volume, 'svid-key.pem')).mode & 0o777).toBe(0o600);
    await api.delete('/api/v1/namespaces/default/pods/workload');
    await eventually('its volume is gone with it', async () => {
      expect(existsSync(path.join(volume, 'svid.pem'))).toBe(false);
      return Promise.resolve();
    });
    api.close();
  },
  MINUTE,
);

test(
  'a pod of any other image just becomes Running',
  async () => {
    const api = adminApi(directory, 'client-1');
    await api.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'other', namespace: 'default' },
      spec: { containers: [{ name: 'app', image: 'nginx:1' }] },
    });
    await eventually('it runs', async () => {
      const pod = await api.request<Resource>('/api/v1/namespaces/default/pods/other');
      expect(pod['status']).toMatchObject({ phase: 'Running' });
    });
    api.close();
  },
  MINUTE,
);

test(
  'the API server takes the manifests of deploy/kubernetes, and pods as they make them',
  async () => {
    const api = adminApi(directory, 'client-1');
    const manifests = kubernetesManifests();
    for (const manifest of manifests) await api.apply(manifest, { dryRun: true });
    // Its namespace is not really made; that of the others is.
    for (const { metadata, ...rest } of hasKubectl ? renderedRegion() : []) {
      const inNamespace = rest.kind === 'Namespace' ? {} : { namespace: 'spire-federator' };
      await api.apply({ ...rest, metadata: { ...metadata, ...inNamespace } }, { dryRun: true });
    }
    const pods = manifests.filter(({ kind }) => kind === 'Deployment');
    expect(pods).toHaveLength(2);
    for (const { metadata, spec } of pods) {
      const { spec: pod } = spec?.['template'] as PodTemplate;
      // An account that there is in every namespace: theirs was not really made.
      const body = { ...pod, serviceAccountName: 'default' };
      const create = (changes: object) =>
        api.request('/api/v1/namespaces/spire-federator/pods?dryRun=All', {
          method: 'POST',
          body: { apiVersion: 'v1', kind: 'Pod', metadata: { name: metadata.name }, spec: { ...body, ...changes } },
        });
      await create({});
      await expect(create({ hostNetwork: true })).rejects.toThrow(/violates PodSecurity/);
    }
    api.close();
  },
  MINUTE,
);

test(
  'a configuration that SPIRE refuses is seen as a crash loop, with its log, and mending it heals it',
  async () => {
    const api = adminApi(directory, 'server-1');
    const at = `/api/v1/namespaces/${NAMESPACE}/configmaps/spire-server`;
    const { data } = await api.request<Resource & { data: Record<string, string> }>(at);
    await api.patch(at, { data: { 'server.conf': '{ "server": { "trust_domain": "not a domain" } }' } });
    await api.delete(`/api/v1/namespaces/${NAMESPACE}/pods/spire-server-0`);
    await eventually('status shows it', async () => {
      const { clusters } = await status({ directory });
      const part = clusters[1]?.parts.find((each) => each.part === 'spire-server-0 spire-server');
      expect(part).toMatchObject({ state: 'restarting' });
      expect(part?.log?.join('\n')).toMatch(/data_dir must be configured/);
    });
    await api.patch(at, { data });
    await api.delete(`/api/v1/namespaces/${NAMESPACE}/pods/spire-server-0`);
    await eventually('it is healthy again', async () => {
      expect((await status({ directory })).clusters[1]?.healthy).toBe(true);
      expect(await spireServer(directory, 'server-1', 'healthcheck')).toContain('healthy');
    });
    api.close();
  },
  2 * MINUTE,
);

describe('the engine’s account', () => {
  let connection: ClusterConnection;
  beforeAll(async () => {
    connection = await engine();
  });
  afterAll(() => connection.close());

  test('may do everything that a change takes', async () => {
    const exposure = { type: 'route', host: 'spire.example.org' } as const;
    const required = requiredPermissions(connection.cluster, exposure, ['change', 'probe', 'monitor']);
    expect(await missingPermissions(connection, required)).toEqual([]);
  });

  test('may not do what it need not', async () => {
    const core = (verb: string, resource: string, namespace?: string, name?: string): Permission => ({
      verb,
      group: '',
      resource,
      ...(namespace === undefined ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
    });
    const needless: Permission[] = [
      core('get', 'secrets', 'kube-system'),
      core('list', 'secrets', NAMESPACE),
      core('list', 'secrets'),
      core('create', 'namespaces'),
      core('delete', 'namespaces', undefined, 'default'),
      core('patch', 'configmaps', NAMESPACE, 'spire-controller-manager'),
      core('get', 'configmaps', 'kube-system', 'spire-server'),
      core('delete', 'services', NAMESPACE, 'spire-server'),
      core('create', 'pods', NAMESPACE),
      core('create', 'pods', 'default'),
      core('delete', 'pods', 'spire-federator-probe', 'other'),
      core('delete', 'services', 'spire-federator-probe', 'other'),
      { ...core('create', 'pods', 'spire-federator-probe', 'other'), subresource: 'exec' },
      core('create', 'configmaps', NAMESPACE),
      core('delete', 'configmaps', NAMESPACE, 'spire-server'),
      core('delete', 'pods', 'default'),
      core('delete', 'pods', NAMESPACE, 'spire-agent'),
      core('list', 'nodes'),
      { ...core('create', 'pods', NAMESPACE, 'spire-agent'), subresource: 'exec' },
      { ...core('create', 'serviceaccounts', NAMESPACE, 'spire-server'), subresource: 'token' },
      { verb: 'patch', group: 'apps', resource: 'statefulsets', namespace: NAMESPACE, name: 'other' },
      { verb: 'delete', group: 'apps', resource: 'statefulsets', namespace: NAMESPACE, name: 'spire-server' },
      { verb: 'create', group: 'rbac.authorization.k8s.io', resource: 'clusterrolebindings' },
      { verb: 'create', group: 'spire.spiffe.io', resource: 'clusterstaticentries' },
    ];
    expect(await missingPermissions(connection, needless)).toEqual(needless);
  });

  test('is refused when it tries', async () => {
    const secrets = requestJson(connection, {
      method: 'GET',
      path: '/api/v1/namespaces/kube-system/secrets',
      attempt: 'list secrets',
    });
    await expect(secrets).rejects.toMatchObject({ type: 'Forbidden' });
    const map = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'spire-controller-manager', namespace: NAMESPACE },
    };
    await expect(patchObject(connection, { ...map, data: {} })).rejects.toMatchObject({ type: 'Forbidden' });
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'other', namespace: 'default' } };
    await expect(deleteObject(connection, pod)).rejects.toMatchObject({ type: 'Forbidden' });
    const elsewhere = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'other', namespace: 'default' } };
    await expect(readObject(connection, elsewhere)).rejects.toMatchObject({ type: 'Forbidden' });
  });
});

test(
  'a part that is killed is seen with the end of its log, and up brings it back',
  async () => {
    const pid = pids().get('client-1/kube-scheduler');
    if (pid === undefined) throw new Error('no scheduler');
    process.kill(pid, 'SIGKILL');
    await eventually('status shows it', async () => {
      const { clusters } = await status({ directory });
      const part = clusters[0]?.parts.find((each) => each.part === 'kube-scheduler');
      expect(part).toMatchObject({ state: 'stopped', detail: 'signal SIGKILL' });
      expect(part?.log?.length).toBeGreaterThan(0);
    });
    await up({ directory, clusters: 2 });
    expect((await status({ directory })).clusters[0]?.healthy).toBe(true);
  },
  MINUTE,
);

test(
  'a controller that gives up is started again, and status tells',
  async () => {
    const pid = pids().get('client-1/kube-scheduler');
    if (pid === undefined) throw new Error('no scheduler');
    // It ends by itself then, with an exit code.
    process.kill(pid, 'SIGTERM');
    await eventually('it runs again', async () => {
      const { clusters } = await status({ directory });
      const part = clusters[0]?.parts.find((each) => each.part === 'kube-scheduler');
      expect(part).toMatchObject({
        state: 'running',
        detail: expect.stringMatching(/^1 restarts, last: exit code/) as string,
      });
      expect(pids().get('client-1/kube-scheduler')).not.toBe(pid);
    });
  },
  MINUTE,
);

test(
  'two sandboxes live on one machine, and each goes without a trace, even when its supervisor was killed',
  async () => {
    const other = path.join(folder, 'other');
    await up({ directory: other, clusters: 1 });
    const { processes, sockets } = sandboxPaths(other);
    const living = livingProcesses(processes);
    expect(living.length).toBeGreaterThan(6);
    const supervisor = living.find(({ name }) => name === 'supervisor');
    if (supervisor === undefined) throw new Error('no supervisor');
    process.kill(supervisor.pid, 'SIGKILL');
    await down({ directory: other });
    for (const { name, pid } of living) expect({ name, alive: isAlive(pid) }).toEqual({ name, alive: false });
    expect(existsSync(other)).toBe(false);
    expect(existsSync(sockets)).toBe(false);
    expect((await status({ directory })).clusters[0]?.healthy).toBe(true);
  },
  2 * MINUTE,
);

test('the administrator’s kubeconfig works with any client, and unknown names are refused as ever', async () => {
  const connection = await connectCluster(
    clusterSchema.parse({ name: 'client-1', kubeconfig: { path: path.join(directory, 'client-1', 'kubeconfig') } }),
  );
  const { items } = await requestJson<{ items: Resource[] }>(connection, {
    method: 'GET',
    path: '/api/v1/nodes',
    attempt: 'list nodes',
  });
  expect(items.map(({ metadata }) => metadata.name)).toEqual(['client-1-node']);
  connection.close();
  const api = adminApi(directory, 'client-1');
  await expect(api.request('/api/v1/namespaces/default/pods/nobody')).rejects.toBeInstanceOf(ApiError);
  api.close();
});
