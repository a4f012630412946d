import { Context } from '@temporalio/activity';
import { stringify } from 'yaml';
import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { CONTROLLER_MANAGER } from '../contract/names.js';
import type { DumpClusterRequest, MissingPiece } from '../contract/sysdump.js';
import { dumpedObject, dumpedServerConf } from '../federation/dumpedObject.js';
import { CLUSTER_SPIFFE_ID } from '../federation/policy.js';
import { CFTD } from '../federation/relationship.js';
import { readLog } from '../kubernetes/log.js';
import { listObjects, readObject } from '../kubernetes/objects.js';
import { requestJson } from '../kubernetes/request.js';
import type { Pod } from '../kubernetes/rollout.js';
import { bundleFingerprint, parseBundle } from '../spire/bundle.js';
import { serverTarget } from '../spire/server.js';
import { Collected } from './collected.js';
import type { Clusters, OpenCluster } from './clusters.js';
import type { DumpedText } from './dumpPacking.js';
import { readEndpointObjects, resolveExposure } from './exposureFacts.js';

/** Lines of one container's log; what is too much of them is cut later, by size. */
const LOG_LINES = 20_000;
/** Registration entries that are listed; of more, the number is told. */
const ENTRIES = 1_000;

/**
 * What a bug report needs of one cluster, asked for at once: a cluster that is away says so in one timeout. It takes no
 * more rights than a change does.
 */
export async function collectCluster(
  clusters: Clusters,
  request: DumpClusterRequest,
): Promise<{ texts: DumpedText[]; missing: MissingPiece[] }> {
  const collected = new Collected();
  const open = await collected.have('everything', () => clusters.get(request.cluster));
  if (open === undefined) return { texts: [], missing: collected.missing };
  const kubernetes = await collected.have('everything', () =>
    requestJson(open.connection, { method: 'GET', path: '/version', attempt: 'read the version of Kubernetes' }),
  );
  // Nobody answers there: thirty more timeouts would tell no more.
  if (kubernetes === undefined) return { texts: [], missing: collected.missing };
  const parts = await Promise.all([
    [{ path: 'kubernetes-version.json', text: json(kubernetes) }],
    ...objectFiles(open, collected),
    ...spireFiles(open, collected),
    logFiles(open, collected, request.sinceSeconds),
  ]);
  return { texts: parts.flat(), missing: collected.missing };
}

function objectFiles({ connection }: OpenCluster, collected: Collected): Promise<DumpedText[]>[] {
  const { namespace, server } = connection.cluster;
  const read = (apiVersion: string, kind: string, name: string) =>
    readObject(connection, { apiVersion, kind, metadata: { name, namespace } });
  const file = (name: string, objects: () => Promise<(KubernetesObject | undefined)[]>) =>
    collected.file(`objects/${name}.yaml`, async () => yaml((await objects()).filter((each) => each !== undefined)));
  return [
    collected.file('server.conf.json', async () => {
      const map = (await read('v1', 'ConfigMap', server)) as { data?: Record<string, string> } | undefined;
      return dumpedServerConf(map?.data?.['server.conf'] ?? '');
    }),
    file('statefulset', async () => [await read('apps/v1', 'StatefulSet', server)]),
    file('pod', async () => [await read('v1', 'Pod', `${server}-0`)]),
    file('configmaps', () => Promise.all([server, CONTROLLER_MANAGER].map((name) => read('v1', 'ConfigMap', name)))),
    file('endpoint', async () => readEndpointObjects(connection, await resolveExposure(connection))),
    file('clusterfederatedtrustdomains', async () => (await listObjects(connection, CFTD)).map(withBundleRead)),
    file('clusterspiffeids', () => listObjects(connection, CLUSTER_SPIFFE_ID)),
  ];
}

/** Bundles are told by their keys' fingerprints, and whether they have a hint. */
function withBundleRead(relationship: KubernetesObject): KubernetesObject {
  const spec = relationship['spec'] as { trustDomainBundle?: string };
  if (spec.trustDomainBundle === undefined) return relationship;
  return { ...relationship, spec: { ...spec, trustDomainBundle: readBundle(spec.trustDomainBundle) } };
}

function readBundle(text: string): unknown {
  try {
    const bundle = parseBundle(text);
    return { fingerprint: bundleFingerprint(bundle), ...bundle };
  } catch (error) {
    if (!(error instanceof FederatorError)) throw error;
    return `unreadable: ${error.message}`;
  }
}

function spireFiles({ spire }: OpenCluster, collected: Collected): Promise<DumpedText[]>[] {
  const signal = Context.current().cancellationSignal;
  const file = (name: string, ask: () => Promise<unknown>) =>
    collected.file(`spire/${name}.json`, async () => json(await ask()));
  return [
    file('version', () => spire.version(signal)),
    file('own-bundle', async () => readBundle(await spire.bundle(signal))),
    file('stored-bundles', async () =>
      Object.fromEntries(
        [...(await spire.storedBundles(signal))].map(([trustDomain, bundle]) => [
          trustDomain,
          { fingerprint: bundleFingerprint(bundle), ...bundle },
        ]),
      ),
    ),
    file('authorities', () => spire.authorities(signal)),
    file('dynamic-relationships', () => spire.dynamicRelationships(signal)),
    file('agents', async () => ({ attested: await spire.agents(signal) })),
    file('entries', async () => {
      const entries = await spire.entries(undefined, signal);
      return { count: entries.length, entries: entries.slice(0, ENTRIES) };
    }),
  ];
}

/** Logs of all containers of SPIRE server's pod, and of those that ran before a restart. */
async function logFiles(
  { connection }: OpenCluster,
  collected: Collected,
  sinceSeconds: number,
): Promise<DumpedText[]> {
  const target = serverTarget(connection);
  const pod = await collected.have('logs', () =>
    readObject<Pod>(connection, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: target.pod, namespace: target.namespace },
    }),
  );
  const statuses = pod?.status?.containerStatuses ?? [];
  const log = (container: string, previous: boolean) =>
    collected.file(
      `logs/${container}${previous ? '.previous' : ''}.log`,
      async () =>
        (await readLog(connection, { ...target, container }, { tailLines: LOG_LINES, sinceSeconds, previous })).join(
          '\n',
        ),
      { isLog: true },
    );
  const logs = await Promise.all([
    ...statuses.map(({ name }) => log(name, false)),
    ...statuses.filter(({ restartCount }) => restartCount > 0).map(({ name }) => log(name, true)),
  ]);
  return logs.flat();
}

function yaml(objects: readonly KubernetesObject[]): string {
  return objects.map((object) => stringify(dumpedObject(object), { lineWidth: 0 })).join('---\n');
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
