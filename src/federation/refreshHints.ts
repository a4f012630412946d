import type { ClusterFacts } from '../contract/facts.js';
import { durationSeconds } from '../contract/serverConf.js';
import type { Check } from '../contract/verify.js';

/** Members of a federation, as far as they could be read. */
type Members = readonly { cluster: string; facts?: ClusterFacts }[];

/**
 * Marks the server.conf of a member whose refresh hint is another than all others': its peers poll it more or less often
 * than they should. Where all have another one than the monitor was told, that is how the federation was set up. Pure.
 * @param toldSeconds what the monitor was told; absent: only what most members have counts
 */
export function withHints(checks: readonly Check[], members: Members, toldSeconds?: number): Check[] {
  const hints = new Map(members.map(({ cluster, facts }) => [cluster, hintOf(facts)]));
  const most = hintOfMost([...hints.values()]);
  return checks.map((check) => {
    if (check.name !== 'server-conf') return check;
    const own = hints.get(check.scope);
    const wanted = most ?? hintOfOthers(hints, check.scope, toldSeconds);
    if (own === undefined || wanted === undefined || own === wanted) return check;
    const evidence = `refresh_hint is ${own} s instead of ${wanted} s, as most members have it or the monitor was told`;
    const remedy = `Run setupMesh again: it puts ${wanted} s back and restarts the server. If the other is meant, give it to all of them: setupMesh --refresh-hint ${own}.`;
    return check.verdict === 'ok'
      ? { ...check, verdict: 'failed', evidence, remedy }
      : { ...check, evidence: `${check.evidence}; ${evidence}` };
  });
}

/** What more than half of all members have, also of those that could not be read. */
function hintOfMost(hints: readonly (number | undefined)[]): number | undefined {
  return [...new Set(hints)].find((hint) => hints.filter((each) => each === hint).length > hints.length / 2);
}

/** What all other members have, where that is what the monitor was told. */
function hintOfOthers(
  hints: ReadonlyMap<string, number | undefined>,
  cluster: string,
  toldSeconds: number | undefined,
): number | undefined {
  const others = [...hints].filter(([other]) => other !== cluster);
  return others.length > 0 && others.every(([, hint]) => hint === toldSeconds) ? toldSeconds : undefined;
}

function hintOf(facts: ClusterFacts | undefined): number | undefined {
  return durationSeconds(facts?.serverConf.bundleEndpoint?.refreshHint);
}
