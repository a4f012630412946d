import type { RemovedRelationship } from '../contract/activities.js';
import type { PlannedStep, StepAction } from '../contract/change.js';
import type { ClusterFacts, Problem } from '../contract/facts.js';
import type { WantedFederation } from '../contract/serverConf.js';
import { controlStrategy } from './control.js';
import { planPolicies, type PolicyPlan } from './policyPlan.js';
import { policiesOf } from './policy.js';
import { asPeer, configuredEntry, wantedFederation, type Peer } from './serverConfPlan.js';
import { federationSettings, hubDomain, relationshipKind, trusts } from './settings.js';
import { step } from './step.js';
import {
  memberSteps as teardownSteps,
  notOurs,
  planTeardown,
  removal,
  unfinishedRemovals,
  type TeardownMember,
} from './teardown.js';

/** What a member that stays has to forget. */
export interface RemainingMember {
  facts: ClusterFacts;
  policies: PolicyPlan;
  awaitPolicies: PlannedStep;
  removeRelationships: PlannedStep;
  relationships: RemovedRelationship[];
  configureServer: PlannedStep;
  rolloutServer: PlannedStep;
  wanted: WantedFederation;
}

export interface RemovalPlan {
  /** Trust domains that the others come to distrust. */
  withdrawn: string[];
  remaining: RemainingMember[];
  /** Those that stop being members: the leaving one, and one that would stay alone. */
  leaving: TeardownMember[];
  problems: Problem[];
  leftAlone: string[];
  /** What cannot be put back on those that leave, a sentence each. */
  stays: string[];
  changes: boolean;
}

/**
 * Decides what it takes to remove clusters from a federation. Pure.
 * @param members facts of all members that can be read
 * @param leaving names of those to remove; without facts, their trust domain is the one that no member has
 * @param joining whether others come in afterwards, so that a federation goes on even if one member alone stays
 * @param trustDomains of those without facts, where these are known
 */
export function planRemoval(
  federation: string,
  members: readonly ClusterFacts[],
  leaving: readonly string[],
  joining = false,
  trustDomains: readonly string[] = [],
): RemovalPlan {
  const problems: Problem[] = [];
  const leftAlone: string[] = [];
  const { hub, relationships, refreshHintSeconds } = federationSettings(federation, members);
  const staying = members.filter(({ cluster }) => !leaving.includes(cluster));
  const gone = members.filter(({ cluster }) => leaving.includes(cluster));
  const withdrawn = withdrawnDomains(federation, members, staying, gone, leaving, trustDomains, problems);
  problems.push(...hubProblems(federation, members, leaving, withdrawn));
  const alone = staying.length === 1 && !joining;
  const remaining = alone
    ? []
    : staying.map((facts): RemainingMember => {
        const { cluster } = facts;
        const peers = staying.filter((peer) => trusts(hub, cluster, peer.cluster));
        const known = peers.map((peer) => knownPeer(facts, peer));
        if (relationshipKind(facts, relationships) === 'static') {
          const unknown = peers.filter((_peer, index) => (known[index]?.endpointUrl ?? '') === '');
          problems.push(...unknown.map((peer) => withoutAddress(federation, facts, peer)));
        }
        const wanted = wantedFederation(withEndpointAsIs(facts), known, { relationships, refreshHintSeconds });
        const control = controlStrategy(facts);
        const { differences, restart: restarts, problems: refusals } = control.plan(facts, wanted);
        problems.push(...refusals.map((message) => ({ cluster, type: 'InvalidInput' as const, message })));
        const changed = differences.length > 0;
        const restart: StepAction = !changed ? 'none' : restarts ? 'restart' : 'check';
        const policies = planPolicies(
          { options: { federation }, policies: policiesOf(federation, members), problems, leftAlone },
          facts,
          peers,
        );
        // What the policies of the others put right will name the trust domain no more.
        const written = policies.objects.map(({ object }) => object.metadata.name);
        const lasting = { ...facts, identities: facts.identities.filter(({ name }) => !written.includes(name)) };
        const related = facts.relationships.filter((each) => withdrawn.includes(each.trustDomain));
        const ended = related
          .filter((each) => each.federation === federation)
          .map((each) => removal(federation, lasting, each, leftAlone));
        leftAlone.push(...related.filter((each) => each.federation !== federation).map((each) => notOurs(facts, each)));
        ended.push(
          ...unfinishedRemovals(federation, lasting, leftAlone).filter((each) => withdrawn.includes(each.trustDomain)),
        );
        return {
          facts,
          policies: { ...policies, apply: ofRemoval(policies.apply) },
          awaitPolicies: forget(
            'awaitPolicies',
            cluster,
            `Wait until no entry on ${cluster} federates with ${withdrawn.join(', ')}`,
            policies.objects.length > 0 ? 'check' : 'none',
          ),
          relationships: ended,
          removeRelationships: forget(
            'removeRelationships',
            cluster,
            `Remove the relationship with ${withdrawn.join(', ')} and its bundle on ${cluster}`,
            ended.length > 0 ? 'delete' : 'none',
          ),
          configureServer: forget(
            control.step,
            cluster,
            `Take ${withdrawn.join(', ')} out of ${control.place(facts)} on ${cluster}`,
            changed ? 'change' : 'none',
            differences,
          ),
          rolloutServer: forget('rolloutServer', cluster, `Restart StatefulSet ${facts.server} on ${cluster}`, restart),
          wanted,
        };
      });
  const torn = planTeardown(federation, alone ? [...staying, ...gone] : gone);
  leftAlone.push(...torn.leftAlone);
  const plan = { withdrawn, remaining, leaving: torn.members, problems, leftAlone, stays: torn.stays };
  return { ...plan, changes: removalSteps(plan).some(({ action }) => action !== 'none' && action !== 'check') };
}

/**
 * A peer as the member knows it already. An inventory that says otherwise by now, or an address that the peer has lost, is
 * for setupMesh to follow, which has all others know of it as well.
 */
function knownPeer(facts: ClusterFacts, peer: ClusterFacts): Peer {
  const { trustDomain } = peer;
  const entry = configuredEntry(facts, trustDomain);
  if (entry === undefined || entry.bundleEndpointUrl === '') return asPeer(facts, peer, peer.endpointUrl ?? '');
  return { trustDomain, endpointUrl: entry.bundleEndpointUrl, profile: entry.profile.type };
}

/** How the own endpoint authenticates itself stays for the same reason. */
function withEndpointAsIs(facts: ClusterFacts): ClusterFacts {
  const { wanted: _wanted, ...profile } = facts.profile;
  return { ...facts, profile };
}

/** SPIRE server does not start with an empty bundle_endpoint_url. */
function withoutAddress(federation: string, { cluster }: ClusterFacts, peer: ClusterFacts): Problem {
  return {
    cluster,
    type: 'InvalidInput',
    message: `${cluster}: federates_with has no address of ${peer.cluster} (${peer.trustDomain}), and ${peer.cluster} has none now: its bundle endpoint is not exposed as the inventory says. Run setupMesh first, it exposes it: npm run start-workflow setupMesh -- --federation ${federation}`,
  };
}

/** A setup may follow with steps of the same activities on the same clusters. */
function ofRemoval(planned: PlannedStep): PlannedStep {
  return { ...planned, id: `${planned.id}/removal` };
}

function forget(...parameters: Parameters<typeof step>): PlannedStep {
  return ofRemoval(step(...parameters));
}

/** The members that stay as they will be when a removal is done: what comes next is planned from these. */
export function afterRemoval({ remaining, withdrawn }: RemovalPlan, federation: string): ClusterFacts[] {
  return remaining.map(({ facts, policies, wanted }) => ({
    ...controlStrategy(facts).written(facts, wanted),
    relationships: facts.relationships.filter(
      (each) => each.federation !== federation || !withdrawn.includes(each.trustDomain),
    ),
    recordedPeers: facts.recordedPeers.filter((trustDomain) => !withdrawn.includes(trustDomain)),
    serverConf: {
      ...facts.serverConf,
      federatesWith: Object.fromEntries(
        Object.entries(facts.serverConf.federatesWith).filter(
          ([trustDomain]) => trustDomain in wanted.federatesWith || !withdrawn.includes(trustDomain),
        ),
      ),
    },
    identities: facts.identities.map((identity) => {
      const object = policies.objects.find((each) => each.object.metadata.name === identity.name)?.object;
      return object === undefined ? identity : { ...identity, object };
    }),
  }));
}

/** Every step of a removal, in the order in which they are taken. */
export function removalSteps({ remaining, leaving }: Pick<RemovalPlan, 'remaining' | 'leaving'>): PlannedStep[] {
  return [
    ...remaining.flatMap(({ policies, awaitPolicies }) => [policies.apply, awaitPolicies]),
    ...remaining.map(({ removeRelationships }) => removeRelationships),
    ...remaining.flatMap(({ configureServer, rolloutServer }) => [configureServer, rolloutServer]),
    ...leaving.flatMap(teardownSteps),
  ];
}

/** A hub that cannot be read leaves its trust domain with the others: one that belongs to none of them. */
function hubProblems(
  federation: string,
  members: readonly ClusterFacts[],
  leaving: readonly string[],
  withdrawn: readonly string[],
): Problem[] {
  const domain = hubDomain(federation, members);
  const hub = members.find(({ trustDomain }) => trustDomain === domain)?.cluster;
  if (domain === undefined || (hub !== undefined && !withdrawn.includes(domain))) return [];
  const name = hub ?? leaving.filter((each) => !members.some(({ cluster }) => cluster === each)).join(', ');
  // Bare, a teardown asks every member.
  const on = hub === undefined ? ` --clusters ${members.map(({ cluster }) => cluster).join(',')}` : '';
  const end = `npm run start-workflow teardown -- --federation ${federation}${on}`;
  const another = members.find(({ cluster }) => cluster !== hub && !leaving.includes(cluster))?.cluster;
  const remedy =
    hub === undefined || another === undefined
      ? `End the federation: ${end}`
      : `Give it another hub first, or none, with ${hub} still in it: npm run start-workflow setupMesh -- --federation ${federation} --topology hub --hub ${another} (or --topology mesh), or apply a file that says so and still lists ${hub}. Then ${hub} can go. To end the federation instead: ${end}`;
  return [
    {
      cluster: name,
      type: 'InvalidInput',
      message: `${name} is the hub of federation ${federation}: without it no two members trust each other. ${remedy}`,
    },
  ];
}

function withdrawnDomains(
  federation: string,
  members: readonly ClusterFacts[],
  staying: readonly ClusterFacts[],
  gone: readonly ClusterFacts[],
  leaving: readonly string[],
  trustDomains: readonly string[],
  problems: Problem[],
): string[] {
  const unread = leaving.filter((name) => !gone.some(({ cluster }) => cluster === name));
  if (unread.length === 0) return gone.map(({ trustDomain }) => trustDomain);
  const known = new Set(members.map(({ trustDomain }) => trustDomain));
  const orphans = new Set(
    staying
      .flatMap(({ relationships }) => relationships)
      .filter((relationship) => relationship.federation === federation && !known.has(relationship.trustDomain))
      .map(({ trustDomain }) => trustDomain),
  );
  // A removal that was stopped may have ended the relationships already.
  const left = staying.flatMap(({ pendingBundles = [] }) => pendingBundles).filter((each) => !known.has(each));
  if (trustDomains.length > 0) {
    problems.push(...namedProblems(federation, unread, { orphans, left }, members, trustDomains));
    return [...gone.map(({ trustDomain }) => trustDomain), ...trustDomains];
  }
  if (orphans.size < unread.length) for (const trustDomain of left) orphans.add(trustDomain);
  // Which of several unreachable clusters has which trust domain cannot be told.
  if (orphans.size > unread.length) {
    problems.push({
      cluster: unread.join(', '),
      type: 'InvalidInput',
      message: `Which trust domain ${unread.join(', ')} has cannot be told: the members trust ${[...orphans].join(', ')}, and none of these could be asked. Restore the connection to the others first; if they are gone for good, too, remove them all at once: npm run start-workflow removeCluster -- --federation ${federation} --unreachable --trust-domain ${[...orphans].join(',')}`,
    });
  }
  return [...gone.map(({ trustDomain }) => trustDomain), ...orphans];
}

/** Trust domains that were named must be all that are of no member: what is of one that is only away would be lost. */
function namedProblems(
  federation: string,
  unread: readonly string[],
  { orphans, left }: { orphans: ReadonlySet<string>; left: readonly string[] },
  members: readonly ClusterFacts[],
  named: readonly string[],
): Problem[] {
  const cluster = unread.join(', ');
  const all = [...orphans].join(', ') || 'none';
  return [
    ...named
      .filter((trustDomain) => !orphans.has(trustDomain) && !left.includes(trustDomain))
      .map((trustDomain) => {
        const member = members.find((each) => each.trustDomain === trustDomain)?.cluster;
        return member === undefined
          ? `No member of federation ${federation} trusts ${trustDomain}. Trusted, and of no member that can be asked: ${all}.`
          : `${trustDomain} is that of ${member}, which can be asked. Remove it by its name: --cluster ${member}`;
      }),
    ...[...orphans]
      .filter((trustDomain) => !named.includes(trustDomain))
      .map(
        (trustDomain) =>
          `The members also trust ${trustDomain}, whose cluster could not be asked. Restore the connection to it first; if it is gone for good, name it as well: --trust-domain ${[...orphans].join(',')}`,
      ),
  ].map((message) => ({ cluster, type: 'InvalidInput' as const, message }));
}
