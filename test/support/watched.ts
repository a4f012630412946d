import { setTimeout as delay } from 'node:timers/promises';
import type { ClusterApi, Resource } from '../../sandbox/kubernetes.js';
import type { FederationHealth } from '../../src/contract/health.js';
import { adminApi } from './snapshot.js';
import type { Testbed } from './testbed.js';

const NAMESPACE = 'zero-trust-workload-identity-manager';
const LOOK_MS = 500;

export const PATHS = {
  relationship: (trustDomain: string) => `/apis/spire.spiffe.io/v1alpha1/clusterfederatedtrustdomains/${trustDomain}`,
  identity: (name: string) => `/apis/spire.spiffe.io/v1alpha1/clusterspiffeids/${name}`,
  service: `/api/v1/namespaces/${NAMESPACE}/services/spire-server-federation`,
  route: `/apis/route.openshift.io/v1/namespaces/${NAMESPACE}/routes/spire-server-federation`,
  configMap: `/api/v1/namespaces/${NAMESPACE}/configmaps/spire-server`,
  statefulSet: `/apis/apps/v1/namespaces/${NAMESPACE}/statefulsets/spire-server`,
  pod: `/api/v1/namespaces/${NAMESPACE}/pods/spire-server-0`,
};

export function trustDomainOf(cluster: string): string {
  return `apps.${cluster}.sandbox.test`;
}

/** Acts on a cluster as its administrator. */
export async function asAdmin<T>(
  { directory }: Pick<Testbed, 'directory'>,
  cluster: string,
  act: (api: ClusterApi) => Promise<T>,
): Promise<T> {
  const api = adminApi(directory, cluster);
  try {
    return await act(api);
  } finally {
    api.close();
  }
}

type Federation = Record<string, unknown>;

/** Edits `server.federation` by hand, and restarts SPIRE server with it, as somebody would who knows no better. */
export async function editFederation(
  testbed: Pick<Testbed, 'directory'>,
  cluster: string,
  edit: (federation: Federation) => Federation | undefined,
): Promise<void> {
  await asAdmin(testbed, cluster, async (api) => {
    const map = (await api.get<Resource & { data: Record<string, string> }>(PATHS.configMap))?.data ?? {};
    const conf = JSON.parse(map['server.conf'] ?? '') as { server: { federation?: Federation } };
    const edited = edit(conf.server.federation ?? {});
    const server = { ...conf.server, federation: edited };
    await api.patch(PATHS.configMap, { data: { 'server.conf': JSON.stringify({ ...conf, server }, undefined, 2) } });
    await api.delete(PATHS.pod);
  });
}

/** Federates a pair, and has it read as often as makes a test quick; SPIRE itself polls every 15 s. */
export async function watchPair(
  testbed: Testbed,
  federation: string,
  clusters: readonly string[],
  relationships: 'static' | 'dynamic' = 'static',
): Promise<void> {
  const settings = ['--refresh-hint', '60', '--relationships', relationships, '--no-probe'];
  const setup = ['start-workflow', 'setupPair', '--federation', federation, ...settings];
  const { code, stderr } = await testbed.federatorWith({ SPIRE_FEDERATOR_MONITOR: 'on' }, ...setup);
  if (code !== 0) throw new Error(stderr);
  const start = ['monitor', 'start', '--federation', federation, '--clusters', clusters.join(',')];
  await testbed.federator(...start, '--refresh-hint', '60', '--interval', '3');
}

/** What the monitor knows. */
export async function healthOf(testbed: Testbed, federation: string): Promise<FederationHealth> {
  return (await testbed.client()).health(federation);
}

/** Looks at the monitor's health until it is as wanted. */
export async function untilHealth(
  testbed: Testbed,
  federation: string,
  isWanted: (health: FederationHealth) => boolean,
  timeoutMs = 180_000,
): Promise<FederationHealth> {
  const deadline = Date.now() + timeoutMs;
  const client = await testbed.client();
  let seen: FederationHealth | undefined;
  let refusal: unknown;
  while (Date.now() < deadline) {
    const health = await client.health(federation).catch((error: unknown) => {
      // Workers and Temporal are killed meanwhile; it is told if it lasts.
      refusal = error;
      return undefined;
    });
    if (health !== undefined && isWanted(health)) return health;
    seen = health ?? seen;
    await delay(LOOK_MS);
  }
  throw new Error(`the monitor's health is not as wanted: ${JSON.stringify(seen, undefined, 2)}`, { cause: refusal });
}
