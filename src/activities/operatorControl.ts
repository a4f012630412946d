import { createHash } from 'node:crypto';
import { Context } from '@temporalio/activity';
import type { AdoptRequest, StepOutcome } from '../contract/activities.js';
import type { SpireServerFederation, SpireServerRecord } from '../contract/control.js';
import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import {
  BUNDLE_ENDPOINT_OBJECT,
  BUNDLE_ENDPOINT_PORT,
  SPIRE_SERVER_RECORD,
  SPIRE_SERVER_UNDO,
} from '../contract/names.js';
import { operatorComplaints } from '../federation/controlDetection.js';
import { managedRouteProblem } from '../federation/exposure.js';
import { isLeftToCluster } from '../federation/managedRoute.js';
import { mergePatch } from '../federation/ownership.js';
import {
  adoptedSpireServer,
  rendersAnew,
  SPIRE_SERVER,
  spireServerDifferences,
  spireServerRecord,
  takenBack,
  undonePatch,
  unrendered,
  wantedSpireServer,
} from '../federation/spireServerPlan.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { patchObject, readObject } from '../kubernetes/objects.js';
import { readStatefulSet, type StatefulSet } from '../kubernetes/rollout.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import { readServerConf } from '../spire/serverConf.js';
import { readSpireServerRecord, readSpireServerUndo, type SpireServerUndo } from './annotation.js';
import type { Clusters } from './clusters.js';
import type { ServerControl } from './control.js';
import { optimistically, readServerConfMap, readTemplate } from './server.js';
import { awaitRollout } from './serverDown.js';

/** Hash of server.conf with which the operator restarts the server (ztwim: pkg/controller/spire-server/statefulset.go). */
const CONFIG_HASH = 'ztwim.openshift.io/spire-server-config-hash';

type SpireServer = KubernetesObject & { spec?: { federation?: SpireServerFederation } };

/** Patching SpireServer, and waiting until ZTWIM's operator has acted on it. */
export function operatorControl(clusters: Clusters): ServerControl {
  return {
    /** Writes the federation settings into SpireServer; the same patch carries how to take them back. */
    async configureServer({ cluster, federation, changeId, wanted }): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      return optimistically(async () => {
        const server = await readSpireServer(connection);
        const { live, record, annotations } = settingsOf(cluster, server);
        const target = wantedSpireServer(live, record, wanted);
        if (spireServerDifferences(live, target).length === 0) return { changed: false };
        const next = spireServerRecord(federation, live, record, target, wanted);
        const undo: SpireServerUndo | undefined =
          changeId === undefined
            ? undefined
            : {
                changeId,
                before: live ?? null,
                written: target,
                record: annotations[SPIRE_SERVER_RECORD] ?? null,
              };
        await patchSpireServer(connection, server, target, {
          [SPIRE_SERVER_RECORD]: JSON.stringify(next),
          [SPIRE_SERVER_UNDO]: undo === undefined ? null : JSON.stringify(undo),
        });
        return { changed: true };
      });
    },

    async rolloutServer({ cluster, replaces, timeoutMs }): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      await awaitReconciled(connection, { replaces, timeoutMs });
      const set = await readStatefulSet(connection, connection.cluster.namespace, connection.cluster.server);
      return { changed: replaces !== undefined && readConfigHash(set) !== replaces };
    },

    /** Takes back what one change wrote, as far as the operator allows, and waits until it has acted on that. */
    async restoreServer({ cluster, changeId, stays, timeoutMs }): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      let replaces: string | undefined;
      const changed = await optimistically(async () => {
        const server = await readSpireServer(connection);
        const live = readFederation(server);
        const undo = readSpireServerUndo(cluster, server);
        if (undo?.changeId !== changeId || live === undefined) return false;
        const target = undonePatch(live, undo);
        replaces = await hashToReplace(connection, live, target);
        await patchSpireServer(connection, server, target, {
          [SPIRE_SERVER_RECORD]: undo.record,
          [SPIRE_SERVER_UNDO]: null,
        });
        return true;
      });
      await awaitReconciled(connection, { replaces, timeoutMs });
      const live = readFederation(await readSpireServer(connection));
      return { changed, ...(stays === undefined || live === undefined ? {} : { stays }) };
    },

    async forgetUndo({ cluster, changeId }): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const changed = await optimistically(async () => {
        const server = await readSpireServer(connection);
        if (readSpireServerUndo(cluster, server)?.changeId !== changeId) return false;
        await annotate(connection, server, { [SPIRE_SERVER_UNDO]: null });
        return true;
      });
      return { changed };
    },

    /** Takes the engine's settings out of SpireServer, as far as the operator allows, whichever changes put them there. */
    async removeFederationFromServer({ cluster, timeoutMs }): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      let replaces: string | undefined;
      const changed = await optimistically(async () => {
        const server = await readSpireServer(connection);
        const { live, record } = settingsOf(cluster, server);
        if (record === undefined) return false;
        const target = live === undefined ? undefined : takenBack(live, record);
        const annotations = { [SPIRE_SERVER_RECORD]: null, [SPIRE_SERVER_UNDO]: null };
        if (live === undefined || target === undefined) await annotate(connection, server, annotations);
        else {
          replaces = await hashToReplace(connection, live, target);
          await patchSpireServer(connection, server, target, annotations);
        }
        return true;
      });
      await awaitReconciled(connection, { replaces, timeoutMs });
      return { changed };
    },

    async adoptServer({ cluster, federation, trustDomains }: AdoptRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const changed = await optimistically(async () => {
        const server = await readSpireServer(connection);
        const { live, record, annotations } = settingsOf(cluster, server);
        if (live === undefined) return false;
        const adopted = JSON.stringify(adoptedSpireServer(federation, live, record, trustDomains));
        if (adopted === annotations[SPIRE_SERVER_RECORD]) return false;
        await annotate(connection, server, { [SPIRE_SERVER_RECORD]: adopted });
        return true;
      });
      return { changed };
    },
  };
}

/** Hash of the configuration that the operator started the server's pod with. */
export function readConfigHash(set: StatefulSet): string | undefined {
  return set.spec.template.metadata?.annotations?.[CONFIG_HASH];
}

/** spec.federation of SpireServer; the rest of the spec, which may hold a database's password, is not looked at. */
export function readFederation(server: KubernetesObject | undefined): SpireServerFederation | undefined {
  return (server as SpireServer | undefined)?.spec?.federation;
}

/** @throws FederatorError NotFound */
async function readSpireServer(connection: ClusterConnection): Promise<KubernetesObject> {
  const server = await readObject(connection, SPIRE_SERVER);
  if (server !== undefined) return server;
  throw new FederatorError(
    'NotFound',
    `${connection.cluster.name}: SpireServer cluster is gone, by which its SPIRE server was configured.`,
  );
}

function settingsOf(
  cluster: string,
  server: KubernetesObject,
): {
  live: SpireServerFederation | undefined;
  record: SpireServerRecord | undefined;
  annotations: Record<string, string>;
} {
  const { annotations = {} } = server.metadata;
  return { live: readFederation(server), record: readSpireServerRecord(cluster, server), annotations };
}

async function patchSpireServer(
  connection: ClusterConnection,
  server: KubernetesObject,
  federation: SpireServerFederation,
  annotations: Record<string, string | null>,
): Promise<void> {
  const { resourceVersion } = server.metadata;
  await patchObject(connection, {
    ...SPIRE_SERVER,
    metadata: { ...SPIRE_SERVER.metadata, ...{ resourceVersion, annotations } },
    spec: { federation: mergePatch(readFederation(server), federation) },
  });
}

async function annotate(
  connection: ClusterConnection,
  { metadata: { resourceVersion } }: KubernetesObject,
  annotations: Record<string, string | null>,
): Promise<void> {
  await patchObject(connection, {
    ...SPIRE_SERVER,
    metadata: { ...SPIRE_SERVER.metadata, ...{ resourceVersion, annotations } },
  });
}

async function hashToReplace(
  connection: ClusterConnection,
  live: SpireServerFederation,
  target: SpireServerFederation,
): Promise<string | undefined> {
  if (!rendersAnew(live, target)) return undefined;
  const { namespace, server } = connection.cluster;
  return readConfigHash(await readStatefulSet(connection, namespace, server)) ?? '';
}

/**
 * Waits until the operator has rendered SpireServer as it is now, restarted the server with it, and made its Route.
 * @throws FederatorError TimedOut with what the operator has not done, and what it says about that
 */
async function awaitReconciled(
  connection: ClusterConnection,
  { replaces, timeoutMs }: { replaces: string | undefined; timeoutMs: number },
): Promise<void> {
  const { name: cluster } = connection.cluster;
  const signal = Context.current().cancellationSignal;
  const deadline = Date.now() + timeoutMs;
  const what = `${cluster}: the operator has acted on SpireServer cluster`;
  await waitFor(
    async (): Promise<Look<true>> => {
      const seen = await unreconciled(connection, replaces);
      return seen.length === 0 ? { done: true, value: true } : { done: false, seen: seen.join('; ') };
    },
    { what, timeoutMs, signal },
  );
  await awaitRollout(connection, Math.max(1, deadline - Date.now()));
}

/** What the operator has not done yet, and why, as far as it says. */
async function unreconciled(connection: ClusterConnection, replaces: string | undefined): Promise<string[]> {
  const { namespace, server } = connection.cluster;
  const [spireServer, { text }, set] = await Promise.all([
    readSpireServer(connection),
    readServerConfMap(connection),
    readStatefulSet(connection, namespace, server),
  ]);
  const federation = readFederation(spireServer);
  const conf = readServerConf(text);
  const hash = readConfigHash(set);
  const restarting = replaces === undefined || hash !== replaces || hash === hashOf(text);
  const declared = readTemplate(connection, set, BUNDLE_ENDPOINT_PORT).portDeclared;
  const missing = [
    ...unrendered(conf, federation),
    ...(restarting ? [] : [`StatefulSet ${server} is still of the configuration before`]),
    ...(federation === undefined || declared ? [] : [`StatefulSet ${server} does not declare the port`]),
  ];
  if (federation?.managedRoute === 'true' && isLeftToCluster(connection.cluster.exposure)) {
    const metadata = { name: BUNDLE_ENDPOINT_OBJECT, namespace };
    const route = await readObject(connection, { apiVersion: 'route.openshift.io/v1', kind: 'Route', metadata });
    const problem = managedRouteProblem(conf.trustDomain, route === undefined ? [] : [route]);
    if (problem !== undefined) missing.push(problem);
  }
  return missing.length === 0 ? [] : [...missing, ...operatorComplaints({ spireServer })];
}

/** As the operator takes it (ztwim: pkg/controller/spire-server/configmap.go, generateConfigHash). */
function hashOf(text: string): string {
  return createHash('sha256').update(text.trim()).digest('hex');
}
