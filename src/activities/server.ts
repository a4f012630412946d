import { createHash } from 'node:crypto';
import type {
  AdoptRequest,
  ConfigureServerRequest,
  EditOutcome,
  ForgetUndoRequest,
  RemoveFederationRequest,
  RestoreServerRequest,
  RolloutRequest,
  StepOutcome,
  TemplateBefore,
} from '../contract/activities.js';
import { FederatorError } from '../contract/errors.js';
import type { Cluster } from '../contract/inventory.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import {
  ADOPTED_HASH,
  BUNDLE_ENDPOINT_PORT_NAME,
  FEDERATION_HASH,
  PORT_ADDED,
  SERVER_CONF_LAST_GOOD,
  SERVER_CONF_RECORD,
  SERVER_CONF_UNDO,
  SERVER_FEDERATION,
} from '../contract/names.js';
import { durationSeconds, type ServerConf, type WantedFederation } from '../contract/serverConf.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { deleteObject, patchObject, readObject } from '../kubernetes/objects.js';
import { readPod, readStatefulSet, type StatefulSet } from '../kubernetes/rollout.js';
import { adoptServerConf, planServerConf, restoreServerConf } from '../spire/serverConf.js';
import { textUndo, undoneServerConf } from '../spire/serverConfUndo.js';
import { readServerConfRecord, readServerConfUndo, type ServerConfUndo } from './annotation.js';
import type { Clusters } from './clusters.js';
import type { ServerControl } from './control.js';
import { awaitRollout } from './serverDown.js';

export type ServerConfigMap = KubernetesObject & { data?: Record<string, string> };

/** Stands for the port where the engine added none: what is declared is others', and stays. */
const NO_PORT = 0;

/** Editing server.conf, and restarting SPIRE server so that it takes effect. */
export function configMapControl(clusters: Clusters): ServerControl {
  return {
    /**
     * Writes the federation settings into server.conf. The same write carries how to undo it, so that an edit whose
     * answer was lost can still be taken back.
     */
    async configureServer({ cluster, federation, changeId, wanted }: ConfigureServerRequest): Promise<EditOutcome> {
      const { connection } = await clusters.get(cluster);
      const { namespace, server } = connection.cluster;
      const pod = await readPod(connection, namespace, `${server}-0`);
      const uid = pod?.metadata.uid;
      return optimistically(async () => {
        const { map, text, annotations } = await readServerConfMap(connection);
        const recorded = annotations[SERVER_CONF_RECORD];
        const plan = planServerConf(text, readServerConfRecord(cluster, map), wanted);
        if (!plan.changed) return { changed: false };
        const undo: ServerConfUndo | undefined =
          changeId === undefined ? undefined : { changeId, ...textUndo(text, plan.text), record: recorded ?? null };
        await writeServerConf(connection, map, plan.text, {
          [SERVER_CONF_RECORD]: JSON.stringify({ ...plan.record, federation }),
          [SERVER_CONF_UNDO]: undo === undefined ? null : JSON.stringify(undo),
        });
        return { changed: true, ...(uid === undefined ? {} : { pod: uid }) };
      });
    },

    /**
     * Declares the endpoint's port and restarts the server, unless it runs with these settings already: by the
     * template, and by the pod that was there when server.conf was edited last.
     */
    async rolloutServer({ cluster, federation, wanted, outdatedPod, timeoutMs }: RolloutRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const { port } = wanted.bundleEndpoint;
      const hash = federationHash(wanted);
      const changed = await optimistically(async () => {
        const set = await readStatefulSet(connection, connection.cluster.namespace, connection.cluster.server);
        const template = readTemplate(connection, set, port);
        if (template.portDeclared && template.federationHash === hash) return false;
        await writeTemplate(connection, set, port, {
          portDeclared: true,
          portAdded: template.portAdded || !template.portDeclared,
          federationHash: hash,
          federation,
        });
        return true;
      });
      const replaced = !changed && outdatedPod !== undefined && (await replacePod(connection, outdatedPod));
      await awaitRollout(connection, timeoutMs);
      return { changed: changed || replaced };
    },

    async adoptServer({ cluster, federation, trustDomains, wanted }: AdoptRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const changed = await optimistically(async () => {
        const { map, text, annotations } = await readServerConfMap(connection);
        const known = annotations[SERVER_CONF_RECORD];
        const record = JSON.stringify({
          ...adoptServerConf(text, trustDomains, readServerConfRecord(cluster, map)),
          federation,
        });
        if (record === known) return false;
        await writeServerConf(connection, map, text, { [SERVER_CONF_RECORD]: record });
        if (known !== undefined) return true;
        const { metadata } = await readStatefulSet(connection, connection.cluster.namespace, connection.cluster.server);
        const { name, namespace } = metadata;
        await patchObject(connection, {
          apiVersion: 'apps/v1',
          kind: 'StatefulSet',
          metadata: {
            name,
            ...(namespace === undefined ? {} : { namespace }),
            ...{ annotations: { [ADOPTED_HASH]: federationHash(wanted), [SERVER_FEDERATION]: federation } },
          },
        });
        return true;
      });
      return { changed };
    },

    /** Undoes what one change did to server.conf and the StatefulSet, and waits until the server runs as before. */
    async restoreServer({ cluster, changeId, port, template, timeoutMs }: RestoreServerRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const edited = await optimistically(async () => {
        const { map, text } = await readServerConfMap(connection);
        const undo = readServerConfUndo(cluster, map);
        if (undo?.changeId !== changeId) return false;
        const written = undo.record === null ? readServerConfRecord(cluster, map) : undefined;
        await writeServerConf(connection, map, undoneServerConf(text, undo, written), {
          [SERVER_CONF_RECORD]: undo.record,
          [SERVER_CONF_UNDO]: null,
        });
        return true;
      });
      const rolled = await restoreTemplate(connection, port, template);
      await awaitRollout(connection, timeoutMs);
      return { changed: edited || rolled };
    },

    /** Forgets how to undo a change that is finished, so that no later change finds anything of it. */
    async forgetUndo({ cluster, changeId }: ForgetUndoRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const changed = await optimistically(async () => {
        const { map, text } = await readServerConfMap(connection);
        if (readServerConfUndo(cluster, map)?.changeId !== changeId) return false;
        await writeServerConf(connection, map, text, { [SERVER_CONF_UNDO]: null });
        return true;
      });
      return { changed };
    },

    /** Takes the engine's federation settings out of server.conf and the StatefulSet, whichever changes put them there. */
    async removeFederationFromServer({ cluster, timeoutMs }: RemoveFederationRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      let note: string | undefined;
      const edited = await optimistically(async () => {
        const { map, text } = await readServerConfMap(connection);
        const record = readServerConfRecord(cluster, map);
        if (record === undefined) return false;
        const restored = restoreServerConf(text, record);
        if (!restored.exact) note = 'server.conf was edited by others since: their edits stay';
        await writeServerConf(connection, map, restored.text, {
          [SERVER_CONF_RECORD]: null,
          [SERVER_CONF_UNDO]: null,
          [SERVER_CONF_LAST_GOOD]: null,
        });
        return true;
      });
      const set = await readStatefulSet(connection, connection.cluster.namespace, connection.cluster.server);
      const added = set.metadata.annotations?.[PORT_ADDED];
      const rolled = await restoreTemplate(connection, added === undefined ? NO_PORT : Number(added), {
        portDeclared: added === undefined,
        portAdded: false,
      });
      await awaitRollout(connection, timeoutMs);
      return { changed: edited || rolled, ...(note === undefined ? {} : { note }) };
    },
  };
}

/** Somebody put the file back to what it was without the template telling: the template is right already. */
async function replacePod(connection: ClusterConnection, uid: string): Promise<boolean> {
  const { namespace, server } = connection.cluster;
  const name = `${server}-0`;
  const pod = await readPod(connection, namespace, name);
  if (pod?.metadata.uid !== uid) return false;
  return deleteObject(connection, { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace } });
}

/** @throws FederatorError NotFound, ServerConfUnreadable */
export async function readServerConfMap(
  connection: ClusterConnection,
): Promise<{ map: ServerConfigMap; text: string; annotations: Record<string, string> }> {
  const { namespace, server: name } = connection.cluster;
  const found = await readObject(connection, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace } });
  const { map, text } = serverConfIn(connection.cluster, found);
  return { map, text, annotations: map.metadata.annotations ?? {} };
}

/** @throws FederatorError NotFound, ServerConfUnreadable */
export function serverConfIn(
  { name: cluster, namespace, server }: Cluster,
  found: KubernetesObject | undefined,
): { map: ServerConfigMap; text: string } {
  const map: ServerConfigMap | undefined = found;
  if (map === undefined) {
    throw new FederatorError(
      'NotFound',
      `${cluster}: there is no ConfigMap ${server} in namespace ${namespace}. Deploy it again: SPIRE server starts no more without it.`,
    );
  }
  const text = map.data?.['server.conf'];
  if (text === undefined) {
    throw new FederatorError(
      'ServerConfUnreadable',
      `${cluster}: ConfigMap ${server} has no key server.conf (it has: ${Object.keys(map.data ?? {}).join(', ') || 'none'}).`,
    );
  }
  return { map, text };
}

/** What the engine may have changed in the StatefulSet, as it is now. */
export function readTemplate(connection: ClusterConnection, set: StatefulSet, port: number): TemplateBefore {
  const container = set.spec.template.spec?.containers.find((each) => each.name === connection.cluster.server);
  if (container === undefined) {
    throw new FederatorError(
      'NotFound',
      `${connection.cluster.name}: StatefulSet ${set.metadata.name} has no container ${connection.cluster.server}.`,
    );
  }
  const started = set.spec.template.metadata?.annotations?.[FEDERATION_HASH];
  const federationHash = started ?? set.metadata.annotations?.[ADOPTED_HASH];
  const federation = set.metadata.annotations?.[SERVER_FEDERATION];
  return {
    portDeclared: container.ports?.some((each) => each.containerPort === port) ?? false,
    portAdded: set.metadata.annotations?.[PORT_ADDED] === String(port),
    ...(federationHash === undefined ? {} : { federationHash }),
    ...(federationHash === started ? {} : { adopted: true }),
    ...(federation === undefined ? {} : { federation }),
  };
}

/** Identifies federation settings: a pod's template says by it with which ones the pod was started. */
export function federationHash(wanted: WantedFederation): string {
  // In which order the members were named makes no difference.
  const peers = Object.entries(wanted.federatesWith).sort(([a], [b]) => a.localeCompare(b));
  const { profile, ...endpoint } = wanted.bundleEndpoint;
  // Nor whether https_spiffe is said or left to be the default.
  const bundleEndpoint = profile?.type === 'https_web' ? { ...endpoint, profile } : endpoint;
  const sorted = { ...wanted, bundleEndpoint, federatesWith: Object.fromEntries(peers) };
  return createHash('sha256').update(JSON.stringify(sorted)).digest('hex').slice(0, 16);
}

/**
 * Whether the pod runs the engine's settings as server.conf has them: of the template's newest revision, which was given
 * just these.
 * @param peers trust domains that the engine put into federates_with
 */
export function runsWritten(
  { bundleEndpoint, federatesWith }: ServerConf,
  peers: readonly string[],
  { portDeclared, federationHash: started }: TemplateBefore,
  isNewest: boolean,
): boolean {
  const { address, port, profile } = bundleEndpoint ?? {};
  const refreshHintSeconds = durationSeconds(bundleEndpoint?.refreshHint);
  if (address === undefined || port === undefined || refreshHintSeconds === undefined) return false;
  const written = peers.flatMap((trustDomain) => {
    const entry = federatesWith[trustDomain];
    return entry === undefined || 'unreadable' in entry ? [] : [[trustDomain, entry] as const];
  });
  const hash = federationHash({
    bundleEndpoint: {
      address,
      port,
      refreshHintSeconds,
      ...(profile === undefined || 'unreadable' in profile ? {} : { profile }),
    },
    federatesWith: Object.fromEntries(written),
  });
  return isNewest && portDeclared && started === hash;
}

async function restoreTemplate(connection: ClusterConnection, port: number, before: TemplateBefore): Promise<boolean> {
  return optimistically(async () => {
    const set = await readStatefulSet(connection, connection.cluster.namespace, connection.cluster.server);
    const now = readTemplate(connection, set, port);
    // A port that somebody declared meanwhile, not the engine, is theirs.
    const target = { ...before, portDeclared: before.portDeclared || (now.portDeclared && !now.portAdded) };
    const same =
      now.federationHash === target.federationHash &&
      now.adopted === target.adopted &&
      now.federation === target.federation &&
      now.portAdded === target.portAdded &&
      (now.portDeclared === target.portDeclared || port === NO_PORT);
    if (same) return false;
    await writeTemplate(connection, set, port, target);
    return true;
  });
}

async function writeTemplate(
  connection: ClusterConnection,
  set: StatefulSet,
  port: number,
  { portDeclared, portAdded, federationHash: hash, adopted, federation }: TemplateBefore,
): Promise<void> {
  const { name, namespace, resourceVersion } = set.metadata;
  const ports = portDeclared ? declaration(connection, set, port) : [removal(port)];
  const declared = readTemplate(connection, set, port).portDeclared;
  const annotations = {
    [PORT_ADDED]: portAdded ? String(port) : null,
    [ADOPTED_HASH]: adopted === true ? (hash ?? null) : null,
    [SERVER_FEDERATION]: federation ?? null,
  };
  const container = { name: connection.cluster.server, ports };
  await patchObject(
    connection,
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: {
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...{ resourceVersion, annotations },
      },
      spec: {
        template: {
          metadata: { annotations: { [FEDERATION_HASH]: adopted === true ? null : (hash ?? null) } },
          ...(declared === portDeclared || port === NO_PORT ? {} : { spec: { containers: [container] } }),
        },
      },
    },
    'strategic',
  );
  if (set.spec.updateStrategy?.type === 'OnDelete') {
    await deleteObject(connection, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: `${name}-0`, ...(namespace === undefined ? {} : { namespace }) },
    });
  }
}

/**
 * Declares the port. The name may be taken: by what somebody made of the engine's own port, which goes, or by a port of
 * somebody else, which keeps it.
 */
function declaration({ cluster }: ClusterConnection, set: StatefulSet, port: number): object[] {
  const container = set.spec.template.spec?.containers.find(({ name }) => name === cluster.server);
  const taken = container?.ports?.find(({ name }) => name === BUNDLE_ENDPOINT_PORT_NAME);
  const declared = { containerPort: port, protocol: 'TCP' };
  if (taken === undefined) return [{ ...declared, name: BUNDLE_ENDPOINT_PORT_NAME }];
  return set.metadata.annotations?.[PORT_ADDED] === undefined
    ? [declared]
    : [removal(taken.containerPort), { ...declared, name: BUNDLE_ENDPOINT_PORT_NAME }];
}

function removal(containerPort: number): object {
  return { containerPort, protocol: 'TCP', $patch: 'delete' };
}

export async function writeServerConf(
  connection: ClusterConnection,
  { metadata }: ServerConfigMap,
  text: string,
  annotations: Record<string, string | null>,
): Promise<void> {
  const { name, namespace, resourceVersion } = metadata;
  await patchObject(connection, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, ...(namespace === undefined ? {} : { namespace }), ...{ resourceVersion, annotations } },
    data: { 'server.conf': text },
  });
}

/** Reads and writes again when somebody else wrote in between. */
export async function optimistically<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof FederatorError && error.type === 'Conflict') || tries === 10) throw error;
    }
  }
}
