import type { ClusterRegions } from '../contract/activities.js';
import { candidateName } from '../contract/names.js';
import { regionPatienceMs } from '../config.js';
import type { Clusters } from './clusters.js';

/** What the workflows have to know of the inventory to hand out work. */
export function regionActivities(clusters: Clusters) {
  return {
    async readRegions(): Promise<ClusterRegions> {
      const [inventory, stored] = await Promise.all([clusters.read(), clusters.store?.list() ?? []]);
      const candidates = stored
        .filter(({ candidate }) => candidate)
        .map(({ entry }) => ({ ...entry, name: candidateName(entry.name) }));
      const regions = [...inventory.clusters, ...candidates].map(({ name, region }) => [name, region ?? null] as const);
      return { regions: Object.fromEntries(regions), patienceMs: regionPatienceMs() };
    },
  };
}
