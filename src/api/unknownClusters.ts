import { z } from 'zod';
import { visible, type Principal } from '../access/principal.js';
import type { Problem } from '../contract/facts.js';
import type { Check } from '../contract/verify.js';

/** What is told in place of addresses and paths. */
const WITHHELD = 'It could not be asked. Whoever has a role in all federations is told why.';
const WITHHELD_SCOPE = 'another cluster';

/** What a look at a federation comes to. */
export interface Look {
  clusters: string[];
  checks: Check[];
  findings?: { scope: string }[];
  members?: { cluster: string }[];
}

/** Clusters that could not be asked: what they would have said is missing. */
export const unknownFields = {
  /** All of them, and why, for who has a role in all federations; for others those of their federations. */
  unknown: z.array(z.object({ cluster: z.string(), message: z.string() })),
  /** How many there are. */
  unknownCount: z.number().int(),
};

/** @param members clusters that are known to be of the federations that are asked about */
export function toldUnknown(principal: Principal, unknown: readonly Problem[], members: Iterable<string>) {
  const own = new Set(members);
  const told =
    visible(principal) === undefined
      ? unknown.map(({ cluster, message }) => ({ cluster, message }))
      : unknown.filter(({ cluster }) => own.has(cluster)).map(({ cluster }) => ({ cluster, message: WITHHELD }));
  return { unknown: told, unknownCount: unknown.length };
}

/**
 * A look without the names of clusters of which nobody knows whether they are members, as they could not be asked: whoever
 * may see some federations only is told how many there are.
 * @param members clusters that are known to be of the federation
 */
export function toldLook<T extends Look>(principal: Principal, look: T, members: Iterable<string>): T {
  if (visible(principal) === undefined) return look;
  const answered = look.checks.filter(({ name, verdict }) => name === 'cluster' && verdict === 'ok');
  const own = new Set([...members, ...answered.map(({ scope }) => scope)]);
  const withheld = new Set(look.clusters.filter((cluster) => !own.has(cluster)));
  if (withheld.size === 0) return look;
  const isTold = ({ scope }: { scope: string }) => !scope.split('←').some((cluster) => withheld.has(cluster));
  const evidence = `${withheld.size === 1 ? 'A cluster' : `${withheld.size} clusters`} could not be asked for its federations. Whoever has a role in all federations is told which, and why.`;
  return {
    ...look,
    clusters: look.clusters.filter((cluster) => own.has(cluster)),
    checks: [...look.checks.filter(isTold), { name: 'cluster', scope: WITHHELD_SCOPE, verdict: 'unknown', evidence }],
    ...(look.findings === undefined ? {} : { findings: look.findings.filter(isTold) }),
    ...(look.members === undefined ? {} : { members: look.members.filter(({ cluster }) => own.has(cluster)) }),
  };
}
