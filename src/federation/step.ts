import type { PlannedStep, StepAction } from '../contract/change.js';

/** A step's identity is its activity and its place, so that two runs of one plan name their steps alike. */
export function step(
  activity: string,
  place: string,
  title: string,
  action: StepAction,
  details: readonly string[] = [],
): PlannedStep {
  return {
    id: `${activity}/${place}`,
    cluster: place.split(/[←→]/)[0] ?? place,
    title,
    action,
    ...(details.length === 0 ? {} : { details: [...details] }),
  };
}
