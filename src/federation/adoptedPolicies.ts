import type { ClusterFacts, IdentityFacts } from '../contract/facts.js';
import { policyName } from '../contract/names.js';
import { policySchema, type Policy } from '../contract/policy.js';
import type { Check } from '../contract/verify.js';
import { covers } from './ownership.js';
import { policiesOf, renderPolicy } from './policy.js';
import { mostFrequent } from './settings.js';

/** A cluster of a federation that is adopted, and the members that it trusts. */
export interface AdoptedMember {
  facts: ClusterFacts;
  trusted: readonly ClusterFacts[];
}

/** Somebody else's ClusterSPIFFEID that could be a policy. */
interface Candidate extends AdoptedMember {
  identity: IdentityFacts;
  policy: Policy;
}

export interface AdoptedPolicies {
  /** By the name of their ClusterSPIFFEIDs, what these amount to on all clusters together. */
  policies: Map<string, Policy>;
  /** ClusterSPIFFEIDs of one name that no one policy could be made of: they stay somebody else's. */
  findings: Check[];
}

/**
 * Makes one policy of the ClusterSPIFFEIDs that have a name in common. None of them loses a peer by it: one that made do
 * with fewer peers than the others gets theirs.
 */
export function adoptedPolicies(federation: string, members: readonly AdoptedMember[]): AdoptedPolicies {
  const known = policiesOf(
    federation,
    members.map(({ facts }) => facts),
  );
  const candidates = members.flatMap((member) =>
    member.facts.identities.flatMap((identity): Candidate[] => {
      const policy = policyOf(member.facts, identity, member.trusted)?.data;
      return policy === undefined ? [] : [{ ...member, identity, policy }];
    }),
  );
  const policies = new Map<string, Policy>();
  const findings: Check[] = [];
  for (const name of new Set(candidates.map(({ identity }) => identity.name))) {
    const alike = candidates.filter(({ identity }) => identity.name === name);
    const managed = known.find((policy) => policyName(policy) === name);
    const policy = managed ?? policyOfAll(alike, members);
    const others = alike.flatMap((each) => {
      const fields = differences(each, policy, federation);
      return fields.length === 0 ? [] : [{ cluster: each.facts.cluster, fields }];
    });
    if (others.length === 0) policies.set(name, policy);
    const like = alike
      .map(({ facts }) => facts.cluster)
      .filter((each) => others.every(({ cluster }) => cluster !== each));
    const standard = managed === undefined ? `that on ${like.join(', ')}` : 'the policy of its name';
    findings.push(...others.map(({ cluster, fields }) => differs(name, cluster, fields, standard)));
  }
  return { policies, findings };
}

/** The policy that somebody else's ClusterSPIFFEID amounts to, peers aside; undefined where it federates with no member. */
export function policyOf(
  { trustDomain }: Pick<ClusterFacts, 'trustDomain'>,
  identity: IdentityFacts,
  trusted: readonly ClusterFacts[],
): ReturnType<typeof policySchema.safeParse> | undefined {
  const peers = peersOf(identity, trusted);
  if (identity.policy !== undefined || identity.federation !== undefined || identity.object === undefined) {
    return undefined;
  }
  if (peers.length === 0) return undefined;
  const {
    federatesWith: _federatesWith,
    className: _className,
    ...selection
  } = identity.object['spec'] as Record<string, unknown>;
  const { spiffeIDTemplate } = selection;
  return policySchema.safeParse({
    type: 'custom',
    name: identity.name,
    ...selection,
    // Of another trust domain than the cluster's own SPIRE controller manager makes no entries.
    ...(typeof spiffeIDTemplate === 'string'
      ? { spiffeIDTemplate: spiffeIDTemplate.replace(`spiffe://${trustDomain}/`, 'spiffe://{{ .TrustDomain }}/') }
      : {}),
  });
}

function peersOf(identity: IdentityFacts, trusted: readonly ClusterFacts[]): ClusterFacts[] {
  return trusted.filter((peer) => identity.federatesWith.includes(peer.trustDomain));
}

/** The selection that most of them have, with the peers of all. */
function policyOfAll(alike: readonly Candidate[], members: readonly AdoptedMember[]): Policy {
  const policies = alike.map(({ policy }) => JSON.stringify(policy));
  const selection = JSON.parse(mostFrequent(policies) ?? '') as Policy;
  // Where all federate with all, so will they with whoever comes later.
  if (alike.every(({ identity, trusted }) => peersOf(identity, trusted).length === trusted.length)) return selection;
  // Each cluster is a peer of its peers; that none federates with itself is seen to when the policy is rendered.
  const named = new Set(
    alike.flatMap(({ facts, identity, trusted }) =>
      [facts, ...peersOf(identity, trusted)].map(({ cluster }) => cluster),
    ),
  );
  const peers = members.map(({ facts }) => facts.cluster).filter((cluster) => named.has(cluster));
  return { ...selection, peers };
}

/** The fields in which a ClusterSPIFFEID is another than the policy would have it; that it gets more peers is none. */
function differences(
  { facts, identity, trusted, policy: own }: Candidate,
  policy: Policy,
  federation: string,
): string[] {
  const render = (each: Policy) => renderPolicy(each, facts, trusted, federation)['spec'] as Record<string, unknown>;
  const { federatesWith: _all, ...is } = render(own);
  const { federatesWith = [], ...wanted } = render(policy);
  const fields = [...new Set([...Object.keys(is), ...Object.keys(wanted)])].filter(
    (key) => !covers(essence(is[key]), essence(wanted[key])) || !covers(essence(wanted[key]), essence(is[key])),
  );
  const isLost = peersOf(identity, trusted).some(
    ({ trustDomain }) => !(federatesWith as string[]).includes(trustDomain),
  );
  return [...fields, ...(isLost ? ['federatesWith'] : [])];
}

/** A value without what says nothing: selectors that select all, defaults, spaces in a template's actions. */
function essence(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll(/{{.*?}}/gs, (action) => action.replaceAll(/\s/g, ''));
  if (Array.isArray(value)) return value.length === 0 ? undefined : value.map(essence);
  if (typeof value !== 'object' || value === null) return value === false ? undefined : value;
  const fields = Object.entries(value).flatMap(([key, each]: [string, unknown]) => {
    const said = essence(each);
    return said === undefined ? [] : [[key, said] as const];
  });
  return fields.length === 0 ? undefined : Object.fromEntries(fields);
}

function differs(name: string, cluster: string, fields: readonly string[], standard: string): Check {
  return {
    name: 'policy-differs',
    scope: cluster,
    verdict: 'warning',
    evidence: `ClusterSPIFFEID ${name} on ${cluster} is another than ${standard}, in ${fields.join(', ')}: no one policy can be made of them. Those of that name that are not managed stay as they are, and nobody keeps their federatesWith right`,
    about: name,
    remedy:
      'Make them equal, or give one of them another name, and adopt again; or keep their federatesWith right by hand.',
  };
}
