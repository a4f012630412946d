import { FederatorError } from '../contract/errors.js';
import type { Cluster, Inventory } from '../contract/inventory.js';
import type { ClusterStore, StoredCluster } from './clusterStore.js';
import type { InventoryFile } from './inventoryFile.js';

/** Image of the probe workloads where the inventory file says none, or there is no file. */
const PROBE_IMAGE = 'SPIRE_FEDERATOR_PROBE_IMAGE';

const NONE: Inventory = { clusters: [] };

/** Every cluster the engine may act on: those of the inventory file, and those that were onboarded. */
export interface FullInventory extends Inventory {
  /** The store's own words on the clusters that come from it, by name. */
  stored: ReadonlyMap<string, StoredCluster>;
  /** Names of those that are being onboarded. */
  candidates: ReadonlySet<string>;
}

/**
 * @param file absent: only what was onboarded
 * @throws FederatorError InvalidInventory, StoreUnavailable
 */
export async function readInventory(
  file: Pick<InventoryFile, 'path' | 'read'> | undefined,
  store: ClusterStore | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<FullInventory> {
  const [inventory, listed] = await Promise.all([file?.read() ?? NONE, store === undefined ? [] : store.list()]);
  const stored = new Map(listed.filter(({ candidate }) => !candidate).map((each) => [each.entry.name, each]));
  const twice = inventory.clusters.find(({ name }) => stored.has(name));
  if (twice !== undefined) {
    throw new FederatorError(
      'InvalidInventory',
      `Cluster ${twice.name} is both in the inventory file ${file?.path ?? ''} and in ${store?.description ?? ''}. Take it out of one of them.`,
    );
  }
  const probeImage = inventory.probeImage ?? (environment[PROBE_IMAGE] || undefined);
  return {
    ...inventory,
    ...(probeImage === undefined ? {} : { probeImage }),
    clusters: [...inventory.clusters, ...[...stored.values()].map(withReference)],
    stored,
    candidates: new Set(listed.filter(({ candidate }) => candidate).map(({ entry }) => entry.name)),
  };
}

/** An onboarded cluster as the inventory has it: a reference stands where its credentials would be. */
export function withReference({ entry }: StoredCluster): Cluster {
  return { ...entry, kubeconfig: { path: `of ${entry.name} in the cluster store` } };
}
