import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import type { Resource } from '../../sandbox/kubernetes.js';
import type { Cluster, Inventory } from '../../src/contract/inventory.js';
import { adminApi, snapshotCluster } from '../support/snapshot.js';
import { eventually } from '../support/spireTrustDomain.js';
import { line, Testbed } from '../support/testbed.js';

const CLUSTERS = ['client-1', 'server-1'];
const NAMESPACE = 'zero-trust-workload-identity-manager';
const MINUTE = 60_000;

type InventoryInput = Omit<Inventory, 'clusters'> & {
  clusters: (Partial<Cluster> & Pick<Cluster, 'name' | 'kubeconfig'>)[];
};

interface Case {
  name: string;
  /** Makes the inventory wrong; it is put back afterwards. */
  inventory?: (inventory: InventoryInput) => void;
  /** Makes the cluster wrong, and returns how to put it right. */
  cluster?: () => Promise<() => Promise<unknown>>;
  args?: string[];
  /** What the message must name: the thing, the cause and the remedy. */
  says: RegExp[];
}

let testbed: Testbed;
let inventoryFile: string;
let inventoryText: string;

async function snapshot(): Promise<Record<string, unknown>[]> {
  return Promise.all(CLUSTERS.map((cluster) => snapshotCluster(testbed.directory, cluster)));
}

async function read(cluster: string, at: string): Promise<Resource> {
  const api = adminApi(testbed.directory, cluster);
  try {
    return await api.request<Resource>(at);
  } finally {
    api.close();
  }
}

/** Changes an object of client-1 and returns how to change it back. */
async function changed(at: string, patch: object, back: object): Promise<() => Promise<unknown>> {
  const api = adminApi(testbed.directory, 'client-1');
  await api.patch(at, patch);
  return async () => {
    await api.patch(at, back);
    api.close();
  };
}

/** Takes an object of client-1 away and returns how to make it again. */
async function removed(at: string): Promise<() => Promise<unknown>> {
  const api = adminApi(testbed.directory, 'client-1');
  const object = await api.request<Resource>(at);
  await api.delete(at);
  return async () => {
    const { resourceVersion: _version, uid: _uid, ...metadata } = object.metadata;
    await api.create({ ...object, metadata });
    api.close();
  };
}

function first(inventory: InventoryInput): InventoryInput['clusters'][number] {
  const [cluster] = inventory.clusters;
  if (cluster === undefined) throw new Error('the inventory is empty');
  return cluster;
}

/** A kubeconfig as the engine's, with something else in it. */
function kubeconfig(name: string, change: (text: string) => string): { path: string } {
  const file = path.join(testbed.directory, `${name}.kubeconfig`);
  writeFileSync(file, change(readFileSync(path.join(testbed.directory, 'client-1', 'engine.kubeconfig'), 'utf8')));
  return { path: file };
}

beforeAll(async () => {
  testbed = await Testbed.start();
  inventoryFile = path.join(testbed.directory, 'inventory.yaml');
  inventoryText = readFileSync(inventoryFile, 'utf8');
  await testbed.startWorker();
}, 3 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

const CASES: Case[] = [
  {
    name: 'an unknown cluster',
    args: ['--clusters', 'client-1,elsewhere'],
    says: [/no cluster elsewhere/, /It has: client-1, server-1/],
  },
  {
    name: 'the same cluster twice',
    args: ['--clusters', 'client-1,client-1'],
    says: [/clusters: names the same cluster twice/],
  },
  {
    name: 'only one cluster',
    args: ['--clusters', 'client-1'],
    says: [/clusters: setupPair federates exactly two clusters/],
  },
  {
    name: 'a federation name that no label can hold',
    args: ['--federation', 'No Label'],
    says: [/federation: must be a DNS label/],
  },
  {
    name: 'a refresh hint below the minimum of SPIRE',
    args: ['--refresh-hint', '5'],
    says: [/refreshHintSeconds.*60/],
  },
  {
    name: 'an inventory with several faults, all of them at once',
    inventory: (inventory) => {
      Object.assign(first(inventory), { name: 'Not A Label', unknownKey: 1 });
    },
    says: [/Inventory .* has faults/, /clusters\.0\.name: must be a DNS label/, /unknownKey/],
  },
  {
    name: 'equal trust domains',
    inventory: (inventory) => {
      inventory.clusters[1] = { ...first(inventory), name: 'twin' };
    },
    args: ['--clusters', 'client-1,twin'],
    says: [/twin and client-1 have the same trust domain apps\.client-1\.sandbox\.test/],
  },
  {
    name: 'a kubeconfig that does not exist',
    inventory: (inventory) => {
      first(inventory).kubeconfig = { path: '/nowhere/kubeconfig' };
    },
    says: [/client-1: kubeconfig \/nowhere\/kubeconfig does not exist/, /inventory/],
  },
  {
    name: 'a context that the kubeconfig does not have',
    inventory: (inventory) => {
      first(inventory).kubeconfig.context = 'production';
    },
    says: [/client-1: kubeconfig .* has no usable context production/, /Its contexts: client-1-engine/],
  },
  {
    name: 'an expired credential',
    inventory: (inventory) => {
      first(inventory).kubeconfig = kubeconfig('expired', (text) =>
        text.replace(/"token": "[^"]+"/, '"token": "expired"'),
      );
    },
    says: [/client-1: cannot ask its version: Unauthorized/, /Renew the kubeconfig/],
  },
  {
    name: 'an API server that is not there',
    inventory: (inventory) => {
      first(inventory).kubeconfig = kubeconfig('nowhere', (text) =>
        text.replace(/"server": "[^"]+"/, '"server": "https://127.0.0.1:1"'),
      );
    },
    says: [/client-1: .*the API server cannot be reached \(ECONNREFUSED\)/],
  },
  {
    name: 'a StatefulSet of another name',
    inventory: (inventory) => {
      Object.assign(first(inventory), { server: 'spire' });
    },
    says: [
      /client-1: the engine's account may not: .*patch statefulsets\.apps spire in/,
      /server spire/,
      /deploy\/rbac\.yaml/,
    ],
  },
  {
    name: 'a missing permission',
    cluster: () => removed('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/spire-federator'),
    says: [
      /client-1: the engine's account may not: .*create clusterfederatedtrustdomains\.spire\.spiffe\.io/,
      /deploy\/rbac\.yaml/,
    ],
  },
  {
    name: 'no SPIRE server',
    cluster: () => removed(`/apis/apps/v1/namespaces/${NAMESPACE}/statefulsets/spire-server`),
    says: [/client-1: there is no SPIRE server: no StatefulSet spire-server/, /Install SPIRE/],
  },
  {
    name: 'a server.conf that is not JSON',
    cluster: async () => {
      const at = `/api/v1/namespaces/${NAMESPACE}/configmaps/spire-server`;
      const api = adminApi(testbed.directory, 'client-1');
      const { data } = await api.request<Resource & { data: Record<string, string> }>(at);
      api.close();
      return changed(at, { data: { 'server.conf': 'server {\n  trust_domain = "example.org"\n}\n' } }, { data });
    },
    says: [/server\.conf is not JSON/, /line 1/],
  },
];

test.each(CASES)(
  '$name: a clear message, a non-zero exit and nothing changed',
  async ({ inventory, cluster, args, says }) => {
    const restore = await cluster?.();
    try {
      const before = cluster === undefined ? await snapshot() : undefined;
      if (inventory !== undefined) {
        const edited = parse(inventoryText) as InventoryInput;
        inventory(edited);
        writeFileSync(inventoryFile, stringify(edited));
      }
      const { code, stdout, stderr } = await testbed.federator('start-workflow', 'setupPair', ...(args ?? []));
      expect(code).toBe(1);
      for (const pattern of says) expect(stderr).toMatch(pattern);
      expect(stderr).not.toMatch(/^\s+at /m);
      expect(stdout).toBe('');
      if (before !== undefined) {
        writeFileSync(inventoryFile, inventoryText);
        expect(await snapshot()).toEqual(before);
      }
    } finally {
      writeFileSync(inventoryFile, inventoryText);
      await restore?.();
      // A SPIRE server that starts meanwhile would read what the next case does to it.
      if (restore !== undefined) await settled();
    }
  },
  3 * MINUTE,
);

test(
  'of the permissions, those that the change will use are asked for, and no others',
  async () => {
    const plan = ['start-workflow', 'setupPair', '--plan'];
    const RBAC = '/apis/rbac.authorization.k8s.io/v1';
    const grantProbe = await removed(`${RBAC}/namespaces/spire-federator-probe/rolebindings/spire-federator`);
    expect((await testbed.federator(...plan, '--no-probe')).code).toBe(0);
    const probing = await testbed.federator(...plan);
    await grantProbe();
    expect(probing.code).toBe(1);
    expect(probing.stderr).toMatch(/client-1: the engine's account may not: create pods in spire-federator-probe; /);
    expect(probing.stderr).not.toMatch(/watch|zero-trust-workload-identity-manager|server-1/);

    const role = await read('client-1', `${RBAC}/clusterroles/spire-federator`);
    const [rule] = role['rules'] as { verbs: string[] }[];
    const withoutWatch = { ...rule, verbs: rule?.verbs.filter((verb) => verb !== 'watch') };
    const grantWatch = await changed(
      `${RBAC}/clusterroles/spire-federator`,
      { rules: [withoutWatch] },
      { rules: [rule] },
    );
    const [unwatched, watched] = [
      await testbed.federator(...plan),
      await testbed.federatorWith({ SPIRE_FEDERATOR_MONITOR: 'on' }, ...plan),
    ];
    await grantWatch();
    expect(unwatched.code).toBe(0);
    expect(watched.code).toBe(1);
    expect(watched.stderr).toMatch(
      /client-1: the engine's account may not: watch clusterfederatedtrustdomains\.spire\.spiffe\.io; watch clusterspiffeids\.spire\.spiffe\.io\./,
    );
  },
  MINUTE,
);

test(
  'problems of both clusters are reported at once',
  async () => {
    const edited = parse(inventoryText) as InventoryInput;
    for (const cluster of edited.clusters) cluster.kubeconfig = { path: `/nowhere/${cluster.name}` };
    writeFileSync(inventoryFile, stringify(edited));
    const { code, stderr } = await testbed.federator('start-workflow', 'setupPair');
    writeFileSync(inventoryFile, inventoryText);
    expect(code).toBe(1);
    expect(stderr).toMatch(/2 things stand in the way; nothing was changed/);
    expect(stderr).toMatch(/nowhere\/client-1[^]*nowhere\/server-1/);
  },
  MINUTE,
);

test(
  'a bundle endpoint that never becomes reachable: undone, and said so',
  async () => {
    await settled();
    const before = await snapshot();
    await testbed.addFault({ kind: 'cut', from: 'engine', to: 'server-1' });
    const { code, stderr } = await testbed.federator(
      'start-workflow',
      'setupPair',
      '--no-probe',
      '--endpoint-timeout',
      '3',
      '--attempts',
      '1',
    );
    await testbed.heal();
    expect(code).toBe(1);
    expect(stderr).toMatch(/bundle endpoint https:\/\/spire-server-federation-.*server-1.*cannot be reached/);
    expect(stderr).toContain('Every cluster is as it was before.');
    expect(await snapshot()).toEqual(before);
  },
  3 * MINUTE,
);

test(
  'a second change while one runs: a conflict that names the first one',
  async () => {
    await testbed.addFault({ kind: 'hang', from: 'engine', to: 'server-1' });
    const running = testbed.startFederator('start-workflow', 'setupPair', '--no-probe');
    const ended = new Promise((resolve) => running.once('exit', resolve));
    await line(running.stderr, /Restart StatefulSet/);
    const second = await testbed.federator('teardown');
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(
      /Another change of federation default is running \(setupPair, since .*http:\/\/127\.0\.0\.1/,
    );
    expect((await testbed.federator('cancel')).code).toBe(0);
    await testbed.heal();
    expect(await ended).toBe(1);
  },
  3 * MINUTE,
);

test(
  'no Temporal server: named, with what to do',
  async () => {
    const { code, stderr } = await testbed.federatorWith({ TEMPORAL_ADDRESS: '127.0.0.1:1' }, 'verify');
    expect(code).toBe(1);
    expect(stderr).toMatch(/There is no Temporal server at 127\.0\.0\.1:1 .*npm run temporal/);
  },
  MINUTE,
);

test(
  'an absent CRD is named, with what to install',
  async () => {
    const name = 'clusterfederatedtrustdomains.spire.spiffe.io';
    const restore = await removed(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`);
    const { code, stderr } = await testbed.federator('start-workflow', 'setupPair', '--no-probe');
    await restore();
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /client-1: CRD clusterfederatedtrustdomains\.spire\.spiffe\.io is absent\. Install SPIRE controller manager/,
    );
  },
  MINUTE,
);

/** Waits until SPIRE server of client-1, of the StatefulSet that there is now, is ready after what a case did to it. */
async function settled(): Promise<void> {
  const api = adminApi(testbed.directory, 'client-1');
  await eventually(async () => {
    const set = await api.get(`/apis/apps/v1/namespaces/${NAMESPACE}/statefulsets/spire-server`);
    const pod = await api.get(`/api/v1/namespaces/${NAMESPACE}/pods/spire-server-0`);
    expect(pod?.metadata).toMatchObject({ ownerReferences: [{ uid: set?.metadata.uid }] });
    expect(pod?.['status']).toMatchObject({
      conditions: expect.arrayContaining([expect.objectContaining({ type: 'Ready', status: 'True' })]) as unknown,
    });
  }, 2 * MINUTE);
  api.close();
}
