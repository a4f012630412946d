import type { DiagnosedCheck } from '../contract/diagnosis.js';
import { findingId, type EdgeCause, type Finding } from '../contract/health.js';
import type { Check } from '../contract/verify.js';

/** What takes a cluster out of everybody's sight. */
const AWAY = ['cluster', 'server-down', 'server-crash-loop'];
/** What keeps a cluster's bundle endpoint from being reached. */
const UNREACHABLE = ['service', 'route', 'ingress', 'port', 'server-conf', ...AWAY];
/** What may have somebody else present his certificate at an endpoint. */
const MISLEADING = ['service', 'route', 'ingress', 'server-conf'];
/** What keeps an edge's bundle from being fetched. */
const UNFETCHED = [
  'relationship',
  'endpointUnreachable',
  'unknownAuthority',
  'wrongProfile',
  'webCertificate',
  'certificateTime',
  'pollerStalled',
];

/** What a peer finds wrong with the certificate of an endpoint. */
const REFUSED = ['webCertificate', 'certificateTime'];

/** Checks that may explain another one, by where they are: of the same scope, or of a side of its edge. */
interface Explanation {
  same?: readonly string[];
  trusting?: readonly string[];
  trusted?: readonly string[];
}

const EXPLANATIONS: Readonly<Record<string, Explanation>> = {
  cluster: { same: ['server-down', 'server-crash-loop'] },
  edge: { trusting: AWAY, trusted: AWAY },
  endpoint: { same: UNREACHABLE },
  endpointUnreachable: { trusted: ['endpoint', ...UNREACHABLE] },
  certificateTime: { trusting: ['clock'], trusted: ['clock', ...MISLEADING] },
  webCertificate: { trusted: MISLEADING },
  wrongProfile: { same: ['relationship'], trusting: ['server-conf'], trusted: ['endpoint', ...UNREACHABLE] },
  pollerStalled: { same: ['refresh-hint', 'relationship'], trusting: ['server-conf'] },
  'stored-bundle': { same: UNFETCHED, trusting: ['server-conf'], trusted: ['endpoint', ...UNREACHABLE] },
};

/** Everything of a member that is gone is gone for one reason. */
const REMOVED = 'member-removed';

/**
 * Says of everything that is wrong what else explains it, so that who reads it begins with the cause. A bad check is
 * explained by another one, never by itself; what nothing explains is a cause. Pure.
 */
export function withCauses(checks: readonly Check[]): DiagnosedCheck[] {
  const wrong = checks.filter(({ verdict }) => verdict !== 'ok');
  return checks.map((check) => {
    if (check.verdict === 'ok') return check;
    const cause = wrong.find((each) => each !== check && explains(each, check));
    return cause === undefined ? check : { ...check, because: findingId({ check: cause.name, scope: cause.scope }) };
  });
}

function explains(cause: Check, check: Check): boolean {
  const [trusting = '', trusted] = check.scope.split('←');
  if (cause.name === REMOVED) return check.name !== REMOVED && (cause.scope === trusting || cause.scope === trusted);
  if (check.name === 'identity') return explainsIdentity(cause, check);
  if (check.name === 'endpoint' && explainsEndpoint(cause, check)) return true;
  const explanation = EXPLANATIONS[check.name];
  if (explanation === undefined) return false;
  const has = (names: readonly string[] | undefined) => names?.includes(cause.name) === true;
  return (
    (cause.scope === check.scope && has(explanation.same)) ||
    (trusted !== undefined && cause.scope === trusting && has(explanation.trusting)) ||
    (cause.scope === trusted && has(explanation.trusted))
  );
}

/** A certificate that a peer refuses, and the engine as well; which of its faults it is, only the peer's words tell. */
function explainsEndpoint({ name, scope }: Check, endpoint: Check): boolean {
  return (
    REFUSED.includes(name) &&
    scope.endsWith(`←${endpoint.scope}`) &&
    endpoint.evidence.includes('presents a certificate')
  );
}

/**
 * Whether something else that is wrong is the reason why a ClusterSPIFFEID is: it differs from its policy, or names a trust
 * domain whose bundle is missing.
 */
function explainsIdentity(cause: Check, { scope, about, evidence }: Check): boolean {
  if (cause.name === 'policy') return cause.scope === scope && cause.about === about && cause.foreign !== true;
  return (
    cause.name === 'stored-bundle' && cause.scope.startsWith(`${scope}←`) && evidence.includes('no bundle is stored')
  );
}

/** Whether all that is wrong with a ClusterSPIFFEID is explained by what else failed, so that it is over with that. */
export function isIdentityExplained(identity: Check, failed: readonly Check[]): boolean {
  if (failed.some((cause) => cause.name === 'policy' && explainsIdentity(cause, identity))) return true;
  const [, missing] = /; no bundle is stored for (.*)$/.exec(identity.evidence) ?? [];
  const isMissing = (trustDomain: string) =>
    failed.some(
      ({ name, scope, evidence }) =>
        name === 'stored-bundle' &&
        scope.startsWith(`${identity.scope}←`) &&
        evidence.startsWith(`no bundle of ${trustDomain} is stored`),
    );
  return missing !== undefined && missing.split(', ').every(isMissing);
}

/** Settings of a SPIRE server: without them it neither polls others nor serves its bundle. */
const SETTINGS = ['server-conf', 'spire-server', 'rendering'];
/** What of a cluster explains edges on either side of it. */
const OF_EITHER_SIDE: ReadonlySet<string> = new Set([...AWAY, REMOVED, ...SETTINGS]);
/** What of a cluster explains only that others do not reach its bundle endpoint. */
const OF_THE_ENDPOINT: ReadonlySet<string> = new Set([
  'service',
  'route',
  'ingress',
  'port',
  'managed-route',
  'endpoint',
]);
/** Mended by what the peer's own Kubernetes API tells: its endpoint has no part in it. */
const WITHOUT_ENDPOINT: ReadonlySet<EdgeCause | undefined> = new Set(['neverBootstrapped', 'unknownAuthority']);

/** Whether findings of this check can be the reason for others. */
export function isExplaining(check: string): boolean {
  return check === 'relationship' || OF_EITHER_SIDE.has(check) || OF_THE_ENDPOINT.has(check);
}

/**
 * Whether a finding on a cluster or an edge is the reason why this edge is not fresh. What it is taken for the reason of
 * is not mended before it: it must be what the mending needs, too.
 */
export function explainsEdge(
  { check, scope }: Pick<Finding, 'check' | 'scope'>,
  edge: string,
  cause: EdgeCause | undefined,
): boolean {
  const [trusting, trusted] = edge.split('←');
  if (check === 'relationship') return scope === edge;
  if (scope !== trusting && scope !== trusted) return false;
  // Clocks explain nothing but when certificates are valid.
  if (check === 'clock') return cause === 'certificateTime';
  if (OF_EITHER_SIDE.has(check)) return true;
  return OF_THE_ENDPOINT.has(check) && scope === trusted && !WITHOUT_ENDPOINT.has(cause);
}
