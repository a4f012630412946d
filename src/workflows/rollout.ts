import type { EditOutcome, RolloutRequest } from '../contract/activities.js';
import type { PlannedStep } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';

/**
 * What is asked of a rollout of SPIRE server.
 * @param edited what came of the edit of its configuration, where that was edited
 */
export function rolloutRequest(
  { cluster, control, statefulSet }: ClusterFacts,
  { action }: Pick<PlannedStep, 'action'>,
  edited: EditOutcome | undefined,
  asked: Pick<RolloutRequest, 'federation' | 'wanted' | 'timeoutMs'>,
): RolloutRequest {
  return {
    ...asked,
    cluster,
    control: control.type,
    outdatedPod: edited?.pod,
    ...(action === 'restart' ? { replaces: statefulSet.configHash ?? '' } : {}),
  };
}
