import type { Observation } from '../contract/activities.js';
import type { ClusterFacts, Problem, RelationshipFacts } from '../contract/facts.js';
import { edgeName } from '../contract/names.js';
import type { Check, Verdict } from '../contract/verify.js';
import { exposureStrategy } from './exposure.js';
import { covers } from './ownership.js';
import { exposureContext } from './plan.js';
import { relationshipDifferences, wantedRelationship } from './relationship.js';
import { endpointPort, serverConfDifferences, wantedFederation } from './serverConfPlan.js';
import { durationSeconds } from '../contract/serverConf.js';

/** What was found out about one member; without facts it could not be looked at. */
export interface MemberObservation {
  cluster: string;
  facts?: ClusterFacts;
  observation?: Observation;
  problems: Problem[];
}

const ORDER: readonly Verdict[] = ['ok', 'unknown', 'warning', 'failed'];

/** The worst verdict; ok when there is nothing to look at. */
export function worstVerdict(checks: readonly Check[]): Verdict {
  return checks.reduce<Verdict>(
    (worst, { verdict }) => (ORDER.indexOf(verdict) > ORDER.indexOf(worst) ? verdict : worst),
    'ok',
  );
}

/** Judges a federation from one reading of each member. Pure. */
export function verifyFederation(federation: string, members: readonly MemberObservation[]): Check[] {
  return [
    ...members.flatMap((member) => clusterChecks(member, members)),
    ...members.flatMap((trusting) =>
      members.filter((trusted) => trusted !== trusting).flatMap((trusted) => edgeChecks(federation, trusting, trusted)),
    ),
  ];
}

function clusterChecks(
  { cluster, facts, observation, problems }: MemberObservation,
  members: readonly MemberObservation[],
): Check[] {
  const check = checker(cluster);
  if (facts === undefined) {
    return problems.map(({ type, message }) =>
      type === 'ClusterUnreachable' || type === 'KubernetesUnavailable'
        ? check('cluster', 'unknown', message, 'Restore the connection to its API server.')
        : check('cluster', 'failed', message, 'As said.'),
    );
  }
  const context = exposureContext(facts);
  const objects = exposureStrategy(facts.exposure.type)
    .objects(context)
    .map((wanted) => {
      const live = facts.endpointObjects.find((each) => each.kind === wanted.kind);
      const name = wanted.kind.toLowerCase();
      const remedy = 'Run setupPair again: it puts it back.';
      if (live === undefined) return check(name, 'failed', `${wanted.kind} ${wanted.metadata.name} is missing`, remedy);
      return covers(live['spec'], wanted['spec'])
        ? check(name, 'ok', `${wanted.kind} ${wanted.metadata.name} is as it must be`)
        : check(name, 'failed', `${wanted.kind} ${wanted.metadata.name} was changed`, remedy);
    });
  return [
    check('cluster', 'ok', `SPIRE ${facts.spireVersion}, trust domain ${facts.trustDomain}`),
    ...objects,
    facts.statefulSet.portDeclared
      ? check('port', 'ok', `port ${endpointPort(facts.serverConf)} is declared on StatefulSet ${facts.server}`)
      : check(
          'port',
          'failed',
          `port ${endpointPort(facts.serverConf)} is not declared on StatefulSet ${facts.server}`,
          'Run setupPair again: it declares it.',
        ),
    serverConfCheck(facts, members),
    ...(observation === undefined ? [] : [endpointCheck(facts, observation)]),
    ...facts.identities
      .filter((identity) => identity.federatesWith.length > 0)
      .map((identity) => identityCheck(facts, identity)),
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

function serverConfCheck(facts: ClusterFacts, members: readonly MemberObservation[]): Check {
  const check = checker(facts.cluster);
  const peers = members
    .map((member) => member.facts)
    .filter((peer) => peer !== undefined && peer.cluster !== facts.cluster)
    .map((peer) => ({ trustDomain: peer?.trustDomain ?? '', endpointUrl: peer?.endpointUrl ?? '' }));
  const isStatic =
    facts.recordedPeers.length > 0 ||
    peers.some(({ trustDomain }) => facts.serverConf.federatesWith[trustDomain] !== undefined);
  const hint = durationSeconds(facts.serverConf.bundleEndpoint?.refreshHint);
  const wanted = wantedFederation(facts, peers, {
    relationships: isStatic ? 'static' : 'dynamic',
    // Any hint will do, as long as there is one.
    refreshHintSeconds: hint ?? 0,
  });
  const differences = serverConfDifferences(facts.serverConf, wanted);
  return differences.length === 0
    ? check(
        'server-conf',
        'ok',
        `bundle_endpoint and ${isStatic ? 'federates_with' : 'dynamic relationships'}, refresh_hint ${hint} s`,
      )
    : check(
        'server-conf',
        'failed',
        differences.join('; '),
        'Run setupPair again: it mends server.conf and restarts the server.',
      );
}

function identityCheck(
  facts: ClusterFacts,
  { name, className, federatesWith, stats }: ClusterFacts['identities'][number],
): Check {
  const check = checker(facts.cluster);
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
  return check('identity', 'ok', said);
}

function edgeChecks(federation: string, trusting: MemberObservation, trusted: MemberObservation): Check[] {
  const edge = edgeName(trusting.cluster, trusted.cluster);
  const check = checker(edge);
  if (trusting.facts === undefined || trusted.facts === undefined) {
    const missing = trusting.facts === undefined ? trusting : trusted;
    return [check('edge', 'unknown', `${missing.cluster} could not be read`, `See the checks of ${missing.cluster}.`)];
  }
  return [
    relationshipCheck(federation, trusting.facts, trusted.facts),
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

function relationshipCheck(federation: string, trusting: ClusterFacts, trusted: ClusterFacts): Check {
  const check = checker(edgeName(trusting.cluster, trusted.cluster));
  const wanted = wantedRelationship(trusting, trusted, trusted.endpointUrl ?? '', federation);
  const candidates = trusting.relationships.filter((each) => each.trustDomain === trusted.trustDomain);
  const remedy = 'Run setupPair again: it puts the ClusterFederatedTrustDomain right.';
  const [first] = candidates;
  if (first === undefined) {
    return check(
      'relationship',
      'failed',
      `there is no ClusterFederatedTrustDomain for ${trusted.trustDomain}`,
      remedy,
    );
  }
  const differences = relationshipDifferences(first, wanted);
  if (differences.length > 0)
    return check('relationship', 'failed', `${describe(first)}: ${differences.join(', ')}`, remedy);
  if (candidates.length > 1) {
    return check(
      'relationship',
      'warning',
      `${candidates.length} ClusterFederatedTrustDomains name ${trusted.trustDomain}`,
      'Delete all but one: the oldest wins, the others do nothing.',
    );
  }
  return check('relationship', 'ok', `${describe(first)} with class ${first.className}`);
}

function describe({ name }: RelationshipFacts): string {
  return `ClusterFederatedTrustDomain ${name}`;
}

function bundleCheck(trusting: ClusterFacts, trusted: ClusterFacts): Check {
  const check = checker(edgeName(trusting.cluster, trusted.cluster));
  const stored = trusting.storedBundles[trusted.trustDomain];
  if (stored === undefined) {
    return check(
      'stored-bundle',
      'failed',
      `no bundle of ${trusted.trustDomain} is stored`,
      'Run setupPair again: it exchanges the bundles anew.',
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

function checker(scope: string) {
  return (name: string, verdict: Verdict, evidence: string, remedy?: string): Check => ({
    name,
    scope,
    verdict,
    evidence,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
