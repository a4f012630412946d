import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  log,
  proxyActivities,
  sleep,
  TimeoutFailure,
  workflowInfo,
  type ActivityOptions,
} from '@temporalio/workflow';
import type { ClusterRegions, FederatorActivities } from '../contract/activities.js';
import type { FederatorErrorType } from '../contract/errors.js';
import { regionTaskQueue } from '../contract/names.js';

/** A workflow that lives on asks again after this; the inventory may be another one. */
const KNOWN_MS = 5 * 60_000;
/** For a cluster that was not listed, it asks again after this already; a timer says when, not the clock (see monitor). */
const UNLISTED_MS = 10_000;

const NO_WORKER: FederatorErrorType = 'NoWorker';

// It only reads what the worker has at hand, and yet is no local activity: where a query ends a workflow task before such a
// one has ended, a replay resolves it earlier than it was, before events that came first.
const { readRegions } = proxyActivities<Pick<FederatorActivities, 'readRegions'>>({
  // Never two at once; and a name that says it is no step.
  activityId: 'readRegions',
  summary: 'Read the regions of the clusters',
  startToCloseTimeout: '20 seconds',
  retry: { maximumAttempts: 2 },
});

/** Whose workers reach a cluster. */
export interface Region {
  name: string;
  /** How long an activity waits for one of them. */
  patienceMs: number;
}

// A workflow has its modules to itself: this is what one run knows.
let known: ClusterRegions | undefined;
let outdated = false;
/** A cluster was not listed just now. */
let unlisted = false;
let asking: Promise<ClusterRegions> | undefined;

/** The region of a cluster; undefined: it is for the workers of the workflows themselves. */
export async function regionOf(cluster: string): Promise<Region | undefined> {
  const { regions, patienceMs } = await regionsFor(cluster);
  const name = regions[cluster];
  return typeof name === 'string' ? { name, patienceMs } : undefined;
}

/**
 * All clusters by region, those without one last; a single group where there are no regions.
 * @param longestMs that is waited for a worker at most, where a whole list is not to wait for one region
 */
export async function clustersByRegion(longestMs = Infinity): Promise<{ region?: Region; clusters: string[] }[]> {
  const { regions, ...rest } = await regionsFor();
  const patienceMs = Math.min(rest.patienceMs, longestMs);
  const names = [...new Set(Object.values(regions))].filter((name) => name !== null).sort();
  const of = (region: string | null) => Object.keys(regions).filter((cluster) => regions[cluster] === region);
  return [...names.map((name) => ({ region: { name, patienceMs }, clusters: of(name) })), { clusters: of(null) }];
}

/** Has regions asked for anew before the next activity. */
export function distrustRegions(): void {
  outdated = true;
}

/**
 * Has regions asked for anew every five minutes, by work that comes back again and again: how often is known for sure in a
 * replay, the time of day is not (see monitor).
 * @param times it has come back so far
 */
export function refreshRegions(times: number, everyMs: number): void {
  if (times % Math.max(1, Math.round(KNOWN_MS / everyMs)) === 0) distrustRegions();
}

async function regionsFor(cluster?: string): Promise<ClusterRegions> {
  const isListed = cluster === undefined || known?.regions[cluster] !== undefined;
  if (known !== undefined && (isListed ? !outdated : unlisted)) return known;
  asking ??= CancellationScope.nonCancellable(ask).finally(() => (asking = undefined));
  const asked = await asking;
  if (cluster !== undefined && asked.regions[cluster] === undefined && !unlisted) {
    unlisted = true;
    void CancellationScope.nonCancellable(() => sleep(UNLISTED_MS)).then(() => (unlisted = false));
  }
  return asked;
}

/** An inventory that cannot be read is reported by the activities, which read it as well; until then nothing has changed. */
async function ask(): Promise<ClusterRegions> {
  try {
    known = await readRegions();
    outdated = false;
    return known;
  } catch (error) {
    log.warn('Regions could not be read', { error });
    return known ?? { regions: {}, patienceMs: 0 };
  }
}

/** Options of an activity for a worker of a region. */
export function inRegion({ name, patienceMs }: Region): ActivityOptions {
  return { taskQueue: regionTaskQueue(workflowInfo().taskQueue, name), scheduleToStartTimeout: patienceMs };
}

/** Whether an activity failed since nobody took it up. */
export function isNotTakenUp(error: unknown): boolean {
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof TimeoutFailure &&
    error.cause.timeoutType === 'SCHEDULE_TO_START'
  );
}

/** What nobody took up, as who reads it can mend it. */
export function noWorker({ name, patienceMs }: Region, clusters: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(
    `${clusters}: no worker of region ${name} is there, or all are busy: none took this up within ${patienceMs / 1000} s. Start one that can reach ${clusters} (npm run worker -- --regions ${name}).`,
    NO_WORKER,
  );
}

/** Whether the failure is that a region has no worker. */
export function isNoWorker(error: unknown): error is ApplicationFailure {
  return error instanceof ApplicationFailure && error.type === NO_WORKER;
}
