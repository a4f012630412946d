import type { ClusterConnection } from './connect.js';

const ahead = new WeakMap<ClusterConnection, number>();

/**
 * Takes in the `Date` of an API server's answer. It has whole seconds and was written at some time while the request was
 * on its way, so what is noted is the least that explains it: 0 where both clocks may well agree.
 * @param sentAt when the request began, in milliseconds since the Unix epoch by this machine's clock
 */
export function noteClock(connection: ClusterConnection, date: string | undefined, sentAt: number): void {
  const earliest = Date.parse(date ?? '');
  if (Number.isNaN(earliest)) return;
  const latest = earliest + 1_000;
  const atLeast = Math.max(0, earliest - Date.now());
  const atMost = Math.min(0, latest - sentAt);
  ahead.set(connection, atLeast + atMost);
}

/** Milliseconds by which a cluster's clock is ahead of this machine's, negative where it is behind; 0 before any answer. */
export function clockAheadMs(connection: ClusterConnection): number {
  return ahead.get(connection) ?? 0;
}
