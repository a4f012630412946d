import type { FoundMembers } from '../contract/activities.js';
import { runStep, type StepName } from './activities.js';
import { clustersByRegion, isNoWorker, noWorker } from './regions.js';

type Group = Awaited<ReturnType<typeof clustersByRegion>>[number];

const FIND_MEMBERS: StepName = { id: 'findMembers', title: 'Find the members' };

/** Whoever looks at a list does not wait longer for a region without workers: its clusters are said to be unknown. */
export const LIST_PATIENCE_MS = 5_000;

/**
 * Asks every cluster of the inventory what it is a member of, those of each region by its own workers.
 * @param id of the step, where a workflow asks more than once
 * @param longestMs that is waited for a worker of a region at most
 */
export async function askMembers(
  federation: string,
  attempts: number,
  { id = FIND_MEMBERS.id, longestMs }: { id?: string; longestMs?: number } = {},
): Promise<FoundMembers> {
  const step = { ...FIND_MEMBERS, id };
  const groups = await clustersByRegion(longestMs);
  if (groups.length === 1) return runStep('findMembers', step, attempts, { federation });
  const found = await Promise.all(groups.map((group) => askGroup(federation, attempts, step, group)));
  const federations = new Map<string, string[]>();
  for (const [name, clusters] of found.flatMap((each) => Object.entries(each.federations)))
    federations.set(name, [...(federations.get(name) ?? []), ...clusters]);
  return {
    members: found.flatMap(({ members }) => members),
    others: found.flatMap(({ others }) => others),
    federations: Object.fromEntries(federations),
    unknown: found.flatMap(({ unknown }) => unknown),
  };
}

/** Clusters of a region without workers cannot be asked, as if they could not be reached. */
async function askGroup(
  federation: string,
  attempts: number,
  step: StepName,
  { region, clusters }: Group,
): Promise<FoundMembers> {
  const nobody: FoundMembers = { members: [], others: [], federations: {}, unknown: [] };
  if (clusters.length === 0) return nobody;
  if (region === undefined) return runStep('findMembers', step, attempts, { federation, clusters });
  const { id, title } = step;
  const own = { id: `${id}/${region.name}`, title: `${title} in region ${region.name}` };
  try {
    return await runStep('findMembers', own, attempts, { federation, clusters }, region);
  } catch (error) {
    if (!isNoWorker(error)) throw error;
    const unknown = clusters.map((cluster) => ({
      cluster,
      type: 'NoWorker' as const,
      message: noWorker(region, cluster).message,
    }));
    return { ...nobody, unknown };
  }
}
