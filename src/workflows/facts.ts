import type { FoundMembers, PermissionUse } from '../contract/activities.js';
import type { ClusterFacts, FactsResult, Problem } from '../contract/facts.js';
import { orphanedTrust } from '../federation/orphanedTrust.js';
import { runStep } from './activities.js';
import { preflightFailure } from './failure.js';
import { askMembers } from './members.js';

const ATTEMPTS = 3;

/**
 * Reads all clusters side by side, as before a change; what stands in the way on any of them is reported at once.
 * @param uses what the engine's account will need its permissions for
 * @param name tells a second reading in one workflow from the first
 */
export async function readAllFacts(
  federation: string,
  clusters: readonly string[],
  uses: PermissionUse[],
  name?: string,
): Promise<ClusterFacts[]> {
  const results = await Promise.all(clusters.map((cluster) => readFacts(federation, cluster, uses, name)));
  const problems: Problem[] = results.flatMap((each) => each.problems);
  if (problems.length > 0) throw preflightFailure(problems);
  return results.flatMap((each) => each.facts ?? []);
}

/**
 * Reads clusters and all members beside them: a change must not forget any. Where what was read is not a whole federation,
 * every cluster of the inventory is asked whether it is a member.
 * @param named none: the members, or all clusters of the inventory where there are none
 */
export async function readFederation(
  federation: string,
  named: readonly string[],
  uses: PermissionUse[],
): Promise<ClusterFacts[]> {
  if (named.length === 0) {
    const { members, others } = await findMembers(federation);
    return readAllFacts(federation, members.length === 0 ? others : members, uses);
  }
  const facts = await readAllFacts(federation, named, uses);
  if (facts.every((each) => each.federation === federation) && isComplete(federation, facts)) return facts;
  const found = await askMembers(federation, ATTEMPTS);
  const unnamed = found.members.filter((cluster) => !named.includes(cluster));
  const all = [...facts, ...(await readAllFacts(federation, unnamed, uses))];
  // One that cannot be asked matters only where somebody trusts a member that nobody is known to be.
  if (!isComplete(federation, all)) requireAllAsked(federation, found.unknown);
  return all;
}

/** Whether each member trusts none but these. */
function isComplete(federation: string, facts: readonly ClusterFacts[]): boolean {
  const known = new Set(facts.map(({ trustDomain }) => trustDomain));
  return facts.every(({ relationships }) =>
    relationships.every((each) => each.federation !== federation || known.has(each.trustDomain)),
  );
}

/** What a change takes, as it was asked for. */
export function usesOf({ probe, monitor }: { probe?: boolean; monitor?: boolean | undefined }): PermissionUse[] {
  return ['change', ...(probe === true ? ['probe' as const] : []), ...(monitor === true ? ['monitor' as const] : [])];
}

/** Reads one cluster; what stands in the way is in its problems. */
export function readFacts(
  federation: string,
  cluster: string,
  permissions: PermissionUse[],
  name?: string,
): Promise<FactsResult> {
  const step = {
    id: ['readFacts', cluster, ...(name === undefined ? [] : [name])].join('/'),
    title: ['Read', cluster, ...(name === undefined ? [] : [name])].join(' '),
  };
  return runStep('readFacts', step, ATTEMPTS, { cluster, federation, permissions });
}

/**
 * The members, all of them: a cluster that cannot be asked may be one, and must not be forgotten.
 * @param except a cluster that is known to be out of reach
 */
export async function findMembers(federation: string, except?: string): Promise<FoundMembers> {
  const found = await askMembers(federation, ATTEMPTS);
  requireAllAsked(
    federation,
    found.unknown.filter(({ cluster }) => cluster !== except),
  );
  return found;
}

/**
 * The members that are left of a federation one of which is gone for good. Others that cannot be asked may be as well:
 * one by one they would stand in each other's way, so that what is said then removes them at once.
 */
export async function findRemaining(federation: string, gone: string): Promise<FoundMembers> {
  const found = await askMembers(federation, ATTEMPTS);
  const unknown = found.unknown.filter(({ cluster }) => cluster !== gone);
  if (unknown.length === 0) return found;
  const read = await Promise.all(found.members.map((cluster) => readFacts(federation, cluster, [])));
  // Trust in a member that cannot be read just now would be taken for trust in what is gone.
  const problems = read.flatMap((each) => each.problems);
  if (problems.length > 0) throw preflightFailure(problems);
  const [orphan] = orphanedTrust(
    federation,
    read.flatMap((each) => each.facts ?? []),
  );
  const remedy =
    orphan === undefined
      ? 'No member trusts what cannot be asked.'
      : `If it is gone for good, like ${gone}, they go at once, unless something else that has one of these trust domains is only away. ${orphan.remedy}`;
  requireAllAsked(federation, unknown, () => remedy);
  return found;
}

function requireAllAsked(
  federation: string,
  unknown: readonly Problem[],
  remedy = ({ cluster }: Problem) =>
    `If it is one and gone for good: npm run start-workflow removeCluster -- --federation ${federation} --cluster ${cluster} --unreachable`,
): void {
  if (unknown.length === 0) return;
  throw preflightFailure(
    unknown.map((problem) => ({
      ...problem,
      message: `${problem.message} It may be a member of federation ${federation}: restore the connection, or take it out of the inventory if it is none. ${remedy(problem)}`,
      withoutOthers: `A cluster could not be asked, and may be of federation ${federation}. Whoever has a role in all federations is told which, and why.`,
    })),
  );
}
