import type { FederatorActivities } from '../contract/activities.js';
import type { Clusters } from './clusters.js';
import { serverActivities } from './control.js';
import { factsActivities } from './facts.js';
import { objectActivities } from './objects.js';
import { observeActivities } from './observe.js';
import { policyActivities } from './policies.js';
import { probeActivities } from './probe.js';
import { relationshipActivities } from './relationships.js';
import { workloadActivities } from './workload.js';

/** Everything the workflows ask of the world, acting on the clusters of one inventory. */
export function createActivities(clusters: Clusters): FederatorActivities {
  return {
    ...factsActivities(clusters),
    ...objectActivities(clusters),
    ...observeActivities(clusters),
    ...policyActivities(clusters),
    ...probeActivities(clusters),
    ...relationshipActivities(clusters),
    ...serverActivities(clusters),
    ...workloadActivities(clusters),
  };
}
