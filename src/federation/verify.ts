import type { Observation } from '../contract/activities.js';
import type { FederatorErrorType } from '../contract/errors.js';
import type { ClusterFacts, Problem } from '../contract/facts.js';
import { edgeName } from '../contract/names.js';
import type { Policy } from '../contract/policy.js';
import type { Check } from '../contract/verify.js';
import { isAsMade, isUnlabelled } from './asMade.js';
import { checker } from './check.js';
import { controlStrategy } from './control.js';
import { admissionProblem, exposureStrategy, managedRouteProblem } from './exposure.js';
import { orphanedTrust } from './orphanedTrust.js';
import { covers, owningFederation } from './ownership.js';
import { exposureContext } from './plan.js';
import { maskedBy, policiesOf } from './policy.js';
import { planPolicies } from './policyPlan.js';
import { LOST_LABELS, relationshipStanding, wantedRelationship } from './relationship.js';
import { asPeer, configuredEntry } from './serverConfPlan.js';
import { hubAmong, trusts, type ToldTopology } from './settings.js';

/** What was found out about one member; without facts it could not be looked at. */
export interface MemberObservation {
  cluster: string;
  /** As it is known where it could not be looked at. */
  trustDomain?: string;
  facts?: ClusterFacts;
  observation?: Observation;
  problems: Problem[];
}

/** The federation, and the trust domain of its hub. */
interface Of {
  federation: string;
  hub: string | undefined;
}

/**
 * Judges a federation from one reading of each member. Pure.
 * @param policies those that it is known to have, also where no member has them any more
 * @param told by its monitor
 */
export function verifyFederation(
  federation: string,
  members: readonly MemberObservation[],
  policies: readonly Policy[] = [],
  told: ToldTopology = {},
): Check[] {
  const hub = hubAmong(federation, members, told);
  const hubDomain = members.find(({ cluster }) => cluster === hub)?.facts?.trustDomain;
  const of = { federation, hub: hubDomain };
  // Where it may be any of several that could not be looked at, it is one of these.
  const isRelated = (a: MemberObservation, b: MemberObservation) =>
    hub === '' ? a !== b && b.facts === undefined : trusts(hub, a.cluster, b.cluster);
  const related = (a: MemberObservation) => members.filter((b) => isRelated(a, b));
  return [
    ...members.flatMap((member) => clusterChecks(member, related(member), { federation, hub, policies })),
    ...members.flatMap((trusting) => related(trusting).flatMap((trusted) => edgeChecks(of, trusting, trusted))),
  ];
}

/** Why a cluster could not be looked at, which says nothing of it; and what to do. */
const UNSEEN: Partial<Record<FederatorErrorType, string>> = {
  ClusterUnreachable: 'Restore the connection to its API server.',
  KubernetesUnavailable: 'Restore the connection to its API server.',
  NoWorker: 'Start a worker that serves its region.',
};

function clusterChecks(
  { cluster, facts, observation, problems }: MemberObservation,
  peers: readonly MemberObservation[],
  wanted: PolicyContext,
): Check[] {
  const { federation } = wanted;
  const check = checker(cluster);
  if (facts === undefined) {
    return problems.map(({ type, message }) => {
      const remedy = UNSEEN[type];
      return remedy === undefined
        ? check('cluster', 'failed', message, 'As said.')
        : check('cluster', 'unknown', message, remedy);
    });
  }
  const context = exposureContext(facts);
  const objects = exposureStrategy(facts.exposure.type)
    .objects(context)
    .map((wanted) => {
      const live = facts.endpointObjects.find((each) => each.kind === wanted.kind);
      const name = wanted.kind.toLowerCase();
      const remedy = 'Run setupMesh again: it puts it back.';
      if (live === undefined) return check(name, 'failed', `${wanted.kind} ${wanted.metadata.name} is missing`, remedy);
      if (owningFederation(live) !== federation) {
        if (isUnlabelled(live, wanted, federation))
          return check(name, 'failed', `${wanted.kind} ${wanted.metadata.name} ${LOST_LABELS}`, remedy);
        if (!covers(live['spec'], wanted['spec'])) {
          const evidence = `${wanted.kind} ${wanted.metadata.name}, which somebody else made, is not as it must be`;
          return { ...check(name, 'failed', evidence, 'Correct, delete or rename it.'), foreign: true as const };
        }
      } else if (!isAsMade(live, wanted)) {
        return check(name, 'failed', `${wanted.kind} ${wanted.metadata.name} was changed`, remedy);
      }
      const problem = admissionProblem(live);
      return problem === undefined
        ? check(name, 'ok', `${wanted.kind} ${wanted.metadata.name} is as it must be`)
        : check(
            name,
            'warning',
            problem,
            'See to the controller that should serve it; whether it works is told by the check endpoint.',
          );
    });
  return [
    check(
      'cluster',
      'ok',
      `SPIRE ${facts.spireVersion}, trust domain ${facts.trustDomain}, control ${facts.control.type} (${facts.control.told})`,
    ),
    ...objects,
    ...(facts.exposure.type === 'managedRoute' ? [managedRouteCheck(facts)] : []),
    ...serverChecks(facts, peers),
    ...(observation === undefined ? [] : [endpointCheck(facts, observation)]),
    ...facts.identities
      .filter((identity) => identity.federatesWith.length > 0 || identity.policy !== undefined)
      .map((identity) => identityCheck(facts, identity)),
    ...policyDrift(facts, peers, wanted),
  ];
}

function endpointCheck({ cluster, endpointUrl }: ClusterFacts, { endpointProblem }: Observation): Check {
  const check = checker(cluster);
  return endpointProblem === undefined
    ? check('endpoint', 'ok', `${endpointUrl} serves the server's own keys, authenticated`)
    : check(
        'endpoint',
        'failed',
        endpointProblem,
        'Check Route, Service and port above, then the network to that address.',
      );
}

/** What the ClusterSPIFFEIDs of a member are judged by. */
interface PolicyContext {
  federation: string;
  hub: string | undefined;
  /** Those that the federation is known to have. */
  policies: readonly Policy[];
}

/** Policies of the federation whose ClusterSPIFFEID is not as the policy says. */
function policyDrift(
  facts: ClusterFacts,
  members: readonly MemberObservation[],
  { federation, hub, policies: known }: PolicyContext,
): Check[] {
  const read = members.flatMap((member) => member.facts ?? []);
  const policies = policiesOf(federation, [facts, ...read], known);
  const trusted = members.flatMap(({ cluster, facts: peer, trustDomain = peer?.trustDomain }) =>
    trustDomain === undefined ? [] : [{ cluster, trustDomain }],
  );
  const planning = { options: { federation }, policies, problems: [], leftAlone: [] };
  const { objects, foreign } = planPolicies(planning, facts, trusted);
  if (hub === '' || trusted.length < members.length) {
    // Which trust domains are wanted is not known, so that only what is not there at all can be told, and not be mended.
    return objects
      .filter(({ before }) => before === undefined)
      .map(({ object: { metadata } }) =>
        checker(facts.cluster, metadata.name)(
          'policy',
          'warning',
          `ClusterSPIFFEID ${metadata.name} is missing`,
          'It is put back once all members can be read.',
        ),
      );
  }
  return [
    ...objects.map(({ object, before }) =>
      checker(facts.cluster, object.metadata.name)(
        'policy',
        'failed',
        `ClusterSPIFFEID ${object.metadata.name} ${before === undefined ? 'is missing' : 'is not what its policy says'}`,
        'Run setupMesh again: it puts it back.',
      ),
    ),
    ...foreign.map(({ name, message }) => ({
      ...checker(facts.cluster, name)(
        'policy',
        'failed',
        message,
        'Do one of these; until then the engine leaves that object alone, and the policy has no effect there.',
      ),
      foreign: true as const,
    })),
  ];
}

/** The operator puts its Route right by itself; where it does not, something is wrong with the operator. */
function managedRouteCheck({ cluster, trustDomain, endpointObjects }: ClusterFacts): Check {
  const check = checker(cluster);
  const problem = managedRouteProblem(trustDomain, endpointObjects);
  return problem === undefined
    ? check('managed-route', 'ok', "the operator's Route spire-server-federation is as it must be")
    : check(
        'managed-route',
        'failed',
        problem,
        "Look at the conditions of SpireServer cluster and at the operator's log.",
      );
}

function serverChecks(facts: ClusterFacts, members: readonly MemberObservation[]): Check[] {
  const peers = members
    .flatMap((member) => member.facts ?? [])
    // A peer that is not exposed just now is that peer's fault.
    .map((peer) =>
      asPeer(facts, peer, peer.endpointUrl ?? configuredEntry(facts, peer.trustDomain)?.bundleEndpointUrl ?? ''),
    );
  return controlStrategy(facts).checks(
    facts,
    peers,
    members.every((member) => member.facts !== undefined),
  );
}

function identityCheck(facts: ClusterFacts, identity: ClusterFacts['identities'][number]): Check {
  const { name, className, federatesWith, stats } = identity;
  const check = checker(facts.cluster, name);
  const said = `ClusterSPIFFEID ${name}: ${stats['podsSelected'] ?? 0} pods, ${stats['entriesToSet'] ?? 0} entries, ${stats['entriesMasked'] ?? 0} masked, ${stats['entryFailures'] ?? 0} failed`;
  if (className !== facts.className) {
    return check(
      'identity',
      'warning',
      `${said}; className is ${className ?? 'missing'}`,
      `Set className ${facts.className}, or SPIRE controller manager ignores it.`,
    );
  }
  if (federatesWith.includes(facts.trustDomain)) {
    return check(
      'identity',
      'failed',
      `${said}; federatesWith names the cluster's own trust domain`,
      `Remove ${facts.trustDomain} from its federatesWith: agents stop receiving SVIDs.`,
    );
  }
  const missing = federatesWith.filter((trustDomain) => facts.storedBundles[trustDomain] === undefined);
  if (missing.length > 0) {
    return check(
      'identity',
      'failed',
      `${said}; no bundle is stored for ${missing.join(', ')}`,
      'Remove these from its federatesWith until the bundle is stored: SPIRE refuses the whole entry.',
    );
  }
  if ((stats['entryFailures'] ?? 0) + (stats['podEntryRenderFailures'] ?? 0) > 0) {
    return check(
      'identity',
      'failed',
      said,
      'Read the log of SPIRE controller manager for the entries it could not make.',
    );
  }
  if ((stats['entriesMasked'] ?? 0) > 0) {
    const older = maskedBy(identity, facts.identities);
    const by =
      older.length === 0 ? 'an older ClusterSPIFFEID' : `ClusterSPIFFEID ${older.join(' or ')}, which is older`;
    return check(
      'identity',
      'warning',
      `${said}; masked by ${by}`,
      `The oldest wins for a pod, and its federatesWith counts: delete or change it, or delete and re-create it after ${name}.`,
    );
  }
  return check('identity', 'ok', (stats['podsSelected'] ?? 0) === 0 ? `${said}: it selects nothing now` : said);
}

/** Trust of members in what is no member, as checks. @param members all of them */
export function orphanChecks(federation: string, members: readonly ClusterFacts[]): Check[] {
  return orphanedTrust(federation, members).map(({ member: { cluster }, name, evidence, remedy }) =>
    checker(cluster, name)('relationship', 'failed', evidence, remedy),
  );
}

function edgeChecks(of: Of, trusting: MemberObservation, trusted: MemberObservation): Check[] {
  const edge = edgeName(trusting.cluster, trusted.cluster);
  const check = checker(edge);
  if (trusting.facts === undefined || trusted.facts === undefined) {
    const missing = trusting.facts === undefined ? trusting : trusted;
    return [check('edge', 'unknown', `${missing.cluster} could not be read`, `See the checks of ${missing.cluster}.`)];
  }
  return [
    relationshipCheck(of, trusting.facts, trusted.facts),
    bundleCheck(trusting.facts, trusted.facts),
    ...(trusting.observation === undefined
      ? []
      : [entriesCheck(edge, trusting.observation, trusted.facts.trustDomain)]),
  ];
}

function entriesCheck(scope: string, { federatedEntries }: Observation, trustDomain: string): Check {
  const count = federatedEntries[trustDomain] ?? 0;
  return checker(scope)('entries', 'ok', `${count} registration entries federate with ${trustDomain}`);
}

function relationshipCheck(of: Of, trusting: ClusterFacts, trusted: ClusterFacts): Check {
  const check = checker(edgeName(trusting.cluster, trusted.cluster));
  const remedy = 'Run setupMesh again: it puts the ClusterFederatedTrustDomain right.';
  const known = trusting.relationships.find(({ trustDomain }) => trustDomain === trusted.trustDomain);
  const url = trusted.endpointUrl ?? known?.bundleEndpointURL ?? '';
  const wanted = wantedRelationship(trusting, trusted, url, of);
  const standing = relationshipStanding(trusting, trusted, wanted, of.federation);
  if (standing.state === 'missing') {
    return check(
      'relationship',
      'failed',
      `there is no ClusterFederatedTrustDomain for ${trusted.trustDomain}`,
      remedy,
    );
  }
  const { name, className } = standing.relationship;
  const described = `ClusterFederatedTrustDomain ${name}`;
  if (standing.state === 'wrong')
    return check('relationship', 'failed', `${described}: ${standing.differences.join(', ')}`, remedy);
  if (standing.state === 'foreign') {
    const evidence = `${described}, which somebody else made: ${standing.why}`;
    return { ...check('relationship', 'failed', evidence, standing.remedy), foreign: true };
  }
  return standing.others > 0
    ? check(
        'relationship',
        'warning',
        `${standing.others + 1} ClusterFederatedTrustDomains name ${trusted.trustDomain}`,
        'Delete all but one: the oldest wins, the others do nothing.',
      )
    : check('relationship', 'ok', `${described} with class ${className}`);
}

function bundleCheck(trusting: ClusterFacts, trusted: ClusterFacts): Check {
  const check = checker(edgeName(trusting.cluster, trusted.cluster));
  const stored = trusting.storedBundles[trusted.trustDomain];
  if (stored === undefined) {
    return check(
      'stored-bundle',
      'failed',
      `no bundle of ${trusted.trustDomain} is stored`,
      'Run setupMesh again: it exchanges the bundles anew.',
    );
  }
  const own = new Set(trusted.bundle.keyIds);
  const held = new Set(stored.keyIds);
  const missing = [...own].filter((id) => !held.has(id)).length;
  const extra = [...held].filter((id) => !own.has(id)).length;
  if (missing === 0 && extra === 0) {
    return check('stored-bundle', 'ok', `all ${own.size} keys of ${trusted.trustDomain}, ${stored.fingerprint}`);
  }
  const refresh = `./spire-server federation refresh -id spiffe://${trusted.trustDomain}`;
  return check(
    'stored-bundle',
    missing > 0 ? 'failed' : 'warning',
    `${missing} of the peer's ${own.size} keys are missing, ${extra} stored ones are not the peer's any more`,
    `Wait for one refresh interval, or run in pod ${trusting.server}-0 of ${trusting.cluster}: ${refresh}`,
  );
}
