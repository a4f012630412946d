import { edgeKey } from './format.js';

/** Fewer edges are listed than are not fresh: whether this one is, the list does not tell. */
const UNLISTED = { verdict: 'unlisted', evidence: 'More edges are not fresh than the monitor lists.' };

/**
 * Every edge of a federation by "trusting←trusted". Of many edges health lists those that are not fresh, up to a number:
 * where every pair is an edge, the others are fresh if the counts say so, and otherwise not known here.
 * @param {{ clusters: { cluster: string }[], edges: object[], counts: Record<string, number> }} health
 * @returns {Map<string, object>}
 */
export function allEdges({ clusters, edges, counts }) {
  const found = new Map(edges.map((edge) => [edgeKey(edge.trusting, edge.trusted), edge]));
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const pairs = clusters.length * (clusters.length - 1);
  if (total !== pairs || found.size === pairs) return found;
  const wrong = edges.filter(({ verdict }) => verdict !== 'fresh').length;
  const rest = wrong === total - counts.fresh ? { verdict: 'fresh' } : UNLISTED;
  for (const { cluster: trusting } of clusters) {
    for (const { cluster: trusted } of clusters) {
      const key = edgeKey(trusting, trusted);
      if (trusting !== trusted && !found.has(key)) found.set(key, { trusting, trusted, ...rest });
    }
  }
  return found;
}
