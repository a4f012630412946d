import type { ApplyObjectRequest, RestoreObjectRequest, StepOutcome } from '../contract/activities.js';
import { FederatorError } from '../contract/errors.js';
import { covers, mergePatch, owningFederation, restorable } from '../federation/ownership.js';
import {
  applyObject,
  deleteObject,
  objectName,
  patchObject,
  readObject,
  type ObjectReference,
} from '../kubernetes/objects.js';
import type { Clusters } from './clusters.js';

/** Applying and restoring whole objects that the engine makes: Services, Routes, Ingresses. */
export function objectActivities(clusters: Clusters) {
  return {
    /** @throws FederatorError ForeignObject when somebody else made an object of that name meanwhile */
    async applyObject({ cluster, federation, object }: ApplyObjectRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const live = await readObject(connection, object);
      if (live !== undefined && owningFederation(live) !== federation) {
        throw new FederatorError(
          'ForeignObject',
          `${cluster}: ${objectName(object)} was made by somebody else. It stays as it is.`,
        );
      }
      if (live !== undefined && covers(live, object)) return { changed: false };
      await applyObject(connection, object);
      return { changed: true };
    },

    async restoreObject({ cluster, federation, reference, before }: RestoreObjectRequest): Promise<StepOutcome> {
      const { connection } = await clusters.get(cluster);
      const live = await readObject(connection, reference);
      if (before === undefined) {
        if (live === undefined || owningFederation(live) !== federation) return { changed: false };
        return { changed: await deleteObject(connection, reference) };
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

function identity({ apiVersion, kind, metadata }: ObjectReference, patch: Record<string, unknown>): ObjectReference {
  return { apiVersion, kind, metadata: { ...(patch['metadata'] as object | undefined), ...metadata } };
}
