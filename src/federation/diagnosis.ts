import type { Finding, RepairAction } from '../contract/health.js';
import type { Check } from '../contract/verify.js';
import { checker } from './check.js';
import { verifyFederation, type MemberObservation } from './verify.js';

/** What mends a failed check, the least force that can. Checks that are not listed take a person. */
const ACTIONS: Readonly<Record<string, RepairAction>> = {
  service: 'restore',
  route: 'restore',
  ingress: 'restore',
  port: 'restart',
  'server-conf': 'restart',
  relationship: 'restore',
  policy: 'restore',
  'stored-bundle': 'rebootstrap',
};

/** A thorough look at a federation: every check, and what has to be done about those that failed. Pure. */
export function diagnoseFederation(
  federation: string,
  members: readonly MemberObservation[],
): { checks: Check[]; findings: Finding[] } {
  const checks = [...verifyFederation(federation, members), ...members.flatMap(keyChecks)];
  const gone = new Set(members.filter((member) => looksRemoved(federation, member)).map(({ cluster }) => cluster));
  const findings = checks
    .filter(({ verdict }) => verdict === 'failed')
    .filter(({ scope }) => !gone.has(scope))
    .map((check) => toFinding(check, members));
  return {
    checks,
    findings: [
      ...findings.filter(({ scope }) => ![...gone].some((cluster) => scope.startsWith(`${cluster}←`))),
      ...[...gone].map((cluster): Finding => ({
        check: 'member-removed',
        scope: cluster,
        evidence: `${cluster} has nothing of federation ${federation} any more: no relationship, no exposed endpoint, no federation settings`,
        remedy: `If it was meant, run: npm run start-workflow removeCluster -- --federation ${federation} --cluster ${cluster}. If not, approve that it is set up again.`,
        action: 'restore',
        needsApproval: 'it looks as if somebody removed the member on purpose',
      })),
    ],
  };
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

/** One object that is gone is a fault; all of them gone at once is somebody's will. */
function looksRemoved(federation: string, { facts }: MemberObservation): boolean {
  if (facts === undefined) return false;
  return (
    facts.federation !== federation &&
    facts.relationships.every((each) => each.federation !== federation) &&
    facts.serverConf.bundleEndpoint === undefined
  );
}

function toFinding({ name, scope, evidence, remedy = '' }: Check, members: readonly MemberObservation[]): Finding {
  const action = isForeign(name, scope, members) ? undefined : ACTIONS[name];
  return { check: name, scope, evidence, remedy, ...(action === undefined ? {} : { action }) };
}

/** A relationship that somebody else made is corrected by them. */
function isForeign(name: string, scope: string, members: readonly MemberObservation[]): boolean {
  if (name !== 'relationship') return false;
  const [trusting, trusted] = scope.split('←');
  const facts = members.find(({ cluster }) => cluster === trusting)?.facts;
  const peer = members.find(({ cluster }) => cluster === trusted)?.facts;
  const [oldest] = (facts?.relationships ?? [])
    .filter((each) => each.trustDomain === peer?.trustDomain)
    .sort((a, b) => (a.createdAt ?? '').localeCompare(b.createdAt ?? ''));
  return oldest !== undefined && oldest.federation === undefined;
}
