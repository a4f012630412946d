import type { KubernetesObject } from '../contract/kubernetes.js';
import { PENDING_BUNDLES } from '../contract/names.js';

/** Trust domains whose relationships were ended by a removal that did not come to delete their bundles. */
export function pendingBundles(server: Pick<KubernetesObject, 'metadata'> | undefined): string[] {
  return (server?.metadata.annotations?.[PENDING_BUNDLES] ?? '').split(',').filter((each) => each !== '');
}
