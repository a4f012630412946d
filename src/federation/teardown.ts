import type { RemovedRelationship, RestoreObjectRequest } from '../contract/activities.js';
import type { PlannedStep } from '../contract/change.js';
import type { ClusterFacts, IdentityFacts, RelationshipFacts } from '../contract/facts.js';
import { controlStrategy } from './control.js';
import { owningFederation } from './ownership.js';
import { PROBE_ROLES, probeIdentityName } from './probe.js';
import { relationshipName, rivalRelationships } from './relationship.js';
import { step } from './step.js';

export interface TeardownMember {
  facts: ClusterFacts;
  removeProbe: PlannedStep;
  removePolicies: PlannedStep;
  /** Names of the ClusterSPIFFEIDs of the federation's policies. */
  policies: string[];
  removeRelationships: PlannedStep;
  relationships: RemovedRelationship[];
  restoreServer: PlannedStep;
  deleteObjects: { step: PlannedStep; reference: RestoreObjectRequest['reference'] }[];
}

export interface TeardownPlan {
  members: TeardownMember[];
  leftAlone: string[];
  /** What cannot be put back as it was, a sentence each. */
  stays: string[];
  changes: boolean;
}

/** Decides what ending a federation takes on each member. Pure. */
export function planTeardown(federation: string, clusters: readonly ClusterFacts[]): TeardownPlan {
  const leftAlone: string[] = [];
  const members = clusters.map((facts) => planMember(federation, facts, leftAlone));
  const steps = members.flatMap((member) => memberSteps(member));
  const stays = clusters.flatMap((facts) => controlStrategy(facts).teardown(facts).stays);
  return { members, leftAlone, stays, changes: steps.some(({ action }) => action !== 'none' && action !== 'check') };
}

/** Every step on one member, in the order in which it is taken. */
export function memberSteps({
  removeProbe,
  removePolicies,
  removeRelationships,
  restoreServer,
  deleteObjects,
}: TeardownMember): PlannedStep[] {
  return [removeProbe, removePolicies, removeRelationships, restoreServer, ...deleteObjects.map((each) => each.step)];
}

/**
 * How a relationship ends. The bundle goes with it, unless a ClusterSPIFFEID that no removal changes still federates with
 * the trust domain, without which its workloads would get no identity at all; or a relationship of somebody else takes
 * over; or it was there before the relationship.
 */
export function removal(
  federation: string,
  facts: ClusterFacts,
  { name, trustDomain, storedBefore }: Pick<RelationshipFacts, 'name' | 'trustDomain' | 'storedBefore'>,
  leftAlone: string[],
): RemovedRelationship {
  const { cluster, identities } = facts;
  const users = identities.filter(
    (identity) => identity.federatesWith.includes(trustDomain) && !isUnderstood(identity, federation),
  );
  for (const user of users) {
    const whose = user.federation === federation ? 'of which no policy can be read' : "which is somebody else's";
    leftAlone.push(
      `the bundle of ${trustDomain} stored on ${cluster}: ClusterSPIFFEID ${user.name}, ${whose}, federates with it. Take it out of its federatesWith, then: ./spire-server bundle delete -id spiffe://${trustDomain} -mode dissociate`,
    );
  }
  const rivals = rivalRelationships(facts, trustDomain, federation);
  for (const rival of rivals) {
    leftAlone.push(
      `the bundle of ${trustDomain} stored on ${cluster}: ClusterFederatedTrustDomain ${rival.name}, which is somebody else's, goes on trusting it. To end that, delete ${rival.name}, then: ./spire-server bundle delete -id spiffe://${trustDomain} -mode dissociate`,
    );
  }
  if (storedBefore === true)
    leftAlone.push(`the bundle of ${trustDomain} stored on ${cluster}: it was stored before the federation`);
  return { name, trustDomain, keepBundle: users.length > 0 || rivals.length > 0 || storedBefore === true };
}

/** What a removal that was stopped left to do: bundles without a relationship by which they would be known. */
export function unfinishedRemovals(
  federation: string,
  facts: ClusterFacts,
  leftAlone: string[],
): RemovedRelationship[] {
  const { pendingBundles = [], relationships } = facts;
  const isOwn = (each: RelationshipFacts) => each.federation === federation;
  return (
    pendingBundles
      // With one of somebody else nothing is left to delete, and that is what is left to note.
      .filter((trustDomain) => !relationships.some((each) => isOwn(each) && each.trustDomain === trustDomain))
      .map((trustDomain) => removal(federation, facts, { name: relationshipName(trustDomain), trustDomain }, leftAlone))
  );
}

/** Says that a relationship of somebody else stays. */
export function notOurs({ cluster }: ClusterFacts, { name }: RelationshipFacts): string {
  return `ClusterFederatedTrustDomain ${name} on ${cluster}: not made for this federation`;
}

/** Whether a removal takes the trust domain out of a ClusterSPIFFEID itself: one of a policy, or of a test workload. */
function isUnderstood({ name, policy, federation: owner }: IdentityFacts, federation: string): boolean {
  if (owner !== federation) return false;
  return policy !== undefined || PROBE_ROLES.some((role) => probeIdentityName(role, federation) === name);
}

function planMember(federation: string, facts: ClusterFacts, leftAlone: string[]): TeardownMember {
  const { cluster } = facts;
  const relationships: RemovedRelationship[] = [];
  for (const relationship of facts.relationships) {
    if (relationship.federation === federation) relationships.push(removal(federation, facts, relationship, leftAlone));
    else leftAlone.push(notOurs(facts, relationship));
  }
  relationships.push(...unfinishedRemovals(federation, facts, leftAlone));
  const policies = facts.identities
    .filter((identity) => identity.federation === federation && identity.policy !== undefined)
    .map(({ name }) => name);
  const objects = facts.endpointObjects.filter(
    // That of the operator goes with what the operator holds, and is told of with it.
    (object) => facts.exposure.type !== 'managedRoute' || owningFederation(object) === federation,
  );
  const deleteObjects = objects.flatMap((object) => {
    const { name, namespace } = object.metadata;
    const title = `Delete ${object.kind} ${name} on ${cluster}`;
    if (owningFederation(object) !== federation) {
      leftAlone.push(`${object.kind} ${name} on ${cluster}: not made for this federation`);
      return [];
    }
    const reference = {
      apiVersion: object.apiVersion,
      kind: object.kind,
      metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    };
    return [{ step: step(`delete${object.kind}`, cluster, title, 'delete'), reference }];
  });
  const probed = facts.identities.some(
    (identity) => identity.federation === federation && identity.policy === undefined,
  );
  const server = controlStrategy(facts).teardown(facts);
  return {
    facts,
    removeProbe: step('removeProbe', cluster, `Remove test workloads from ${cluster}`, probed ? 'delete' : 'none'),
    removePolicies: step(
      'removePolicies',
      cluster,
      `Delete the ClusterSPIFFEIDs of policies on ${cluster}`,
      policies.length > 0 ? 'delete' : 'none',
      policies,
    ),
    policies,
    removeRelationships: step(
      'removeRelationships',
      cluster,
      `Remove the relationships and their bundles on ${cluster}`,
      relationships.length > 0 ? 'delete' : 'none',
      relationships.map(({ trustDomain }) => trustDomain),
    ),
    relationships,
    restoreServer: step('removeFederationFromServer', cluster, server.title, server.action, server.details),
    deleteObjects,
  };
}
