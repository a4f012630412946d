import type { PlannedStep } from '../contract/change.js';
import type { ClusterFacts, Problem } from '../contract/facts.js';
import { findingId } from '../contract/health.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import type { Policy } from '../contract/policy.js';
import { policyName } from '../contract/names.js';
import { isAsMade } from './asMade.js';
import { covers, owned } from './ownership.js';
import { step } from './step.js';
import { renderPolicy, type TrustedMember } from './policy.js';

/** What the policies take on one member. */
export interface PolicyPlan {
  apply: PlannedStep;
  await: PlannedStep;
  /** ClusterSPIFFEIDs to write, each with what stands there now. */
  objects: { object: KubernetesObject; before?: KubernetesObject }[];
  /** ClusterSPIFFEIDs of somebody else that are in the way of a policy. */
  foreign: { name: string; message: string }[];
  /** ClusterSPIFFEIDs of policies that are no longer wanted. */
  removed: { name: string; before?: KubernetesObject }[];
}

/** Decides which ClusterSPIFFEIDs a member needs for the policies of its federation, and which it no longer does. */
export function planPolicies(
  {
    options: { federation },
    policies,
    problems,
    leftAlone,
  }: { options: { federation: string }; policies: readonly Policy[]; problems: Problem[]; leftAlone: string[] },
  facts: ClusterFacts,
  trusted: readonly TrustedMember[],
): PolicyPlan {
  const { cluster, identities } = facts;
  const objects: PolicyPlan['objects'] = [];
  const foreign: PolicyPlan['foreign'] = [];
  for (const policy of policies) {
    const name = policyName(policy);
    const object = renderPolicy(policy, facts, trusted, federation);
    const existing = identities.find((identity) => identity.name === name);
    const before = existing?.object;
    const isTakenBack =
      before !== undefined && existing?.lostLabels === true && isAsMade(owned(before, federation), object);
    if (existing !== undefined && existing.federation !== federation && !isTakenBack) {
      const same =
        JSON.stringify([...existing.federatesWith].sort()) ===
          JSON.stringify((object['spec'] as { federatesWith?: string[] }).federatesWith ?? []) &&
        existing.className === facts.className;
      if (same) leftAlone.push(`ClusterSPIFFEID ${name} on ${cluster}: somebody else's, and it federates as it must`);
      else {
        const message = `${cluster}: ClusterSPIFFEID ${name} exists and was not made by spire-federator. Give the policy another name, take it under management (adopt), or delete it.`;
        foreign.push({ name, message });
        const about = findingId({ check: 'policy', scope: cluster, about: name });
        problems.push({ cluster, type: 'ForeignObject', message, about });
      }
      continue;
    }
    if (before === undefined || !isAsMade(before, object)) {
      objects.push({ object, ...(before === undefined ? {} : { before }) });
    }
  }
  const wanted = new Set(policies.map(policyName));
  const removed = identities
    .filter(({ name, policy, federation: owner }) => owner === federation && policy !== undefined && !wanted.has(name))
    .map(({ name, object }) => ({ name, ...(object === undefined ? {} : { before: object }) }));
  const names = [...objects.map(({ object }) => object.metadata.name), ...removed.map(({ name }) => name)];
  const title = names.length === 0 ? 'Apply ClusterSPIFFEIDs' : `Apply ClusterSPIFFEID ${names.join(', ')}`;
  const action =
    names.length === 0
      ? 'none'
      : removed.length > 0 && objects.length === 0
        ? 'delete'
        : objects.every(({ before }) => before === undefined)
          ? 'create'
          : 'change';
  return {
    apply: step('applyPolicies', cluster, `${title} on ${cluster}`, action, [
      ...objects.flatMap(({ object, before: was }) => policyDifferences(object, was)),
      ...removed.map(({ name }) => `${name}: no longer a policy, deleted`),
    ]),
    await: step(
      'awaitPolicies',
      cluster,
      `Read what SPIRE controller manager makes of the policies on ${cluster}`,
      objects.length === 0 ? 'none' : 'check',
    ),
    objects,
    foreign,
    removed,
  };
}

/** What a ClusterSPIFFEID gains and loses, in the operator's words. */
function policyDifferences(object: KubernetesObject, before: KubernetesObject | undefined): string[] {
  const { name } = object.metadata;
  const wanted = (object['spec'] ?? {}) as Record<string, unknown>;
  const federatesWith = (wanted['federatesWith'] ?? []) as string[];
  if (before === undefined) return [`${name}: federates with ${federatesWith.join(', ') || 'nobody'}`];
  const live = (before['spec'] ?? {}) as Record<string, unknown>;
  const had = (live['federatesWith'] ?? []) as string[];
  const others = [...new Set([...Object.keys(wanted), ...Object.keys(live)])].filter(
    (key) => key !== 'federatesWith' && !(covers(live[key], wanted[key]) && covers(wanted[key], live[key])),
  );
  return [
    ...federatesWith.filter((each) => !had.includes(each)).map((each) => `${name}: federatesWith + ${each}`),
    ...had.filter((each) => !federatesWith.includes(each)).map((each) => `${name}: federatesWith - ${each}`),
    ...others.map((key) => `${name}: ${key} is ${JSON.stringify(live[key])} instead of ${JSON.stringify(wanted[key])}`),
  ];
}
