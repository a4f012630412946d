/** So many keys have the bundles of a thousand trust domains in the middle of a rotation. */
const REMEMBERED = 5_000;

/**
 * A pure function that remembers what it made of its newest inputs: keys and settings are read every round, and change
 * every few days. What it returns is shared, and must not be changed.
 */
export function remembered<V extends object>(read: (text: string) => V, limit = REMEMBERED): (text: string) => V {
  const known = new Map<string, V>();
  return (text) => {
    const found = known.get(text);
    if (found !== undefined) return found;
    const value = read(text);
    const [oldest] = known.keys();
    if (known.size >= limit && oldest !== undefined) known.delete(oldest);
    known.set(text, value);
    return value;
  };
}
