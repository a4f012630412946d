import type { ControlType } from '../contract/control.js';
import { PENDING_BUNDLES } from '../contract/names.js';
import { pendingBundles } from '../federation/pendingBundles.js';
import { SPIRE_SERVER } from '../federation/spireServerPlan.js';
import type { ClusterConnection } from '../kubernetes/connect.js';
import { patchObject, readObject, type ObjectReference } from '../kubernetes/objects.js';
import { optimistically } from './server.js';

/**
 * Notes beside SPIRE server's configuration which bundles go with relationships that are about to end: once these are
 * gone, nothing else tells that somebody has still to delete them.
 */
export async function notePendingBundles(
  connection: ClusterConnection,
  control: ControlType,
  trustDomains: readonly string[],
): Promise<void> {
  await change(connection, control, (noted) => [...new Set([...noted, ...trustDomains])].sort());
}

/** Forgets bundles that are deleted, or are to stay. */
export async function forgetPendingBundles(
  connection: ClusterConnection,
  control: ControlType,
  trustDomains: readonly string[],
): Promise<void> {
  await change(connection, control, (noted) => noted.filter((each) => !trustDomains.includes(each)));
}

async function change(
  connection: ClusterConnection,
  control: ControlType,
  next: (noted: string[]) => string[],
): Promise<void> {
  const { namespace, server: name } = connection.cluster;
  const reference: ObjectReference =
    control === 'operator' ? SPIRE_SERVER : { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace } };
  await optimistically(async () => {
    const live = await readObject(connection, reference);
    const noted = pendingBundles(live);
    const wanted = next(noted);
    if (live === undefined || wanted.join() === noted.join()) return;
    const { resourceVersion } = live.metadata;
    const annotations = { [PENDING_BUNDLES]: wanted.length === 0 ? null : wanted.join(',') };
    await patchObject(connection, {
      ...reference,
      metadata: { ...reference.metadata, ...{ resourceVersion, annotations } },
    });
  });
}
