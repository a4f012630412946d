import type {
  CountedEdge,
  EdgeCountState,
  EdgeRefreshes,
  IntervalStatistics,
  RefreshCountState,
  RefreshWindow,
  RotateWatchReport,
} from '../contract/rotation.js';
import { edgeName } from '../contract/names.js';

/** Intervals that are kept of all edges together; they travel from one run of the watch to the next. */
const INTERVALS_KEPT = 50_000;
/** Of one edge at most. */
const INTERVALS_OF_EDGE = 500;
/** What comes sooner than this part of the expected interval was no regular poll. */
const ON_DEMAND_FRACTION = 0.5;
const GAPS_KEPT = 100;

/**
 * Counts bundle refreshes per edge from what the logs tell. Lines may come twice, and in any number of pieces: of one
 * edge, only what is newer than everything before it counts.
 */
export class RefreshCount {
  private readonly edges: readonly CountedEdge[];
  private readonly counts: Map<string, EdgeCountState>;
  private readonly own: Map<string, string>;
  private readonly stored: Map<string, Record<string, string>>;
  private readonly gaps: { cluster: string; from: number; to: number }[];
  private readonly problems: Map<string, string>;

  constructor(edges: readonly CountedEdge[], state?: RefreshCountState) {
    this.edges = edges;
    this.counts = new Map(Object.entries(state?.counts ?? {}));
    this.own = new Map(Object.entries(state?.own ?? {}));
    this.stored = new Map(Object.entries(state?.stored ?? {}));
    this.gaps = [...(state?.gaps ?? [])];
    this.problems = new Map(Object.entries(state?.problems ?? {}));
  }

  get state(): RefreshCountState {
    return {
      edges: [...this.edges],
      counts: Object.fromEntries(this.counts),
      own: Object.fromEntries(this.own),
      stored: Object.fromEntries(this.stored),
      gaps: this.gaps,
      problems: Object.fromEntries(this.problems),
    };
  }

  take({ cluster, polls, startedAt, gap, own, stored, problem }: RefreshWindow): void {
    for (const { at, trustDomain, ok, error } of [...polls].sort((a, b) => a.at - b.at)) {
      const edge = this.edges.find((each) => each.trusting === cluster && each.trustDomain === trustDomain);
      if (edge === undefined) continue;
      const count = this.count(edge);
      if (ok) this.refreshed(edge, count, at, startedAt);
      else if (count.lastFailedAt === undefined || at > count.lastFailedAt) {
        count.failures++;
        count.lastFailedAt = at;
        if (error !== undefined) count.lastError = error;
      }
    }
    if (gap !== undefined && this.gaps.length < GAPS_KEPT) this.gaps.push({ cluster, ...gap });
    if (own !== undefined) this.own.set(cluster, own);
    if (stored !== undefined) this.stored.set(cluster, stored);
    if (problem === undefined) this.problems.delete(cluster);
    else this.problems.set(cluster, problem);
  }

  /** Whether every edge was refreshed so often. */
  hasAll(rotations: number): boolean {
    return this.edges.every((edge) => this.regular(edge) >= rotations);
  }

  /** @param asked what ends the watch, and when it began */
  report(
    federation: string,
    { since, until, rotations, finished }: { since: number; until: number; rotations?: number; finished: boolean },
  ): RotateWatchReport {
    const edges = this.edges.map((edge) => this.edgeReport(edge));
    const all = this.edges.flatMap((edge) => this.count(edge).intervals);
    const sum = (of: (edge: EdgeRefreshes) => number) => edges.reduce((total, edge) => total + of(edge), 0);
    return {
      federation,
      since,
      until,
      ...(rotations === undefined ? {} : { rotations }),
      complete:
        this.gaps.length === 0 && edges.every(({ keysEqual }) => keysEqual === true) && this.hasAll(rotations ?? 0),
      state: finished ? 'finished' : 'watching',
      intervals: intervalStatistics(all),
      refreshes: sum(({ refreshes }) => refreshes),
      failures: sum(({ failures }) => failures),
      edges,
      gaps: this.gaps,
      problems: Object.fromEntries(this.problems),
    };
  }

  private refreshed(edge: CountedEdge, count: EdgeCountState, at: number, startedAt: number | undefined): void {
    const { lastAt, seenAt } = count;
    if (seenAt !== undefined && at <= seenAt) return;
    count.seenAt = at;
    count.refreshes++;
    // SPIRE's timer is not moved by a fetch on demand: the next regular interval counts from the regular poll before.
    if (lastAt !== undefined && at - lastAt < edge.expectedMs * ON_DEMAND_FRACTION) {
      count.onDemand++;
      return;
    }
    // A server that was started in between polls at once: that is no interval.
    const isOneProcess = startedAt === undefined || at < startedAt || (lastAt ?? 0) >= startedAt;
    if (lastAt !== undefined && isOneProcess) {
      count.intervals.push(at - lastAt);
      const keep = Math.max(10, Math.min(INTERVALS_OF_EDGE, Math.floor(INTERVALS_KEPT / this.edges.length)));
      if (count.intervals.length > keep) count.intervals.shift();
    }
    count.lastAt = at;
  }

  private regular(edge: CountedEdge): number {
    const { refreshes, onDemand } = this.count(edge);
    return refreshes - onDemand;
  }

  private edgeReport(edge: CountedEdge): EdgeRefreshes {
    const { trusting, trusted, trustDomain, expectedMs } = edge;
    const { refreshes, onDemand, failures, lastError, lastAt, intervals } = this.count(edge);
    const own = this.own.get(trusted);
    const stored = this.stored.get(trusting);
    return {
      trusting,
      trusted,
      refreshes,
      onDemand,
      failures,
      ...(lastError === undefined ? {} : { lastError }),
      expectedMs,
      intervals: intervalStatistics(intervals),
      ...(own === undefined || stored === undefined ? {} : { keysEqual: stored[trustDomain] === own }),
      ...(lastAt === undefined ? {} : { lastAt }),
    };
  }

  private count({ trusting, trusted }: CountedEdge): EdgeCountState {
    const name = edgeName(trusting, trusted);
    const count = this.counts.get(name) ?? { refreshes: 0, onDemand: 0, failures: 0, intervals: [] };
    this.counts.set(name, count);
    return count;
  }
}

/** Least, median, 95th percentile and greatest of intervals in milliseconds; percentiles by nearest rank. */
export function intervalStatistics(intervals: readonly number[]): IntervalStatistics {
  if (intervals.length === 0) return { count: 0 };
  const sorted = [...intervals].sort((a, b) => a - b);
  const rank = (fraction: number) => sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? 0;
  return { count: sorted.length, minMs: rank(0), medianMs: rank(0.5), p95Ms: rank(0.95), maxMs: rank(1) };
}

/** How long so many refreshes may take at most: as many polls, the slow first one after a setup, and two missed ones. */
export function watchLimitMs(edges: readonly CountedEdge[], rotations: number): number {
  const slowest = Math.max(0, ...edges.map(({ expectedMs }) => expectedMs));
  return (rotations + 2) * slowest + 60_000;
}
