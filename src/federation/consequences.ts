import type { DiagnosedCheck } from '../contract/diagnosis.js';
import { findingId } from '../contract/health.js';
import type { Check } from '../contract/verify.js';

/** What takes a cluster out of everybody's sight. */
const AWAY = ['cluster', 'server-down', 'server-crash-loop'];
/** What keeps a cluster's bundle endpoint from being reached. */
const UNREACHABLE = ['service', 'route', 'ingress', 'port', 'server-conf', ...AWAY];
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
  certificateTime: { trusting: ['clock'], trusted: ['clock'] },
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
  const explanation = EXPLANATIONS[check.name];
  if (explanation === undefined) return false;
  const has = (names: readonly string[] | undefined) => names?.includes(cause.name) === true;
  return (
    (cause.scope === check.scope && has(explanation.same)) ||
    (trusted !== undefined && cause.scope === trusting && has(explanation.trusting)) ||
    (cause.scope === trusted && has(explanation.trusted))
  );
}

/** One ClusterSPIFFEID that differs from its policy, or names a trust domain whose bundle is missing. */
function explainsIdentity(cause: Check, { scope, about, evidence }: Check): boolean {
  if (cause.name === 'policy') return cause.scope === scope && cause.about === about;
  return (
    cause.name === 'stored-bundle' && cause.scope.startsWith(`${scope}←`) && evidence.includes('no bundle is stored')
  );
}
