import type { Client } from '@temporalio/client';
import type { FederatorActivities } from '../contract/activities.js';
import { authorityActivities } from './authorities.js';
import type { Clusters } from './clusters.js';
import { serverActivities } from './control.js';
import { engineActivities } from './engine.js';
import { factsActivities } from './facts.js';
import { notifyActivities } from './notify.js';
import { objectActivities } from './objects.js';
import { observeActivities } from './observe.js';
import { onboardingActivities } from './onboarding.js';
import { policyActivities } from './policies.js';
import { probeActivities } from './probe.js';
import { readingActivities } from './reading.js';
import { regionActivities } from './regions.js';
import { refreshActivities } from './refreshes.js';
import { relationshipActivities } from './relationships.js';
import { serverHealthActivities } from './serverHealth.js';
import { sysdumpActivities } from './sysdump.js';
import { workloadActivities } from './workload.js';

/** Everything the workflows ask of the world, acting on the clusters of one inventory. */
export function createActivities(clusters: Clusters, client: Client): FederatorActivities {
  return {
    ...authorityActivities(clusters),
    ...engineActivities(client),
    ...factsActivities(clusters),
    ...notifyActivities(client),
    ...objectActivities(clusters),
    ...observeActivities(clusters),
    ...onboardingActivities(clusters),
    ...policyActivities(clusters),
    ...probeActivities(clusters),
    ...readingActivities(clusters),
    ...refreshActivities(clusters),
    ...regionActivities(clusters),
    ...relationshipActivities(clusters),
    ...serverActivities(clusters),
    ...serverHealthActivities(clusters),
    ...sysdumpActivities(clusters, client),
    ...workloadActivities(clusters),
  };
}
