import { Context } from '@temporalio/activity';
import type { ApplyObjectRequest, RestoreObjectRequest, StepOutcome } from '../contract/activities.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { mergePatch, owningFederation, restorable } from '../federation/ownership.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import {
  applyObject,
  deleteObject,
  objectName,
  patchObject,
  readObject,
  type ObjectReference,
} from '../kubernetes/objects.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import type { Clusters } from './clusters.js';
import { writeOwnObject } from './ownObject.js';

/** Clouds take a minute or two to give a load balancer back. */
const GONE_WITHIN_MS = 5 * 60_000;

/** Applying and restoring whole objects that the engine makes: Services, Routes, Ingresses. */
export function objectActivities(clusters: Clusters) {
  return {
    /** @throws FederatorError ForeignObject when somebody else made an object of that name meanwhile */
    async applyObject({ cluster, federation, object }: ApplyObjectRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      return { changed: await writeOwnObject(connection, federation, object) };
    },

    async restoreObject({ cluster, federation, reference, before }: RestoreObjectRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const live = await readObject(connection, reference);
      if (before === undefined) {
        if (live === undefined || owningFederation(live) !== federation) return { changed: false };
        const changed = await deleteObject(connection, reference);
        await awaitGone(connection, live, reference);
        return { changed };
      }
      if (live === undefined) {
        await applyObject(connection, before);
        return { changed: true };
      }
      const patch = mergePatch(restorable(live), before) as Record<string, unknown>;
      if (Object.keys(patch).length === 0) return { changed: false };
      await patchObject(connection, { ...patch, ...identity(reference, patch) });
      return { changed: true };
    },
  };
}

/** A Service stays until its load balancer has been given back; one that is made meanwhile would vanish with it. */
async function awaitGone(
  connection: ClusterConnection,
  deleted: KubernetesObject,
  reference: ObjectReference,
): Promise<void> {
  await waitFor(
    async (): Promise<Look<true>> => {
      const left = await readObject(connection, reference);
      if (left === undefined || left.metadata.uid !== deleted.metadata.uid) return { done: true, value: true };
      const { finalizers = [] } = left.metadata as { finalizers?: string[] };
      return { done: false, seen: `it is kept by ${finalizers.join(', ') || 'nobody, but still there'}` };
    },
    {
      what: `${connection.cluster.name}: ${objectName(reference)} is gone`,
      timeoutMs: GONE_WITHIN_MS,
      signal: Context.current().cancellationSignal,
    },
  );
}

function identity({ apiVersion, kind, metadata }: ObjectReference, patch: Record<string, unknown>): ObjectReference {
  return { apiVersion, kind, metadata: { ...(patch['metadata'] as object | undefined), ...metadata } };
}
