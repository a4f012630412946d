import type { Timeouts } from '../contract/change.js';
import type { ClusterFacts } from '../contract/facts.js';
import { federationSettings } from '../federation/settings.js';
import { stopWatching, watchOver } from './engine.js';
import { readFacts } from './facts.js';
import { askMembers } from './members.js';

const ATTEMPTS = 3;

/** Who is a member beside those that are torn down. */
export interface Others {
  members: string[];
  facts: ClusterFacts[];
  /** Clusters that could not be asked or read. */
  unread: string[];
}

export const NO_OTHERS: Others = { members: [], facts: [], unread: [] };

/** As far as they can be asked: they are not what the teardown is about. */
export async function otherMembers(federation: string, clusters: readonly string[]): Promise<Others> {
  const found = await askMembers(federation, ATTEMPTS);
  const members = found.members.filter((member) => !clusters.includes(member));
  const read = await Promise.all(members.map((cluster) => readFacts(federation, cluster, [])));
  const facts = read.flatMap((each) => each.facts ?? []);
  const isRead = (member: string) => facts.some(({ cluster }) => cluster === member);
  const unknown = found.unknown.map(({ cluster }) => cluster).filter((cluster) => !clusters.includes(cluster));
  return { members, facts, unread: [...members.filter((member) => !isRead(member)), ...unknown] };
}

/** The monitor goes on for those that stay members with each other. @returns what could not be done about it */
export async function watchOthers(federation: string, others: Others, timeouts: Timeouts): Promise<string[]> {
  const { members, facts, unread } = others;
  // Of one member alone there is nothing to watch over.
  if (members.length === 0 || members.length + unread.length < 2) {
    await stopWatching(federation, timeouts);
    return [];
  }
  if (unread.length === 0)
    return watchOver(
      { federation, clusters: members, ...federationSettings(federation, facts), start: false },
      timeouts,
    );
  const names = [...new Set([...members, ...unread])].join(',');
  const { hub } = federationSettings(federation, facts);
  return [
    `The monitor was left as it is, as ${unread.join(', ')} could not be asked. Should it still watch over what was torn down, say who its members are: npm run federator -- monitor start --federation ${federation} --clusters ${names}${hub === undefined ? '' : ` --hub ${hub}`}`,
  ];
}

/** What a teardown of some leaves with the others: they were not asked to forget these. */
export function stillTrusting(
  federation: string,
  staying: readonly ClusterFacts[],
  gone: readonly ClusterFacts[],
): string[] {
  return gone.flatMap(({ cluster, trustDomain }) => {
    const trusting = staying.filter(({ relationships }) =>
      relationships.some((each) => each.federation === federation && each.trustDomain === trustDomain),
    );
    if (trusting.length === 0) return [];
    const names = trusting.map((each) => each.cluster).join(', ');
    return [
      `${names} still trust${trusting.length === 1 ? 's' : ''} ${cluster} (${trustDomain}), and cannot reach its bundle endpoint any more. Have them forget it: npm run start-workflow removeCluster -- --federation ${federation} --cluster ${cluster} --unreachable`,
    ];
  });
}
