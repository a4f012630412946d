import { edgeName } from './names.js';
import type { EdgeRefreshes } from './rotation.js';

/** How refreshes read as a table, in the terminal and in the Temporal Web UI alike. */
export const REFRESH_COLUMNS = [
  'edge',
  'refreshes',
  'failed',
  'min',
  'median',
  'p95',
  'max',
  'expected',
  'keys',
] as const;

/** An edge's refreshes as the cells of a table; times in seconds. */
export function refreshCells(edge: EdgeRefreshes): string[] {
  const { trusting, trusted, refreshes, onDemand, failures, intervals, expectedMs, keysEqual } = edge;
  return [
    edgeName(trusting, trusted),
    onDemand === 0 ? String(refreshes) : `${refreshes} (${onDemand} on demand)`,
    String(failures),
    ...[intervals.minMs, intervals.medianMs, intervals.p95Ms, intervals.maxMs, expectedMs].map(seconds),
    keysEqual === undefined ? '?' : keysEqual ? 'equal' : 'differ',
  ];
}

export function seconds(ms: number | undefined): string {
  return ms === undefined ? '' : `${(ms / 1000).toFixed(1)} s`;
}
