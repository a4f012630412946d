import type { DiagnosedCheck } from '../contract/diagnosis.js';
import type { ClusterFacts } from '../contract/facts.js';
import type { Finding, RepairAction } from '../contract/health.js';
import type { Policy } from '../contract/policy.js';
import type { Check } from '../contract/verify.js';
import { checker } from './check.js';
import { isIdentityExplained, withCauses } from './consequences.js';
import { lagLimitMs } from './freshness.js';
import { owningFederation } from './ownership.js';
import { readingChecks, type ReadingEvidence } from './readingChecks.js';
import { withHints } from './refreshHints.js';
import { hubAmong, trusts, type ToldTopology } from './settings.js';
import { verifyFederation, type MemberObservation } from './verify.js';

/** What mends a failed check, the least force that can. Checks that are not listed take a person. */
const ACTIONS: Readonly<Record<string, RepairAction>> = {
  service: 'restore',
  route: 'restore',
  ingress: 'restore',
  port: 'restart',
  'server-conf': 'restart',
  'spire-server': 'restart',
  relationship: 'restore',
  policy: 'restore',
  'stored-bundle': 'rebootstrap',
  unknownAuthority: 'rebootstrap',
  wrongProfile: 'restart',
  pollerStalled: 'restart',
  'refresh-hint': 'refresh',
  'server-crash-loop': 'restoreServerConf',
};
/** Warnings that the engine can do something about. */
const MENDABLE: ReadonlySet<string> = new Set(['refresh-hint']);
const MEMBER_REMOVED = 'member-removed';

/** How a federation was set up, by who watches over it; what is not said the members tell. */
export interface ToldSettings extends ToldTopology {
  refreshHintSeconds?: number | undefined;
}

/**
 * A thorough look at a federation: every check, and what has to be done about those that failed. Pure.
 * @param policies those that it is known to have, also where no member has them any more
 * @param told what its monitor was told
 */
export function diagnoseFederation(
  federation: string,
  members: readonly MemberObservation[],
  policies: readonly Policy[] = [],
  told: ToldSettings = {},
): { checks: Check[]; findings: Finding[] } {
  const verified = withHints(verifyFederation(federation, members, policies, told), members, told.refreshHintSeconds);
  const checks = [...verified, ...members.flatMap(keyChecks)];
  const gone = new Set(members.filter((member) => looksRemoved(federation, member)).map(({ cluster }) => cluster));
  const failed = checks.filter(({ verdict }) => verdict === 'failed');
  const findings = failed
    .filter(({ scope }) => !gone.has(scope))
    // It takes a person, and is over by itself once that is mended.
    .filter((check) => check.name !== 'identity' || !isIdentityExplained(check, failed))
    .map(toFinding);
  return {
    checks,
    findings: [
      ...findings.filter(({ scope }) => ![...gone].some((cluster) => scope.startsWith(`${cluster}←`))),
      ...[...gone].map((cluster): Finding => ({
        check: MEMBER_REMOVED,
        scope: cluster,
        evidence: `${cluster} has nothing of federation ${federation} any more: no relationship, no exposed endpoint, no federation settings`,
        remedy: `If it was meant, run: npm run start-workflow removeCluster -- --federation ${federation} --cluster ${cluster}. If not, approve that it is set up again.`,
        action: 'restore',
        needsApproval: 'it looks as if somebody removed the member on purpose',
      })),
    ],
  };
}

/**
 * The same with what SPIRE servers' logs, polls and CAs tell, and with the causes told from what follows from them: only
 * what is a cause has to be mended. Pure.
 */
export function diagnoseThoroughly(
  federation: string,
  members: readonly MemberObservation[],
  evidence: ReadingEvidence,
  told: ToldSettings = {},
): { checks: DiagnosedCheck[]; findings: Finding[] } {
  const { checks, findings } = diagnoseFederation(federation, members, [], told);
  const removed = findings.filter(({ check }) => check === MEMBER_REMOVED);
  const all = withCauses([
    ...checks.map((check) => withAge(check, members, evidence)),
    ...readingChecks(evidence, readEdges(federation, members, told)),
    ...removed.map(({ scope, evidence: seen, remedy }) => checker(scope)(MEMBER_REMOVED, 'failed', seen, remedy)),
  ]);
  const causes = all.filter(
    ({ name, verdict, because }) =>
      because === undefined &&
      name !== MEMBER_REMOVED &&
      (verdict === 'failed' || (verdict === 'warning' && MENDABLE.has(name))),
  );
  return { checks: all, findings: [...causes.map(toFinding), ...removed] };
}

function readEdges(federation: string, members: readonly MemberObservation[], told: ToldSettings) {
  const read = members.flatMap(({ facts }) => facts ?? []);
  const hub = hubAmong(federation, members, told);
  return read.flatMap((trusting) =>
    read.filter((trusted) => trusts(hub, trusting.cluster, trusted.cluster)).map((trusted) => ({ trusting, trusted })),
  );
}

/** A bundle that lacks keys is late only once a regular poll should have brought them. */
function withAge(
  check: Check,
  members: readonly MemberObservation[],
  { now, pollIntervalMs, readings }: ReadingEvidence,
): Check {
  if (check.name !== 'stored-bundle' || check.verdict !== 'failed') return check;
  const [trusting, trusted] = check.scope.split('←');
  const trustDomain = members.find(({ cluster }) => cluster === trusted)?.facts?.trustDomain ?? '';
  const server = readings.find(({ cluster }) => cluster === trusting)?.server;
  const lastPoll = server?.lastPolls?.[trustDomain];
  if (lastPoll === undefined || server?.stored?.[trustDomain] === undefined) return check;
  const age = now - lastPoll;
  const seen = `${check.evidence}; the newest poll that worked was ${Math.round(age / 1000)} s ago`;
  return age <= lagLimitMs(pollIntervalMs) && server.pollErrors[trustDomain] === undefined
    ? { ...check, verdict: 'warning', evidence: `${seen}, the next one will bring them` }
    : { ...check, evidence: seen };
}

/** Entries of federates_with that SPIRE ignores, because a URL is their key. */
function keyChecks({ cluster, facts }: MemberObservation): Check[] {
  const check = checker(cluster);
  return Object.keys(facts?.serverConf.federatesWith ?? {})
    .filter((key) => key.includes('/'))
    .map((key) =>
      check(
        'federates-with-key',
        'warning',
        `federates_with has the key ${key}, a URL: SPIRE takes it for a trust domain and ignores the peer`,
        'Replace the key by the trust domain, or delete the entry, and restart SPIRE server.',
      ),
    );
}

/**
 * One object that is gone is a fault; all of them gone at once is somebody's will. The notes that the engine keeps on
 * server.conf and the StatefulSet do not count: who clears up by hand does not know of them.
 */
function looksRemoved(federation: string, { facts }: MemberObservation): boolean {
  if (facts === undefined) return false;
  return (
    facts.endpointObjects.every((object) => owningFederation(object) !== federation) &&
    facts.relationships.every((each) => each.federation !== federation) &&
    !servesByConfiguration(facts)
  );
}

/** Whether the settings of the federation have SPIRE server serve its bundle. */
function servesByConfiguration({ control, exposure, serverConf }: ClusterFacts): boolean {
  if (control.type === 'configMap') return serverConf.bundleEndpoint !== undefined;
  // An operator does not let the endpoint be taken away; what somebody can end is that its Route leads there.
  return exposure.type === 'managedRoute' && control.federation?.managedRoute === 'true';
}

function toFinding({ name, scope, evidence, remedy = '', foreign, about }: Check): Finding {
  const whole = { check: name, scope, evidence, remedy };
  // One that takes a person must not stand for what the engine can mend on the same scope.
  if (foreign === true) return { ...whole, ...(about === undefined ? {} : { about }) };
  const action = ACTIONS[name];
  return { ...whole, ...(action === undefined ? {} : { action }) };
}
