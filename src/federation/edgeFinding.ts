import type { EdgeCause, Finding, RepairAction, Stopped } from '../contract/health.js';
import type { ClusterState, EdgeJudgement, MonitorSettings } from '../contract/monitor.js';

/** What mends an edge, by the cause; a link that is down, and a server that is, take more than the edge. */
const ACTIONS: Readonly<Partial<Record<EdgeCause, RepairAction>>> = {
  neverBootstrapped: 'rebootstrap',
  unknownAuthority: 'rebootstrap',
  wrongProfile: 'restart',
  relationshipMissing: 'restore',
  pollerStalled: 'restart',
};

/** What peers find where an endpoint does not serve as its cluster is configured. */
export const UNSERVED: ReadonlySet<EdgeCause | undefined> = new Set(['endpointUnreachable', 'wrongProfile']);

/** What has to be done about an edge; undefined where it is fresh, may become so by itself, or cannot be judged. */
export function edgeFinding(
  { federation, repair }: Pick<MonitorSettings, 'federation' | 'repair'>,
  edge: string,
  { verdict, cause, evidence }: EdgeJudgement,
  stateOf: (cluster: string) => ClusterState | undefined,
): Finding | undefined {
  const [trusting = '', trusted = ''] = edge.split('←');
  if (verdict === 'stale') {
    return {
      check: 'stale',
      scope: edge,
      evidence,
      remedy: refreshRemedy(stateOf(trusted)?.trustDomain, trusting),
      action: 'rebootstrap',
    };
  }
  // A server that does not run is a finding of its own.
  if (verdict !== 'broken' || cause === undefined || cause === 'serverDown') return undefined;
  // That an endpoint serves nobody is a finding of its own.
  if (UNSERVED.has(cause) && stateOf(trusted)?.endpointProblem !== undefined) return undefined;
  const action = ACTIONS[cause];
  const needsApproval = cause === 'unknownAuthority' && repair.caChange === 'approval';
  return {
    check: cause,
    scope: edge,
    evidence,
    remedy: REMEDIES[cause](trusting, trusted, federation, stateOf(trusted)),
    ...(action === undefined ? {} : { action }),
    ...(needsApproval ? { needsApproval: 'the CA changed outside a rotation that this cluster saw' } : {}),
  };
}

/** A bundle endpoint that serves neither the engine nor its peers, though everything before it is as it must be. */
export function endpointFinding(cluster: string, evidence: string): Finding {
  return {
    check: 'endpoint',
    scope: cluster,
    evidence,
    remedy: `Restart SPIRE server on ${cluster}; if that does not help, look at what leads to it: router, firewall, network policy.`,
    action: 'restart',
  };
}

/** A cluster that answers and yet cannot be read, which takes a person: what the engine would mend it cannot see. */
export function unreadableFinding(cluster: string, evidence: string): Finding {
  return {
    check: 'cluster',
    scope: cluster,
    evidence,
    remedy: `Do what the evidence says; until then nobody knows whether ${cluster} and its peers trust each other.`,
  };
}

/** SPIRE server of a cluster does not run. */
export function serverFinding(
  cluster: string,
  problem: string,
  { crashLoop, stopped }: { crashLoop?: string | undefined; stopped?: Stopped | undefined },
): Finding {
  if (stopped !== undefined)
    return { check: 'server-down', scope: cluster, evidence: stopped.why, remedy: stopped.remedy };
  return {
    check: crashLoop === undefined ? 'server-down' : 'server-crash-loop',
    scope: cluster,
    evidence: crashLoop ?? problem,
    remedy:
      crashLoop === undefined
        ? `Look why it does not run: kubectl describe the pod of SPIRE server on ${cluster}, and its log.`
        : `Its configuration as it last ran well is put back, where the engine knows it; else read the log of the container before.`,
    ...(crashLoop === undefined ? {} : { action: 'restoreServerConf' as const }),
  };
}

function refreshRemedy(trustDomain: string | undefined, trusting: string): string {
  return `On ${trusting}, in SPIRE server's pod: ./spire-server federation refresh -id spiffe://${trustDomain ?? ''}`;
}

type Remedy = (trusting: string, trusted: string, federation: string, peer: ClusterState | undefined) => string;

const setUp = (federation: string) => `npm run start-workflow setupMesh -- --federation ${federation}`;

const REMEDIES: Readonly<Record<Exclude<EdgeCause, 'serverDown'>, Remedy>> = {
  neverBootstrapped: (_trusting, _trusted, federation) => `Exchange the bundles anew: ${setUp(federation)}`,
  unknownAuthority: (_trusting, trusted, federation) =>
    `If ${trusted} is meant to have a new CA, approve it, or: ${setUp(federation)}`,
  endpointUnreachable: (trusting, trusted, _federation, peer) =>
    peer?.endpointProblem === undefined
      ? `The engine reaches ${peer?.endpointUrl ?? `the bundle endpoint of ${trusted}`}, ${trusting} does not: look at the network from ${trusting} to ${trusted} (egress, DNS, proxy, firewall).`
      : `The bundle endpoint of ${trusted} does not answer anybody: ${peer.endpointProblem}`,
  wrongProfile: (trusting) =>
    `Restart SPIRE server on ${trusting}, which does not ask as it is configured: kubectl rollout restart statefulset spire-server`,
  webCertificate: (trusting, trusted) =>
    `Nothing that the engine could do: see to the certificate of the bundle endpoint of ${trusted}, and to the authorities in SPIRE server's container on ${trusting}.`,
  certificateTime: (trusting, trusted) =>
    `Set the clocks of ${trusting} and ${trusted} right; if they are, see in the log of SPIRE server on ${trusted} why it does not renew its certificate.`,
  relationshipMissing: (_trusting, _trusted, federation) => setUp(federation),
  pollerStalled: (trusting) => `Restart SPIRE server on ${trusting}: kubectl rollout restart statefulset spire-server`,
};
