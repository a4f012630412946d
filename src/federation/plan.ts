import type { PlannedStep, SetupInput, StepAction } from '../contract/change.js';
import type { RelationshipKind } from '../contract/control.js';
import type { ClusterFacts, Problem, RelationshipFacts } from '../contract/facts.js';
import { findingId } from '../contract/health.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { BUNDLE_ENDPOINT_OBJECT, edgeName } from '../contract/names.js';
import type { Policy } from '../contract/policy.js';
import { isAsMade, isUnlabelled } from './asMade.js';
import { controlStrategy } from './control.js';
import { exposureStrategy, keepingWays, type ExposureContext } from './exposure.js';
import type { AbsentMember } from './mending.js';
import { orphanedTrust } from './orphanedTrust.js';
import { covers, owned, owningFederation, restorable } from './ownership.js';
import { planPolicies, type PolicyPlan } from './policyPlan.js';
import { policiesOf } from './policy.js';
import { probeExposure } from './probe.js';
import { ownRelationship, relationshipStanding, wantedRelationship, type Standing } from './relationship.js';
import { asPeer, endpointPort, serverConfDifferences, wantedFederation } from './serverConfPlan.js';
import { relationshipKind, trusts } from './settings.js';
import { step } from './step.js';
import { planEnding, type EndingPlan } from './unwantedEdges.js';
import { isOlder } from './version.js';
import { profileProblems } from './webProfile.js';

/** What a mesh is planned from; `policies` absent: those that the members have. */
export type SetupOptions = Pick<
  SetupInput,
  'federation' | 'relationships' | 'refreshHintSeconds' | 'hub' | 'policies' | 'probe'
> & {
  /** Members that cannot be asked: nothing is done about their edges, and nobody forgets them. */
  absent?: readonly AbsentMember[];
};

/** An object of the bundle endpoint, and what has to be done about it. */
export interface ObjectPlan {
  step: PlannedStep;
  object: KubernetesObject;
  /** The object as it is now; undefined when there is none. */
  before?: KubernetesObject;
}

export interface MemberPlan {
  facts: ClusterFacts;
  /** Not a member yet: nobody relies on its SPIRE server's federation. */
  newcomer: boolean;
  /** Its endpoint serves already as it is to: whoever comes to trust it need not wait until its server has restarted. */
  serving: boolean;
  /** Those it trusts and those that trust it. */
  peers: ClusterFacts[];
  objects: ObjectPlan[];
  /** What exposes the endpoint in another way than the inventory says now; given up when all know the new address. */
  obsolete: ObsoletePlan[];
  configureServer: PlannedStep;
  rolloutServer: PlannedStep;
  readBundle: PlannedStep;
  /** Edges from this member on which something has to be done or looked at. */
  edges: EdgePlan[];
  applyRelationships: PlannedStep;
  awaitBundles: PlannedStep;
  policies: PolicyPlan;
  /** Edges of another topology, which end once no policy needs them. */
  ending: EndingPlan;
  /** Of dynamic relationships, where there is time to prove: the first refresh that SPIRE makes by itself. */
  awaitRefreshes: PlannedStep;
}

/** An object that goes, or a Service that is reached in fewer ways when the change is through. */
export interface ObsoletePlan {
  step: PlannedStep;
  before: KubernetesObject;
  /** Absent: it goes. */
  after?: KubernetesObject;
}

/** A directed edge: `trusting` comes to hold the bundle of `trusted`. */
export interface EdgePlan {
  trusting: ClusterFacts;
  trusted: ClusterFacts;
  action: StepAction;
  details: string[];
  /** The relationship as it is now; undefined when there is none. */
  before?: RelationshipFacts;
}

export interface SetupPlan {
  members: MemberPlan[];
  /** Those that the federation is to have. */
  policies: Policy[];
  probe: ProbePlan;
  verify: PlannedStep;
  problems: Problem[];
  /** What stays as it is: objects of others that fit, and trust in what is of no member. */
  leftAlone: string[];
  /** Whether anything at all has to be created, changed or restarted. */
  changes: boolean;
}

export interface ProbePlan {
  clusters: ClusterFacts[];
  /** Names of clusters: whose test workload dials whose. */
  pairs: { from: string; to: string }[];
  steps: PlannedStep[];
}

/** Marks an endpoint URL that the cluster has yet to assign. */
export const UNASSIGNED_URL = 'https://(assigned when exposed)';

/** The oldest SPIRE that knows bundle_endpoint.refresh_hint; one before it does not start with it (spire: CHANGELOG.md, #4400). */
export const OLDEST_SPIRE_VERSION = '1.8.0';

/**
 * Decides what a federation of these clusters takes: what exists, what must be done, what stands in the way and what is
 * left alone. Pure: the same facts give the same plan.
 */
export function planSetup(options: SetupOptions, clusters: readonly ClusterFacts[]): SetupPlan {
  const problems = [...memberProblems(options.federation, clusters), ...profileProblems(options.hub, clusters)];
  const leftAlone = trustLeftAlone(options, clusters);
  const policies = options.policies ?? policiesOf(options.federation, clusters);
  const planning: Planning = { options, policies, clusters, problems, leftAlone };
  const members = clusters.map((facts) => planMember(planning, facts));
  const changes = members.flatMap(memberSteps).some(({ action }) => action !== 'none' && action !== 'check');
  return {
    members,
    policies,
    probe: planProbe(options, members),
    verify: step('verify', 'all', `Verify federation ${options.federation}`, 'check'),
    problems,
    leftAlone,
    changes,
  };
}

/** Relationships that no setup ends: their trust domain may be that of a cluster which cannot be seen from here. */
function trustLeftAlone({ federation, hub, absent }: SetupOptions, clusters: readonly ClusterFacts[]): string[] {
  return orphanedTrust(federation, clusters, absent)
    .filter(
      ({ member, name }) =>
        // One of an edge that is wanted may have got another trust domain: it is put right.
        !clusters
          .filter((peer) => trusts(hub, member.cluster, peer.cluster))
          .some((peer) => ownRelationship(member, peer, federation)?.name === name),
    )
    .map(({ member: { cluster }, evidence, remedy }) => `${evidence}, on ${cluster}. ${remedy}`);
}

/** Every step of a plan, in the order in which they are taken. */
export function planSteps({ members, verify, probe }: SetupPlan): PlannedStep[] {
  return [
    ...members.flatMap((member) => member.objects.map((object) => object.step)),
    ...members.map((member) => member.configureServer),
    ...members.map((member) => member.rolloutServer),
    ...members.map((member) => member.readBundle),
    ...members.map((member) => member.applyRelationships),
    ...members.map((member) => member.awaitBundles),
    ...members.flatMap((member) => [member.policies.apply, member.policies.await]),
    ...members.map((member) => member.ending.step).filter(({ action }) => action !== 'none'),
    ...members.flatMap((member) => member.obsolete.map((object) => object.step)),
    verify,
    ...members.map((member) => member.awaitRefreshes).filter(({ action }) => action !== 'none'),
    ...probe.steps,
  ];
}

/** What the exposure strategies need to know of a cluster. */
export function exposureContext(
  facts: Pick<ClusterFacts, 'namespace' | 'selector' | 'serverConf' | 'recordedEndpoint' | 'exposure' | 'trustDomain'>,
): ExposureContext {
  return {
    namespace: facts.namespace,
    serviceName: BUNDLE_ENDPOINT_OBJECT,
    routeName: BUNDLE_ENDPOINT_OBJECT,
    selector: facts.selector,
    targetPort: endpointPort(facts),
    exposure: facts.exposure,
    trustDomain: facts.trustDomain,
  };
}

function memberSteps(member: MemberPlan): PlannedStep[] {
  return [
    ...member.objects.map((object) => object.step),
    member.configureServer,
    member.rolloutServer,
    member.readBundle,
    member.applyRelationships,
    member.awaitBundles,
    member.policies.apply,
    member.policies.await,
    member.ending.step,
    ...member.obsolete.map((object) => object.step),
  ];
}

/** mTLS where an edge is new; where none is and yet something changed, everywhere. */
function planProbe({ probe, hub }: SetupOptions, members: readonly MemberPlan[]): ProbePlan {
  const names = members.map(({ facts }) => facts.cluster);
  const reachable = reachableByProbes(members.map(({ facts }) => facts));
  const touched = members.some(({ objects, configureServer, rolloutServer }) =>
    [...objects.map((object) => object.step), configureServer, rolloutServer].some(
      ({ action }) => action !== 'none' && action !== 'check',
    ),
  );
  const open = new Set(
    members.flatMap(({ edges }) => edges.map((edge) => `${edge.trusting.cluster} ${edge.trusted.cluster}`)),
  );
  const pairs = names.flatMap((from) =>
    reachable
      .filter((to) => trusts(hub, from, to))
      .filter((to) => (open.size === 0 ? touched : open.has(`${from} ${to}`) || open.has(`${to} ${from}`)))
      .map((to) => ({ from, to })),
  );
  return probe
    ? probePlan(
        members.map(({ facts }) => facts),
        pairs,
      )
    : probePlan([], []);
}

/** Test workloads on all members, and mTLS between all that trust each other. */
export function planProbeMatrix(hub: string | undefined, members: readonly ClusterFacts[]): ProbePlan {
  const reachable = reachableByProbes(members);
  const pairs = members.flatMap(({ cluster: from }) =>
    reachable.filter((to) => trusts(hub, from, to)).map((to) => ({ from, to })),
  );
  return probePlan(members, pairs);
}

/** Where only one given address leads to a cluster, it leads to the bundle endpoint and not to a test workload. */
function reachableByProbes(members: readonly ClusterFacts[]): string[] {
  return members.filter(({ exposure }) => probeExposure(exposure) !== undefined).map(({ cluster }) => cluster);
}

function probePlan(members: readonly ClusterFacts[], pairs: ProbePlan['pairs']): ProbePlan {
  const clusters = members.filter(({ cluster }) => pairs.some(({ from, to }) => from === cluster || to === cluster));
  const steps = [
    ...clusters.map(({ cluster }) => step('deployProbe', cluster, `Deploy test workloads on ${cluster}`, 'create')),
    ...pairs.map(({ from, to }) => step('probe', `${from}→${to}`, `Probe mTLS from ${from} to ${to}`, 'check')),
    ...clusters.map(({ cluster }) => step('removeProbe', cluster, `Remove test workloads from ${cluster}`, 'delete')),
  ];
  return { clusters, pairs, steps };
}

/** What is decided upon for every member alike. */
interface Planning {
  options: SetupOptions;
  policies: readonly Policy[];
  clusters: readonly ClusterFacts[];
  problems: Problem[];
  leftAlone: string[];
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
        withoutOthers: `${facts.cluster} is a member of another federation already.`,
      });
    }
    if (isOlder(facts.spireVersion, OLDEST_SPIRE_VERSION)) {
      problems.push({
        cluster: facts.cluster,
        type: 'InvalidInput',
        message: `${facts.cluster} runs SPIRE ${facts.spireVersion}; ${OLDEST_SPIRE_VERSION} is the oldest that the engine can work with. Upgrade it first.`,
      });
    }
  }
  return problems;
}

function planMember(planning: Planning, facts: ClusterFacts): MemberPlan {
  const { options, clusters, problems, leftAlone } = planning;
  const { cluster } = facts;
  const peers = clusters.filter((peer) => trusts(options.hub, cluster, peer.cluster));
  const known = [...peers, ...(options.absent ?? []).filter((peer) => trusts(options.hub, cluster, peer.cluster))];
  const wanted = wantedFederation(
    facts,
    known.map((peer) => asPeer(facts, peer, peer.endpointUrl ?? UNASSIGNED_URL)),
    options,
  );
  const control = controlStrategy(facts);
  const relationships = relationshipKind(facts, options.relationships);
  const server = control.plan(facts, wanted);
  const newcomer = facts.federation !== options.federation;
  const objects = planObjects(options.federation, facts, problems, leftAlone);
  const exposed = facts.endpointUrl !== undefined && objects.every(({ step: { action } }) => action === 'none');
  const endpoint = { ...wanted, federatesWith: {} };
  problems.push(...server.problems.map((message) => ({ cluster, type: 'InvalidInput' as const, message })));
  const edges = peers.map((trusted) => planEdge(planning, facts, trusted));
  const open = edges.filter((edge) => edge.action !== 'none' || !isSettled(edge, relationships));
  const written = open.filter(({ action }) => action !== 'none');
  return {
    facts,
    newcomer,
    serving: !newcomer && exposed && serverConfDifferences(facts.serverConf, endpoint, []).length === 0,
    peers,
    objects,
    obsolete: planObsolete(options.federation, facts),
    configureServer: step(control.step, cluster, server.title, server.differences.length > 0 ? 'change' : 'none', [
      ...server.differences,
      ...server.explained,
    ]),
    rolloutServer: server.restart
      ? step('rolloutServer', cluster, server.rollout, 'restart')
      : step(
          'rolloutServer',
          cluster,
          `See that ${facts.server} on ${cluster} runs with its server.conf`,
          // Written by the engine before: where the server may not have been restarted since, it is looked at again.
          server.differences.length > 0 || (facts.serverConfRecorded && facts.statefulSet.rolledOut !== true)
            ? 'check'
            : 'none',
        ),
    readBundle: step(
      'readBundle',
      cluster,
      `Compare the trust bundle of ${cluster} with what its endpoint serves`,
      'check',
    ),
    edges: open,
    applyRelationships: step(
      'applyRelationships',
      cluster,
      `Apply ClusterFederatedTrustDomain ${enumerate((written.length > 0 ? written : edges).map((edge) => edge.trusted.trustDomain))} on ${cluster}`,
      written.length === 0 ? 'none' : written.some(({ action }) => action === 'change') ? 'change' : 'create',
      written.flatMap(({ details }) => details),
    ),
    awaitBundles: step(
      'awaitBundles',
      cluster,
      `${relationships === 'static' ? 'Refresh and compare' : 'Compare'} the bundles of ${enumerate((open.length > 0 ? open : edges).map((edge) => edge.trusted.cluster))} on ${cluster}`,
      open.length === 0 ? 'none' : 'check',
    ),
    policies: planPolicies(planning, facts, known),
    ending: planEnding(options, clusters, facts, leftAlone),
    awaitRefreshes: step(
      'awaitRefreshes',
      cluster,
      `See SPIRE server of ${cluster} refresh the bundles of ${enumerate(open.map((edge) => edge.trusted.cluster))} by itself`,
      options.probe && relationships === 'dynamic' && open.length > 0 ? 'check' : 'none',
    ),
  };
}

/** A list for a title: few by name, many by number. */
function enumerate(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names.slice(0, 2).join(', ')} and ${names.length - 2} more`;
}

/** Whether an edge works already, as far as stored keys and configuration tell. */
function isSettled({ trusting, trusted }: EdgePlan, relationships: RelationshipKind): boolean {
  const stored = trusting.storedBundles[trusted.trustDomain];
  const configured =
    relationships === 'dynamic' || trusting.serverConf.federatesWith[trusted.trustDomain] !== undefined;
  return configured && stored?.keyIds.join() === trusted.bundle.keyIds.join();
}

function planObjects(federation: string, facts: ClusterFacts, problems: Problem[], leftAlone: string[]): ObjectPlan[] {
  const context = exposureContext(facts);
  return exposureStrategy(facts.exposure.type)
    .objects(context)
    .map((manifest) => {
      const before = facts.endpointObjects.find((each) => each.kind === manifest.kind);
      const object = owned(before === undefined ? manifest : keepingWays(before, manifest), federation);
      const name = `${object.kind} ${object.metadata.name}`;
      const plan = (action: StepAction): ObjectPlan => ({
        step: step(`apply${object.kind}`, facts.cluster, `Apply ${name} on ${facts.cluster}`, action),
        object,
        ...(before === undefined ? {} : { before: restorable(before) }),
      });
      if (before === undefined) return plan('create');
      if (owningFederation(before) === federation) return plan(isAsMade(before, object) ? 'none' : 'change');
      if (isUnlabelled(before, object, federation)) return plan('change');
      if (covers(before['spec'], manifest['spec'])) {
        leftAlone.push(`${name} on ${facts.cluster}: somebody else's, and as it must be`);
      } else {
        problems.push({
          cluster: facts.cluster,
          type: 'ForeignObject',
          message: `${facts.cluster}: ${name} exists, was not made by spire-federator and differs from what the bundle endpoint needs. Delete or rename it, or expose the endpoint otherwise (exposure in the inventory).`,
          about: findingId({ check: object.kind.toLowerCase(), scope: facts.cluster }),
        });
      }
      return plan('none');
    });
}

function planObsolete(federation: string, facts: ClusterFacts): ObsoletePlan[] {
  const { cluster, exposure, endpointObjects } = facts;
  const wanted = exposureStrategy(exposure.type).objects(exposureContext(facts));
  return endpointObjects
    .filter((object) => owningFederation(object) === federation)
    .flatMap((object): ObsoletePlan[] => {
      const before = restorable(object);
      const name = `${object.kind} ${object.metadata.name}`;
      const manifest = wanted.find(({ kind }) => kind === object.kind);
      if (manifest === undefined) {
        const title = `Delete ${name} on ${cluster}, which the exposure ${exposure.type} does without`;
        return [{ step: step(`delete${object.kind}`, cluster, title, 'delete'), before }];
      }
      if (keepingWays(object, manifest) === manifest) return [];
      const title = `Give up the ways to ${name} on ${cluster} which the exposure ${exposure.type} does without`;
      return [
        { step: step(`narrow${object.kind}`, cluster, title, 'change'), before, after: owned(manifest, federation) },
      ];
    });
}

/** How a cluster stands to a peer whose address may not be known yet: somebody else's relationship is not held against it. */
function standingOf(
  trusting: ClusterFacts,
  trusted: ClusterFacts,
  wanted: RelationshipFacts,
  federation: string,
): Standing {
  const standing = relationshipStanding(trusting, trusted, wanted, federation);
  if (standing.state !== 'foreign' || trusted.endpointUrl !== undefined) return standing;
  const { bundleEndpointURL } = standing.relationship;
  const otherwise = relationshipStanding(trusting, trusted, { ...wanted, bundleEndpointURL }, federation);
  if (otherwise.state !== 'right') return otherwise;
  return {
    state: 'foreign',
    relationship: standing.relationship,
    why: `its bundleEndpointURL cannot be compared before the bundle endpoint of ${trusted.cluster} is exposed`,
    remedy: 'Delete it: spire-federator makes its own.',
  };
}

function planEdge(
  { options: { federation, hub }, clusters, problems, leftAlone }: Planning,
  trusting: ClusterFacts,
  trusted: ClusterFacts,
): EdgePlan {
  const hubDomain = clusters.find(({ cluster }) => cluster === hub)?.trustDomain;
  const wanted = wantedRelationship(trusting, trusted, trusted.endpointUrl ?? UNASSIGNED_URL, {
    federation,
    hub: hubDomain,
  });
  const standing = standingOf(trusting, trusted, wanted, federation);
  if (standing.state === 'missing') {
    const details = [`trust domain ${trusted.trustDomain}, bundle endpoint ${wanted.bundleEndpointURL}`];
    return { trusting, trusted, action: 'create', details };
  }
  const { relationship: before } = standing;
  if (standing.state === 'wrong') {
    const details = standing.differences.map((difference) => `${before.name}: ${difference}`);
    return { trusting, trusted, action: 'change', details, before };
  }
  const name = `ClusterFederatedTrustDomain ${before.name}`;
  if (standing.state === 'foreign') {
    const { cluster } = trusting;
    problems.push({
      cluster,
      type: 'ForeignObject',
      message: `${cluster}: ${name} for ${before.trustDomain} was not made by spire-federator, and ${standing.why}. ${standing.remedy}`,
      about: findingId({ check: 'relationship', scope: edgeName(cluster, trusted.cluster) }),
    });
  } else if (before.federation !== federation) {
    leftAlone.push(`${name} on ${trusting.cluster}: somebody else's, and as it must be`);
  }
  return { trusting, trusted, action: 'none', details: [], before };
}
