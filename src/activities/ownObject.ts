import { FederatorError } from '../contract/errors.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { cleaningPatch, isAsMade, isUnlabelled } from '../federation/asMade.js';
import { owningFederation } from '../federation/ownership.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { applyObject, objectName, patchObject, readObject } from '../kubernetes/objects.js';

/**
 * Creates an object of a federation, or puts it right; false where it is right already.
 * @throws FederatorError ForeignObject when somebody else made an object of that name
 */
export async function writeOwnObject(
  connection: ClusterConnection,
  federation: string,
  object: KubernetesObject,
): Promise<boolean> {
  const live = await readObject(connection, object);
  if (live !== undefined) {
    if (owningFederation(live) !== federation && !isUnlabelled(live, object, federation)) {
      throw new FederatorError(
        'ForeignObject',
        `${connection.cluster.name}: ${objectName(object)} was made by somebody else. It stays as it is.`,
      );
    }
    if (isAsMade(live, object)) return false;
    const spec = cleaningPatch(live, object);
    if (spec !== undefined) {
      const { apiVersion, kind, metadata } = object;
      const { name, namespace } = metadata;
      const reference = { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } };
      await patchObject(connection, { ...reference, spec });
    }
  }
  await applyObject(connection, object);
  return true;
}
