import type { PlannedStep, SetupInput, StepAction } from '../contract/change.js';
import type { ClusterFacts, Problem, RelationshipFacts } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { BUNDLE_ENDPOINT_OBJECT, edgeName } from '../contract/names.js';
import { exposureStrategy, type ExposureContext } from './exposure.js';
import { covers, owned, owningFederation, restorable } from './ownership.js';
import { relationshipDifferences, wantedRelationship } from './relationship.js';
import { endpointPort, serverConfDifferences, wantedFederation, type Peer } from './serverConfPlan.js';

/** An object of the bundle endpoint, and what has to be done about it. */
export interface ObjectPlan {
  step: PlannedStep;
  object: KubernetesObject;
  /** The object as it is now; undefined when there is none. */
  before?: KubernetesObject;
}

export interface MemberPlan {
  facts: ClusterFacts;
  objects: ObjectPlan[];
  editServerConf: PlannedStep;
  rolloutServer: PlannedStep;
  readBundle: PlannedStep;
}

/** A directed edge: `trusting` comes to hold the bundle of `trusted`. */
export interface EdgePlan {
  trusting: ClusterFacts;
  trusted: ClusterFacts;
  applyRelationship: PlannedStep;
  awaitBundle: PlannedStep;
  /** The relationship as it is now; undefined when there is none. */
  before?: RelationshipFacts;
}

export interface SetupPlan {
  members: MemberPlan[];
  edges: EdgePlan[];
  probe: PlannedStep[];
  verify: PlannedStep;
  problems: Problem[];
  /** Objects of others that fit and stay as they are. */
  leftAlone: string[];
  /** Whether anything at all has to be created, changed or restarted. */
  changes: boolean;
}

/** Marks an endpoint URL that the cluster has yet to assign. */
export const UNASSIGNED_URL = 'https://(assigned when exposed)';

/**
 * Decides what a full mesh of these clusters takes: what exists, what must be done, what stands in the way and what is
 * left alone. Pure: the same facts give the same plan.
 */
export function planSetup(input: SetupInput, clusters: readonly ClusterFacts[]): SetupPlan {
  const problems = memberProblems(input.federation, clusters);
  const leftAlone: string[] = [];
  const members = clusters.map((facts) => planMember(input, facts, clusters, problems, leftAlone));
  const edges = clusters.flatMap((trusting) =>
    clusters
      .filter((trusted) => trusted !== trusting)
      .map((trusted) => planEdge(input, trusting, trusted, problems, leftAlone)),
  );
  const steps = [...members.flatMap(memberSteps), ...edges.flatMap(edgeSteps)];
  const changes = steps.some(({ action }) => action !== 'none' && action !== 'check');
  return {
    members,
    edges,
    probe: input.probe && changes ? probeSteps(clusters) : [],
    verify: step('verify', 'all', `Verify federation ${input.federation}`, 'check'),
    problems,
    leftAlone,
    changes,
  };
}

/** Every step of a plan, in the order in which they are taken. */
export function planSteps(plan: SetupPlan): PlannedStep[] {
  return [
    ...plan.members.flatMap((member) => member.objects.map((object) => object.step)),
    ...plan.members.map((member) => member.editServerConf),
    ...plan.members.map((member) => member.rolloutServer),
    ...plan.members.map((member) => member.readBundle),
    ...plan.edges.map((edge) => edge.applyRelationship),
    ...plan.edges.map((edge) => edge.awaitBundle),
    plan.verify,
    ...plan.probe,
  ];
}

/** What the exposure strategies need to know of a cluster. */
export function exposureContext(
  facts: Pick<ClusterFacts, 'namespace' | 'selector' | 'serverConf' | 'exposure' | 'trustDomain'>,
): ExposureContext {
  return {
    namespace: facts.namespace,
    serviceName: BUNDLE_ENDPOINT_OBJECT,
    routeName: BUNDLE_ENDPOINT_OBJECT,
    selector: facts.selector,
    targetPort: endpointPort(facts.serverConf),
    exposure: facts.exposure,
    trustDomain: facts.trustDomain,
  };
}

/** A step's identity is its activity and its place, so that two runs of one plan name their steps alike. */
export function step(activity: string, place: string, title: string, action: StepAction): PlannedStep {
  return { id: `${activity}/${place}`, cluster: place.split(/[←→]/)[0] ?? place, title, action };
}

function memberSteps(member: MemberPlan): PlannedStep[] {
  return [
    ...member.objects.map((object) => object.step),
    member.editServerConf,
    member.rolloutServer,
    member.readBundle,
  ];
}

function edgeSteps(edge: EdgePlan): PlannedStep[] {
  return [edge.applyRelationship, edge.awaitBundle];
}

function probeSteps(clusters: readonly ClusterFacts[]): PlannedStep[] {
  return [
    ...clusters.map(({ cluster }) => step('deployProbe', cluster, `Deploy test workloads on ${cluster}`, 'create')),
    ...clusters.flatMap((from) =>
      clusters
        .filter((to) => to !== from)
        .map((to) =>
          step('probe', `${from.cluster}→${to.cluster}`, `Probe mTLS from ${from.cluster} to ${to.cluster}`, 'check'),
        ),
    ),
    ...clusters.map(({ cluster }) => step('removeProbe', cluster, `Remove test workloads from ${cluster}`, 'delete')),
  ];
}

function memberProblems(federation: string, clusters: readonly ClusterFacts[]): Problem[] {
  const problems: Problem[] = [];
  for (const [index, facts] of clusters.entries()) {
    const twin = clusters.slice(0, index).find((other) => other.trustDomain === facts.trustDomain);
    if (twin !== undefined) {
      problems.push({
        cluster: facts.cluster,
        type: 'InvalidInput',
        message:
          `${facts.cluster} and ${twin.cluster} have the same trust domain ${facts.trustDomain}: they cannot federate with each other. ` +
          `Two inventory entries may point to one cluster; otherwise one SPIRE server needs another trust_domain.`,
      });
    }
    if (facts.federation !== undefined && facts.federation !== federation) {
      problems.push({
        cluster: facts.cluster,
        type: 'Conflict',
        message: `${facts.cluster} is a member of federation ${facts.federation} already. Use --federation ${facts.federation}, or tear that one down first.`,
      });
    }
  }
  return problems;
}

function planMember(
  input: SetupInput,
  facts: ClusterFacts,
  clusters: readonly ClusterFacts[],
  problems: Problem[],
  leftAlone: string[],
): MemberPlan {
  const { cluster } = facts;
  const peers: Peer[] = clusters
    .filter((peer) => peer !== facts)
    .map((peer) => ({ trustDomain: peer.trustDomain, endpointUrl: peer.endpointUrl ?? UNASSIGNED_URL }));
  const wanted = wantedFederation(facts, peers, input);
  const differences = serverConfDifferences(facts.serverConf, wanted);
  const restart = differences.length > 0 || !facts.statefulSet.portDeclared;
  return {
    facts,
    objects: planObjects(input.federation, facts, problems, leftAlone),
    editServerConf: step(
      'editServerConf',
      cluster,
      `Edit server.conf in ConfigMap ${facts.server} on ${cluster}`,
      differences.length > 0 ? 'change' : 'none',
    ),
    rolloutServer: step(
      'rolloutServer',
      cluster,
      `Restart StatefulSet ${facts.server} on ${cluster} with port ${wanted.bundleEndpoint.port}`,
      // Written by the engine before: whether the server was restarted since can only be told by looking again.
      restart ? 'restart' : facts.serverConfRecorded ? 'check' : 'none',
    ),
    readBundle: step(
      'readBundle',
      cluster,
      `Compare the trust bundle of ${cluster} with what its endpoint serves`,
      'check',
    ),
  };
}

function planObjects(federation: string, facts: ClusterFacts, problems: Problem[], leftAlone: string[]): ObjectPlan[] {
  const context = exposureContext(facts);
  return exposureStrategy(facts.exposure.type)
    .objects(context)
    .map((manifest) => {
      const object = owned(manifest, federation);
      const name = `${object.kind} ${object.metadata.name}`;
      const before = facts.endpointObjects.find((each) => each.kind === object.kind);
      const plan = (action: StepAction): ObjectPlan => ({
        step: step(`apply${object.kind}`, facts.cluster, `Apply ${name} on ${facts.cluster}`, action),
        object,
        ...(before === undefined ? {} : { before: restorable(before) }),
      });
      if (before === undefined) return plan('create');
      if (owningFederation(before) !== undefined) return plan(covers(before, object) ? 'none' : 'change');
      if (covers(before['spec'], manifest['spec'])) {
        leftAlone.push(`${name} on ${facts.cluster}: somebody else's, and as it must be`);
      } else {
        problems.push({
          cluster: facts.cluster,
          type: 'ForeignObject',
          message: `${facts.cluster}: ${name} exists, was not made by spire-federator and differs from what the bundle endpoint needs. Delete or rename it, or expose the endpoint otherwise (exposure in the inventory).`,
        });
      }
      return plan('none');
    });
}

function planEdge(
  input: SetupInput,
  trusting: ClusterFacts,
  trusted: ClusterFacts,
  problems: Problem[],
  leftAlone: string[],
): EdgePlan {
  const place = edgeName(trusting.cluster, trusted.cluster);
  const wanted = wantedRelationship(trusting, trusted, trusted.endpointUrl ?? UNASSIGNED_URL, input.federation);
  const before = trusting.relationships.find((each) => each.trustDomain === trusted.trustDomain);
  const differences = before === undefined ? [] : relationshipDifferences(before, wanted);
  let action: StepAction = before === undefined ? 'create' : differences.length > 0 ? 'change' : 'none';
  if (before !== undefined && before.federation === undefined) {
    const name = `ClusterFederatedTrustDomain ${before.name}`;
    if (differences.length === 0) {
      leftAlone.push(`${name} on ${trusting.cluster}: somebody else's, and as it must be`);
    } else {
      problems.push({
        cluster: trusting.cluster,
        type: 'ForeignObject',
        message: `${trusting.cluster}: ${name} for ${trusted.trustDomain} was not made by spire-federator, and ${differences.join(', ')}. The oldest one wins in SPIRE controller manager: correct or delete it.`,
      });
      action = 'none';
    }
  }
  const named = trusting.relationships.find(
    (each) => each.name === wanted.name && each.trustDomain !== wanted.trustDomain,
  );
  if (named !== undefined) {
    problems.push({
      cluster: trusting.cluster,
      type: 'ForeignObject',
      message: `${trusting.cluster}: ClusterFederatedTrustDomain ${named.name} exists for another trust domain, ${named.trustDomain}. Rename or delete it.`,
    });
  }
  return {
    trusting,
    trusted,
    applyRelationship: step(
      'applyRelationship',
      place,
      `Apply ClusterFederatedTrustDomain ${wanted.name} on ${trusting.cluster}`,
      action,
    ),
    awaitBundle: step(
      'awaitBundle',
      place,
      `Refresh and compare the bundle of ${trusted.cluster} on ${trusting.cluster}`,
      'check',
    ),
    ...(before === undefined ? {} : { before }),
  };
}
