import { z } from 'zod';
import { visible, type Principal } from '../access/principal.js';
import type { Problem } from '../contract/facts.js';

/** What is told in place of addresses and paths. */
const WITHHELD = 'It could not be asked. Whoever has a role in all federations is told why.';

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
