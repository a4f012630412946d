import type { ClusterFacts, IdentityFacts } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { POLICY, PROBE_NAMESPACE, policyName } from '../contract/names.js';
import type { FoundPolicy } from '../contract/policies.js';
import type { Policy } from '../contract/policy.js';
import { owned } from './ownership.js';
import { mostFrequent } from './settings.js';

export const CLUSTER_SPIFFE_ID = { apiVersion: 'spire.spiffe.io/v1alpha1', kind: 'ClusterSPIFFEID' } as const;

/** Pods of one service account share an identity; the template of ZTWIM's default, and of SPIRE's documentation. */
const DEFAULT_TEMPLATE = 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}';
/** The label that Kubernetes gives every namespace. */
const NAMESPACE_NAME = 'kubernetes.io/metadata.name';

/** A trust domain that a member trusts, by the inventory's name of its cluster. */
export interface TrustedMember {
  cluster: string;
  trustDomain: string;
}

/**
 * The ClusterSPIFFEID by which a policy takes effect on one member. It names only trust domains that the member trusts:
 * SPIRE refuses an entry whole when one bundle is missing, and an agent that is told to federate with its own trust
 * domain stops delivering SVIDs.
 */
export function renderPolicy(
  policy: Policy,
  { className, trustDomain }: Pick<ClusterFacts, 'className' | 'trustDomain'>,
  trusted: readonly TrustedMember[],
  federation: string,
): KubernetesObject {
  const federatesWith = trusted
    .filter(({ cluster }) => policy.peers?.includes(cluster) ?? true)
    .map((peer) => peer.trustDomain)
    .filter((each) => each !== trustDomain)
    .sort();
  return owned(
    {
      ...CLUSTER_SPIFFE_ID,
      metadata: { name: policyName(policy), annotations: { [POLICY]: JSON.stringify(policy) } },
      spec: {
        className,
        spiffeIDTemplate: DEFAULT_TEMPLATE,
        ...selection(policy),
        ...(federatesWith.length === 0 ? {} : { federatesWith }),
      },
    },
    federation,
  );
}

function selection(policy: Policy): Record<string, unknown> {
  switch (policy.type) {
    case 'universal':
      return {
        namespaceSelector: {
          matchExpressions: [
            // The test workloads have identities of their own, and one of them must not be federated.
            { key: NAMESPACE_NAME, operator: 'NotIn', values: [...policy.exceptNamespaces, PROBE_NAMESPACE] },
          ],
        },
      };
    case 'label':
      return { podSelector: { matchLabels: policy.labels } };
    case 'namespace':
      return { namespaceSelector: { matchLabels: { [NAMESPACE_NAME]: policy.namespace } } };
    case 'custom': {
      const { type: _type, name: _name, peers: _peers, ...spec } = policy;
      return spec;
    }
  }
}

/**
 * The policies that the members of a federation have, each once: as they are known, else as most members have them, so
 * that what somebody edits on one of them is put back there and spreads to nobody.
 * @param known those that it had, which somebody may have deleted on all members since
 */
export function policiesOf(
  federation: string,
  clusters: readonly Pick<ClusterFacts, 'identities'>[],
  known: readonly Policy[] = [],
): Policy[] {
  const found = new Map<string, Policy[]>();
  for (const { name, policy, ...identity } of clusters.flatMap(({ identities }) => identities)) {
    if (identity.federation === federation && policy !== undefined)
      found.set(name, [...(found.get(name) ?? []), policy]);
  }
  const policies = new Map(known.map((policy) => [policyName(policy), policy]));
  for (const [name, each] of found) {
    if (policies.has(name)) continue;
    // One of another name than its object has was edited.
    const intact = each.filter((policy) => policyName(policy) === name);
    const policy = mostFrequentOf(intact.length > 0 ? intact : each.map((edited): Policy => ({ ...edited, name })));
    if (policy !== undefined) policies.set(name, policy);
  }
  return [...policies.values()].sort((a, b) => policyName(a).localeCompare(policyName(b)));
}

function mostFrequentOf(policies: readonly Policy[]): Policy | undefined {
  const text = mostFrequent(policies.map((policy) => JSON.stringify(policy)));
  return policies.find((policy) => JSON.stringify(policy) === text);
}

/** The policies of a federation, each with the members that have it. */
export function foundPolicies(
  federation: string,
  clusters: readonly Pick<ClusterFacts, 'cluster' | 'identities'>[],
): FoundPolicy[] {
  return policiesOf(federation, clusters).map((policy) => {
    const name = policyName(policy);
    const members = clusters.flatMap(({ cluster, identities }) => {
      const identity = identities.find((each) => each.federation === federation && each.name === name);
      if (identity === undefined) return [];
      const { podsSelected, entriesToSet } = identity.stats;
      return {
        cluster,
        ...(podsSelected === undefined ? {} : { podsSelected }),
        ...(entriesToSet === undefined ? {} : { entriesToSet }),
      };
    });
    return { name, policy, members };
  });
}

/** Peers that policies name and that are no members: `policy: cluster`. */
export function unknownPeers(policies: readonly Policy[], members: readonly string[]): string[] {
  return policies.flatMap((policy) =>
    (policy.peers ?? []).filter((peer) => !members.includes(peer)).map((peer) => `${policyName(policy)}: ${peer}`),
  );
}

/** Which of two that give a pod the same entry wins (spire-controller-manager: pkg/spireentry/reconciler.go, objectCmp). */
export function isOlder(
  a: Pick<IdentityFacts, 'createdAt' | 'uid'>,
  b: Pick<IdentityFacts, 'createdAt' | 'uid'>,
): boolean {
  return a.createdAt < b.createdAt || (a.createdAt === b.createdAt && a.uid < b.uid);
}

/**
 * Which ClusterSPIFFEIDs can have masked entries of this one: same template, not a fallback, and older, as the oldest
 * wins. SPIRE controller manager counts masked entries but does not say by whom.
 */
export function maskedBy(identity: IdentityFacts, all: readonly IdentityFacts[]): string[] {
  const { name, spiffeIDTemplate, className } = identity;
  return all
    .filter(
      (other) =>
        other.name !== name &&
        other.spiffeIDTemplate.replaceAll(/\s/g, '') === spiffeIDTemplate.replaceAll(/\s/g, '') &&
        !other.fallback &&
        other.className === className &&
        isOlder(other, identity),
    )
    .map((other) => other.name);
}
