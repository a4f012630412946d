import type { RestoreObjectRequest } from '../contract/activities.js';
import type { PlannedStep } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import { owningFederation } from './ownership.js';
import { step } from './plan.js';

export interface TeardownMember {
  facts: ClusterFacts;
  /** Trust domains with which the federation related this member. */
  peers: string[];
  removeProbe: PlannedStep;
  /** One per peer, in their order. */
  removeRelationships: PlannedStep[];
  restoreServer: PlannedStep;
  deleteObjects: { step: PlannedStep; reference: RestoreObjectRequest['reference'] }[];
}

export interface TeardownPlan {
  members: TeardownMember[];
  leftAlone: string[];
  changes: boolean;
}

/** Decides what ending a federation takes on each member. Pure. */
export function planTeardown(federation: string, clusters: readonly ClusterFacts[]): TeardownPlan {
  const leftAlone: string[] = [];
  const members = clusters.map((facts) => planMember(federation, facts, leftAlone));
  const steps = members.flatMap((member) => memberSteps(member));
  return { members, leftAlone, changes: steps.some(({ action }) => action !== 'none' && action !== 'check') };
}

/** Every step on one member, in the order in which it is taken. */
export function memberSteps({
  removeProbe,
  removeRelationships,
  restoreServer,
  deleteObjects,
}: TeardownMember): PlannedStep[] {
  return [removeProbe, ...removeRelationships, restoreServer, ...deleteObjects.map((each) => each.step)];
}

function planMember(federation: string, facts: ClusterFacts, leftAlone: string[]): TeardownMember {
  const { cluster } = facts;
  const peers: string[] = [];
  for (const { name, trustDomain, federation: owner } of facts.relationships) {
    if (owner === federation) peers.push(trustDomain);
    else leftAlone.push(`ClusterFederatedTrustDomain ${name} on ${cluster}: not made for this federation`);
  }
  const deleteObjects = facts.endpointObjects.flatMap((object) => {
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
  const probed = facts.identities.some((identity) => identity.federation === federation);
  const configured =
    facts.serverConfRecorded || facts.statefulSet.portAdded || facts.statefulSet.federationHash !== undefined;
  return {
    facts,
    peers,
    removeProbe: step('removeProbe', cluster, `Remove test workloads from ${cluster}`, probed ? 'delete' : 'none'),
    removeRelationships: peers.map((peer) =>
      step(
        'removeRelationship',
        `${cluster}←${peer}`,
        `Remove the relationship with ${peer} and its bundle on ${cluster}`,
        'delete',
      ),
    ),
    restoreServer: step(
      'removeFederationFromServer',
      cluster,
      `Restore server.conf and StatefulSet ${facts.server} on ${cluster}`,
      configured ? 'restart' : 'none',
    ),
    deleteObjects,
  };
}
