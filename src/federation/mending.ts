import type { ClusterFacts } from '../contract/facts.js';
import type { Finding } from '../contract/health.js';
import type { KnownMember } from '../contract/monitor.js';
import { edgeName } from '../contract/names.js';
import type { EdgePlan, MemberPlan, SetupPlan } from './plan.js';

/** A member that cannot be asked; the others must not forget it for that. */
export interface AbsentMember {
  cluster: string;
  trustDomain: string;
  endpointUrl?: string;
}

/** Members that are known and could not be read. One whose trust domain is not known cannot be in anybody's configuration. */
export function absentMembers(members: readonly KnownMember[], facts: readonly ClusterFacts[]): AbsentMember[] {
  return members.flatMap(({ cluster, trustDomain, endpointUrl }) =>
    trustDomain === undefined || facts.some((each) => each.cluster === cluster)
      ? []
      : [{ cluster, trustDomain, ...(endpointUrl === undefined ? {} : { endpointUrl }) }],
  );
}

/** What of a plan is done on one member to mend some findings. */
export interface Mending {
  member: MemberPlan;
  findings: Finding[];
  edges: EdgePlan[];
  /** Why the engine may not touch it. */
  problems: string[];
}

/**
 * Picks from a plan what mends the findings and nothing else: an edge whose bundle waits for somebody's approval is not
 * made anew because another one is. Pure.
 */
export function planMending({ members, problems }: SetupPlan, findings: readonly Finding[]): Mending[] {
  return members.flatMap((member) => {
    const { cluster } = member.facts;
    const own = findings.filter(({ scope }) => scope === cluster || scope.startsWith(`${cluster}←`));
    if (own.length === 0) return [];
    const named = new Set(own.map(({ scope }) => scope));
    const edges = member.edges.filter(
      ({ trusted, action }) =>
        named.has(edgeName(cluster, trusted.cluster)) || (action !== 'none' && named.has(cluster)),
    );
    return [
      {
        member,
        findings: own,
        edges,
        problems: problems.filter((problem) => problem.cluster === cluster).map(({ message }) => message),
      },
    ];
  });
}
