/** One page of a list that is sorted by name. */
export function page<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): { items: T[]; next?: string } {
  const sorted = [...items].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const rest = cursor === undefined ? sorted : sorted.filter((item) => nameOf(item) > cursor);
  const shown = rest.slice(0, limit);
  const last = shown.at(-1);
  return { items: shown, ...(rest.length > limit && last !== undefined ? { next: nameOf(last) } : {}) };
}
