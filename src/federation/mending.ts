import type { ClusterFacts, Problem } from '../contract/facts.js';
import { findingId, type Finding } from '../contract/health.js';
import type { KnownMember } from '../contract/monitor.js';
import { edgeName } from '../contract/names.js';
import { exposureStrategy } from './exposure.js';
import { exposureContext, type EdgePlan, type MemberPlan, type ObjectPlan, type SetupPlan } from './plan.js';

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
    const inTheWay = problems.filter((problem) => problem.cluster === cluster);
    const problemsOf = (finding: Finding) => inTheWay.filter((problem) => concerns(problem, finding));
    const mending = (each: Finding[], messages: string[]): Mending[] => {
      if (each.length === 0) return [];
      const named = new Set(each.map(({ scope }) => scope));
      const edges = member.edges.filter(
        ({ trusted, action }) =>
          named.has(edgeName(cluster, trusted.cluster)) || (action !== 'none' && named.has(cluster)),
      );
      const objects = withoutNeedlessWays(member, members);
      return [{ member: { ...member, objects }, findings: each, edges, problems: messages }];
    };
    const blocked = own.filter((finding) => problemsOf(finding).length > 0);
    return [
      ...mending(
        own.filter((finding) => !blocked.includes(finding)),
        [],
      ),
      ...mending(blocked, [...new Set(blocked.flatMap(problemsOf).map(({ message }) => message))]),
    ];
  });
}

/** Whether a problem stands in the way of a finding: of all that is wrong with an edge, or with one kind of object. */
function concerns({ about }: Problem, finding: Finding): boolean {
  return (
    about === undefined || about === findingId(finding) || (about.endsWith(`@${finding.scope}`) && isEdge(finding))
  );
}

function isEdge({ scope }: Finding): boolean {
  return scope.includes('←');
}

/**
 * A Service that somebody made reachable in more ways than it should be loses them: a setup keeps them until all know
 * another address, and here every peer does. Where one does not, or none can be asked, they are kept.
 */
function withoutNeedlessWays({ facts, objects, obsolete }: MemberPlan, members: readonly MemberPlan[]): ObjectPlan[] {
  // As the exposure itself has it, not as it was known before.
  const url = exposureStrategy(facts.exposure.type).endpointUrl(exposureContext(facts), facts.endpointObjects);
  const known = members
    .flatMap((each) => each.facts.relationships)
    .filter(({ trustDomain }) => trustDomain === facts.trustDomain);
  const isKnown = known.length > 0 && known.every((each) => each.bundleEndpointURL === url);
  return objects.map((planned) => {
    const narrowed = obsolete.find(({ before, after }) => after !== undefined && before.kind === planned.object.kind);
    return !isKnown || narrowed?.after === undefined
      ? planned
      : { step: narrowed.step, object: narrowed.after, before: narrowed.before };
  });
}
