import type { ClusterFacts } from '../contract/facts.js';

/** Trust that a member has, as a member, in a trust domain that is nobody's. */
export interface OrphanedTrust {
  member: ClusterFacts;
  /** Of the ClusterFederatedTrustDomain. */
  name: string;
  evidence: string;
  remedy: string;
}

/**
 * What is left of clusters that were taken out of the inventory without being removed from the federation. Pure.
 * @param members all that could be read
 * @param absent those that could not, as far as they are known
 */
export function orphanedTrust(
  federation: string,
  members: readonly ClusterFacts[],
  absent: readonly { trustDomain: string }[] = [],
): OrphanedTrust[] {
  const known = new Set([...members, ...absent].map(({ trustDomain }) => trustDomain));
  const orphans = members.flatMap((member) =>
    member.relationships
      .filter((each) => each.federation === federation && !known.has(each.trustDomain))
      .map(({ name, trustDomain }) => ({ member, name, trustDomain })),
  );
  // A removal wants all of them named: one that is only away would lose what is of it.
  const all = [...new Set(orphans.map(({ trustDomain }) => trustDomain))].join(',');
  return orphans.map(({ member, name, trustDomain }) => ({
    member,
    name,
    evidence: `ClusterFederatedTrustDomain ${name} trusts ${trustDomain}, which is that of no member`,
    remedy: `Have the members forget it: npm run start-workflow removeCluster -- --federation ${federation} --unreachable --trust-domain ${all}`,
  }));
}
