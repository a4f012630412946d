import type { ClusterFacts } from '../contract/facts.js';

/** Trust that a member has, as a member, in a trust domain that is nobody's. */
export interface OrphanedTrust {
  /** Of the ClusterFederatedTrustDomain. */
  name: string;
  evidence: string;
  remedy: string;
}

/**
 * What is left with a member of clusters that were taken out of the inventory without being removed from the federation.
 * Pure.
 * @param known the trust domains of all members
 */
export function orphanedTrust(
  federation: string,
  { relationships }: Pick<ClusterFacts, 'relationships'>,
  known: ReadonlySet<string>,
): OrphanedTrust[] {
  return relationships
    .filter((each) => each.federation === federation && !known.has(each.trustDomain))
    .map(({ name, trustDomain }) => ({
      name,
      evidence: `ClusterFederatedTrustDomain ${name} trusts ${trustDomain}, which is that of no member`,
      remedy: `Have the members forget it: npm run start-workflow removeCluster -- --federation ${federation} --unreachable --trust-domain ${trustDomain}`,
    }));
}
