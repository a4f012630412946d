import type { AdoptRequest } from '../contract/activities.js';
import type { FederationFile, PlannedStep } from '../contract/change.js';
import type { ClusterFacts, IdentityFacts, Problem } from '../contract/facts.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { DEFAULT_REFRESH_HINT_SECONDS, HUB, POLICY } from '../contract/names.js';
import type { Policy } from '../contract/policy.js';
import { durationSeconds } from '../contract/serverConf.js';
import type { Check } from '../contract/verify.js';
import type { ControlFacts, Relationships } from '../contract/control.js';
import { adoptedPolicies, policyOf } from './adoptedPolicies.js';
import { controlStrategy } from './control.js';
import { owned, owningFederation } from './ownership.js';
import { exposureContext, planSetup, planSteps } from './plan.js';
import { CLUSTER_SPIFFE_ID, policiesOf } from './policy.js';
import { CFTD } from './relationship.js';
import { exposureStrategy } from './exposure.js';
import { asPeer, wantedFederation } from './serverConfPlan.js';
import { adoptedSpireServer } from './spireServerPlan.js';
import { relationshipsOf, trusts } from './settings.js';
import { step } from './step.js';

/** What taking one member under management takes. */
export interface AdoptionMember {
  step: PlannedStep;
  request: AdoptRequest;
}

export interface AdoptionPlan {
  members: AdoptionMember[];
  /** What is odd or missing in the federation as it was found. */
  findings: Check[];
  /** Steps of a setup that would mend it. */
  mending: PlannedStep[];
  file: FederationFile;
  problems: Problem[];
}

/**
 * Decides how a federation that was made by hand or by scripts is taken under management without changing it: which
 * objects of it are marked as the engine's, what is odd about it, and what would mend that. Pure.
 */
export function planAdoption(federation: string, clusters: readonly ClusterFacts[]): AdoptionPlan {
  const isMember = (facts: ClusterFacts) =>
    clusters.some((peer) => peer !== facts && (trustsAlready(facts, peer) || trustsAlready(peer, facts)));
  const found = clusters.filter(isMember);
  const relationships = relationshipsOf(
    found.map((facts) => ({ ...facts, recordedPeers: Object.keys(facts.serverConf.federatesWith) })),
    found,
  );
  const hints = found.flatMap(({ serverConf }) => durationSeconds(serverConf.bundleEndpoint?.refreshHint) ?? []);
  const refreshHintSeconds = hints[0] ?? DEFAULT_REFRESH_HINT_SECONDS;
  const hub = hubOf(found);
  const settings = { relationships, refreshHintSeconds, ...(hub === undefined ? {} : { hub: hub.cluster }) } as const;
  const peersOf = (facts: ClusterFacts) => found.filter((peer) => trusts(hub?.cluster, facts.cluster, peer.cluster));
  const made = adoptedPolicies(
    federation,
    found.map((facts) => ({ facts, trusted: peersOf(facts) })),
  );
  const adopted = found.map((facts) => adoptedFacts(federation, facts, peersOf(facts), hub, made.policies));
  // Those that a setup will find.
  const policies = policiesOf(federation, adopted);
  const plan = planSetup({ federation, ...settings, policies, probe: false }, adopted);
  return {
    members: adopted.map((then, index) => {
      const facts = found[index] ?? then;
      return planMember(federation, facts, then, peersOf(facts), hub, settings);
    }),
    findings: [...found.flatMap((facts) => findings(facts, peersOf(facts), made.policies)), ...made.findings],
    mending: planSteps(plan).filter(({ action }) => action !== 'none' && action !== 'check'),
    file: {
      federation,
      clusters: found.map(({ cluster }) => cluster),
      topology: hub === undefined ? 'mesh' : 'hub',
      ...settings,
      policies,
    },
    problems: plan.problems,
  };
}

/** The cluster that all others trust and that trusts all others, where these do not trust each other at all. */
function hubOf(members: readonly ClusterFacts[]): ClusterFacts | undefined {
  // Of two, both would be.
  if (members.length < 3) return undefined;
  return members.find((hub) =>
    members.every((trusting) =>
      members.every(
        (trusted) =>
          trusting === trusted ||
          trustsAlready(trusting, trusted) === trusts(hub.cluster, trusting.cluster, trusted.cluster),
      ),
    ),
  );
}

/** Whether one cluster trusts another by any of the ways in which people set it up. */
function trustsAlready(trusting: ClusterFacts, trusted: ClusterFacts): boolean {
  return (
    trusting.relationships.some(({ trustDomain }) => trustDomain === trusted.trustDomain) ||
    trusting.serverConf.federatesWith[trusted.trustDomain] !== undefined
  );
}

function planMember(
  federation: string,
  facts: ClusterFacts,
  adopted: ClusterFacts,
  peers: readonly ClusterFacts[],
  hub: ClusterFacts | undefined,
  settings: { relationships: Relationships; refreshHintSeconds: number },
): AdoptionMember {
  const { cluster } = facts;
  const domains = peers.map(({ trustDomain }) => trustDomain);
  const relationships = facts.relationships.filter(
    (each) => each.federation === undefined && domains.includes(each.trustDomain),
  );
  const policies = adopted.identities.filter(
    ({ name, policy }) => policy !== undefined && !facts.identities.some((was) => was.name === name && was.policy),
  );
  const objects: AdoptRequest['objects'] = [
    ...facts.endpointObjects
      .filter((object) => owningFederation(object) === undefined && exposes(facts, object))
      .map(({ apiVersion, kind, metadata: { name, namespace } }) => ({
        reference: { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } },
      })),
    ...relationships.map(({ name }) => ({
      reference: { ...CFTD, metadata: { name } },
      ...(hub === undefined ? {} : { annotations: { [HUB]: hub.trustDomain } }),
    })),
    ...policies.map(({ name, policy }) => ({
      reference: { ...CLUSTER_SPIFFE_ID, metadata: { name } },
      annotations: { [POLICY]: JSON.stringify(policy) },
    })),
  ];
  const recorded =
    facts.serverConfRecorded &&
    domains.every(
      (trustDomain) =>
        facts.serverConf.federatesWith[trustDomain] === undefined || facts.recordedPeers.includes(trustDomain),
    );
  const done = objects.length === 0 && recorded;
  return {
    step: step(
      'adoptObjects',
      cluster,
      `Mark what belongs to the federation on ${cluster} as managed`,
      done ? 'none' : 'change',
      [
        ...objects.map(({ reference: { kind, metadata } }) => `${kind} ${metadata.name}: labels`),
        ...(recorded ? [] : [controlStrategy(facts).adoption(facts)]),
      ],
    ),
    request: {
      cluster,
      control: facts.control.type,
      federation,
      objects,
      trustDomains: domains,
      wanted: wantedFederation(
        facts,
        peers.map((peer) => asPeer(facts, peer, peer.endpointUrl ?? '')),
        settings,
      ),
    },
  };
}

/** Whether the engine would make such an object; of an operator's it is the operator that does. */
function exposes(facts: ClusterFacts, { kind }: KubernetesObject): boolean {
  return exposureStrategy(facts.exposure.type)
    .objects(exposureContext(facts))
    .some((object) => object.kind === kind);
}

/** Facts of a member as they will be once its objects are marked. */
function adoptedFacts(
  federation: string,
  facts: ClusterFacts,
  peers: readonly ClusterFacts[],
  hub: ClusterFacts | undefined,
  policies: ReadonlyMap<string, Policy>,
): ClusterFacts {
  const domains = peers.map(({ trustDomain }) => trustDomain);
  const marks = { federation, ...(hub === undefined ? {} : { hub: hub.trustDomain }) };
  return {
    ...facts,
    federation,
    endpointObjects: facts.endpointObjects.map((object) =>
      exposes(facts, object) ? owned(object, federation) : object,
    ),
    relationships: facts.relationships.map((each) =>
      domains.includes(each.trustDomain) ? { ...each, ...marks } : each,
    ),
    control: adoptedControl(federation, facts.control, domains),
    serverConfRecorded: true,
    recordedPeers: domains.filter((trustDomain) => facts.serverConf.federatesWith[trustDomain] !== undefined),
    identities: facts.identities.map((identity) => adoptedIdentity(federation, facts, identity, peers, policies)),
  };
}

function adoptedControl(federation: string, control: ControlFacts, domains: readonly string[]): ControlFacts {
  if (control.type !== 'operator') return control;
  return { ...control, record: adoptedSpireServer(federation, control.federation, control.record, domains) };
}

/**
 * A ClusterSPIFFEID that federates with members is marked with the policy that it becomes. One with fields that no policy
 * has, or that is another than its namesakes, stays somebody else's: nothing could be made of its policy later.
 */
function adoptedIdentity(
  federation: string,
  facts: ClusterFacts,
  identity: IdentityFacts,
  trusted: readonly ClusterFacts[],
  policies: ReadonlyMap<string, Policy>,
): IdentityFacts {
  const policy = adoptedPolicy(facts, identity, trusted, policies);
  if (policy === undefined || identity.object === undefined) return identity;
  const object = owned(identity.object, federation);
  const annotations = { ...object.metadata.annotations, [POLICY]: JSON.stringify(policy) };
  return { ...identity, federation, policy, object: { ...object, metadata: { ...object.metadata, annotations } } };
}

/** The policy that somebody else's ClusterSPIFFEID becomes; undefined where it stays somebody else's. */
function adoptedPolicy(
  facts: ClusterFacts,
  identity: IdentityFacts,
  trusted: readonly ClusterFacts[],
  policies: ReadonlyMap<string, Policy>,
): Policy | undefined {
  return policyOf(facts, identity, trusted)?.success === true ? policies.get(identity.name) : undefined;
}

/** The fields of a ClusterSPIFFEID of which no policy can be made; none where one can. */
function unreadableFields(facts: ClusterFacts, identity: IdentityFacts, trusted: readonly ClusterFacts[]): string[] {
  const issues = policyOf(facts, identity, trusted)?.error?.issues ?? [];
  return issues.flatMap((issue) => {
    const unknown = issue.code === 'unrecognized_keys' ? issue.keys : [undefined];
    return unknown.map((key) => [...issue.path, ...(key === undefined ? [] : [key])].join('.'));
  });
}

/** What is odd about one member, of what scripts and people get wrong. */
function findings(facts: ClusterFacts, peers: readonly ClusterFacts[], policies: ReadonlyMap<string, Policy>): Check[] {
  const { cluster, className, trustDomain, serverConf } = facts;
  const finding = (name: string, evidence: string, remedy: string): Check => ({
    name,
    scope: cluster,
    verdict: 'warning',
    evidence,
    remedy,
  });
  const mend = 'setupMesh (or apply) mends it.';
  const mendIdentity = (identity: IdentityFacts) =>
    (identity.policy ?? adoptedPolicy(facts, identity, peers, policies)) === undefined
      ? 'Mend it by hand: it becomes no policy.'
      : mend;
  return [
    ...peers
      .filter((peer) => !trustsAlready(facts, peer))
      .map((peer) =>
        finding(
          'missing-edge',
          `${cluster} does not trust ${peer.cluster} (${peer.trustDomain})${trustsAlready(peer, facts) ? `, which trusts it` : ''}: mTLS between them fails`,
          mend,
        ),
      ),
    ...Object.keys(serverConf.federatesWith)
      .filter((key) => key.includes('/'))
      .map((key) =>
        finding(
          'federates-with-key',
          `federates_with has the key ${key}, a URL: SPIRE takes it for a trust domain and ignores the peer`,
          `Replace the key by the trust domain. ${mend} The wrong entry stays until you delete it.`,
        ),
      ),
    ...[
      ...facts.relationships
        .filter((each) => peers.some((peer) => peer.trustDomain === each.trustDomain))
        .map((each) => ({ ...each, kind: CFTD.kind, remedy: mend })),
      ...facts.identities
        .filter((each) => each.federatesWith.length > 0)
        .map((each) => ({ ...each, kind: CLUSTER_SPIFFE_ID.kind, remedy: mendIdentity(each) })),
    ]
      .filter((each) => each.className !== className)
      .map((each) =>
        finding(
          'class-name',
          `${each.kind} ${each.name} has className ${each.className ?? 'none'} instead of ${className}: SPIRE controller manager ignores it`,
          each.remedy,
        ),
      ),
    ...facts.identities
      .filter((identity) => identity.federatesWith.includes(trustDomain))
      .map((identity) =>
        finding(
          'own-trust-domain',
          `ClusterSPIFFEID ${identity.name} federates with the cluster's own trust domain: agents stop delivering SVIDs`,
          mendIdentity(identity),
        ),
      ),
    ...facts.identities.flatMap((identity) =>
      identity.federatesWith
        .filter((each) => each !== trustDomain && facts.storedBundles[each] === undefined)
        .map((each) =>
          finding(
            'unknown-trust-domain',
            `ClusterSPIFFEID ${identity.name} federates with ${each}, whose bundle is not stored: SPIRE refuses its entries whole`,
            `Take ${each} out of its federatesWith, or federate with it. ${mendIdentity(identity)}`,
          ),
        ),
    ),
    ...facts.identities
      .map((identity) => ({ identity, fields: unreadableFields(facts, identity, peers) }))
      .filter(({ fields }) => fields.length > 0)
      .map(({ identity, fields }) =>
        finding(
          'policy-fields',
          `ClusterSPIFFEID ${identity.name} cannot become a policy, which has no such ${fields.join(', ')}: it stays as it is, and nobody keeps its federatesWith right`,
          `Take ${fields.join(', ')} out of it and adopt again, or keep its federatesWith right by hand.`,
        ),
      ),
    ...peers
      .filter((peer) => trustsAlready(facts, peer) && facts.storedBundles[peer.trustDomain] === undefined)
      .map((peer) => finding('stored-bundle', `${cluster} trusts ${peer.cluster}, but its bundle is not stored`, mend)),
  ];
}
