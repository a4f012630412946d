import { FederatorError } from '../contract/errors.js';
import type { StepOutcome } from '../contract/activities.js';
import { candidateName } from '../contract/names.js';
import type { ClusterStore } from '../store/clusterStore.js';
import type { Clusters } from './clusters.js';

/** The inventory's part that is made while the engine runs. */
export function onboardingActivities(clusters: Clusters) {
  return {
    /** Makes a candidate, proven by now, the cluster of its name. */
    async promoteCandidate({ cluster }: { cluster: string }): Promise<StepOutcome> {
      const store = storeOf(clusters);
      const listed = await store.list();
      const has = (candidate: boolean) =>
        listed.some((each) => each.candidate === candidate && each.entry.name === cluster);
      // Done by an attempt whose answer got lost.
      if (!has(true) && has(false)) return { changed: false };
      await store.promote(cluster);
      clusters.release(candidateName(cluster));
      return { changed: true };
    },

    async discardCandidate({ cluster }: { cluster: string }): Promise<StepOutcome> {
      await storeOf(clusters).remove(cluster, true);
      clusters.release(candidateName(cluster));
      return { changed: true };
    },

    /** Takes a cluster and its credentials out of the store, and those that were submitted for it. */
    async forgetCluster({ cluster }: { cluster: string }): Promise<StepOutcome> {
      const store = storeOf(clusters);
      await store.remove(cluster, false);
      await store.remove(cluster, true);
      clusters.release(cluster);
      clusters.release(candidateName(cluster));
      return { changed: true };
    },
  };
}

/** @throws FederatorError InvalidInput where the worker was given none */
function storeOf({ store }: Clusters): ClusterStore {
  if (store !== undefined) return store;
  throw new FederatorError(
    'InvalidInput',
    'A worker that took this up has no cluster store. Start every worker with the same SPIRE_FEDERATOR_STORE (and SPIRE_FEDERATOR_STORE_KEYS) as the API.',
  );
}
