import {
  ActivityFailure,
  ApplicationFailure,
  proxyActivities,
  sleep,
  type ActivityFunctionWithOptions,
  type ActivityOptions,
} from '@temporalio/workflow';
import type { FederatorActivities } from '../contract/activities.js';
import type { FederatorErrorType } from '../contract/errors.js';
import type { PlannedStep } from '../contract/change.js';
import { atAskersTime, fetchesAtAskersTime } from '../federation/clocks.js';
import { awaitBundlesFrom } from './awaitBundles.js';
import type { Limit } from './limit.js';
import { distrustRegions, inRegion, isNotTakenUp, isNoWorker, noWorker, regionOf, type Region } from './regions.js';

/** A worker that stops heartbeating this long is taken for dead, and its step is given to another. */
const HEARTBEAT_TIMEOUT = '5 seconds';
/** What a step may take besides the waits whose limits it is given as input. */
const STEP_TIMEOUT_MS = 15 * 60_000;
/** Some steps wait twice for as long as they are told to: for a server, then for what it stores. */
const WAITS_PER_STEP = 2;
/** How long an undo is tried before a person has to: long enough for a cluster to come back from an outage. */
const UNDO_TIMEOUT_MS = 6 * 60 * 60 * 1_000;
/** The longest pause between two attempts of an undo. */
const UNDO_INTERVAL_MS = 30_000;

/**
 * An API server that has just started refuses everybody until it has read its roles, and a credential that expired may
 * be renewed: so long an undo is tried against refusals.
 */
const REFUSED_MS = 5 * 60_000;
/** Before the second attempt; each further pause is twice as long. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const REFUSALS: ReadonlySet<string> = new Set<FederatorErrorType>(['Forbidden', 'Unauthorized']);

const TIMED_OUT: FederatorErrorType = 'TimedOut';

const options: ActivityOptions = {
  startToCloseTimeout: STEP_TIMEOUT_MS,
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  // Nothing may be undone while the step that is cancelled may still act.
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
};

const retry = { initialInterval: FIRST_PAUSE_MS, backoffCoefficient: 2, maximumInterval: '10 seconds' } as const;

type Activity = Extract<keyof FederatorActivities, string>;
type Call<K extends Activity> = {
  input: Parameters<FederatorActivities[K]>[0];
  output: Awaited<ReturnType<FederatorActivities[K]>>;
};

const proxies = proxyActivities<FederatorActivities>(options);

/** What acts on the cluster store, where the workflows are, and not on the cluster that it names. */
const ON_THE_STORE: ReadonlySet<string> = new Set<Activity>(['promoteCandidate', 'discardCandidate', 'forgetCluster']);

/** Looks at a cluster, whose answer says why there is nothing to be seen. */
const BLIND: { [K in Activity]?: (cluster: string, message: string) => Call<K>['output'] } = {
  readFacts: (cluster, message) => ({ problems: [{ cluster, type: 'NoWorker', message }] }),
  readIdentities: (cluster, message) => ({ problems: [{ cluster, type: 'NoWorker', message }] }),
  readCluster: (cluster, message) => ({
    cluster,
    readAt: Date.now(),
    serverDown: false,
    problem: { type: 'NoWorker', message },
  }),
  followRefreshes: (cluster, message) => ({ cluster, polls: [], problem: message }),
};

/** Runs an activity, and what else it takes where the workers of one region cannot do all of it. */
async function call<K extends Activity>(
  name: K,
  overrides: ActivityOptions,
  input: Call<K>['input'],
  region?: Region,
): Promise<Call<K>['output']> {
  if (name !== 'awaitBundles') return route(name, overrides, input, region);
  return awaitBundlesFrom(
    input as Call<'awaitBundles'>['input'],
    (request) => route('awaitBundles', overrides, request),
    (request) => {
      const { activityId: _id, ...rest } = overrides;
      return route('readBundle', { ...rest, summary: `Read the trust bundle of ${request.cluster} again` }, request);
    },
  ) as Promise<Call<K>['output']>;
}

/** Runs an activity where it can be done: by a worker of its cluster's region, or of the one given. */
async function route<K extends Activity>(
  name: K,
  overrides: ActivityOptions,
  input: Call<K>['input'],
  given?: Region,
): Promise<Call<K>['output']> {
  const activity = proxies[name] as unknown as ActivityFunctionWithOptions<
    (input: Call<K>['input']) => Promise<Call<K>['output']>
  >;
  const { timeoutMs = 0 } = (input ?? {}) as { timeoutMs?: number };
  const startToCloseTimeout = STEP_TIMEOUT_MS + WAITS_PER_STEP * timeoutMs;
  const own: ActivityOptions = { ...options, startToCloseTimeout, ...overrides };
  const cluster = input !== undefined && 'cluster' in input && !ON_THE_STORE.has(name) ? input.cluster : undefined;
  const region = given ?? (cluster === undefined ? undefined : await regionOf(cluster));
  if (region === undefined) return activity.executeWithOptions(own, [input]);
  try {
    return await activity.executeWithOptions({ ...own, ...inRegion(region) }, [input]);
  } catch (error) {
    if (!isNotTakenUp(error)) throw error;
    const failure = noWorker(region, cluster ?? `the clusters of ${region.name}`);
    const blind = BLIND[name];
    if (blind === undefined || cluster === undefined) throw failure;
    return blind(cluster, failure.message);
  }
}

/** What a step is called: by its ID in the history, by its title in the Temporal Web UI. */
export type StepName = Pick<PlannedStep, 'id' | 'title'>;

/** A part of a step that takes several activities. */
export function part(step: StepName, name: string): StepName {
  return { id: `${step.id}/${name}`, title: `${step.title} (${name})` };
}

/**
 * Runs an activity as a step of a change.
 * @param attempts how often it is tried when it fails for a reason that may pass
 * @param region whose workers are to do it, where no single cluster says that
 */
export function runStep<K extends Activity>(
  name: K,
  step: StepName,
  attempts: number,
  input: Call<K>['input'],
  region?: Region,
): Promise<Call<K>['output']> {
  return call(
    name,
    {
      activityId: step.id,
      summary: step.title,
      // A step waits for as long as it was told to; waiting again as long would be more than anybody asked for.
      retry: { ...retry, maximumAttempts: attempts, nonRetryableErrorTypes: [TIMED_OUT] },
    },
    input,
    region,
  );
}

/**
 * Runs an activity as an undo: tried again until it succeeds or a person has to look. What refuses the engine counts as
 * passing for a while: it was allowed to do what is being undone.
 * @param turns waited for before every attempt and given up after it: an undo that has to be tried again for long must
 *   not keep others waiting
 */
export async function runUndo<K extends Activity>(
  name: K,
  summary: string,
  input: Call<K>['input'],
  turns?: Limit,
): Promise<Call<K>['output']> {
  const begun = Date.now();
  const patient: ActivityOptions = {
    retry: { ...retry, maximumInterval: UNDO_INTERVAL_MS },
    scheduleToCloseTimeout: UNDO_TIMEOUT_MS,
  };
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      if (turns === undefined) return await call(name, { summary, ...patient }, input);
      return await turns.run(() => call(name, { summary, retry: { maximumAttempts: 1 } }, input));
    } catch (error) {
      if (Date.now() - begun >= undoPatienceMs(error, turns)) throw error;
    }
    // Meanwhile a cluster may be given to those who reach it.
    distrustRegions();
    await sleep(pauseMs);
  }
}

/** For how long after its first attempt an undo that failed with this is tried again. */
function undoPatienceMs(error: unknown, turns: Limit | undefined): number {
  if (isRefusal(error)) return REFUSED_MS;
  return isNoWorker(error) || (turns !== undefined && mayPass(error)) ? UNDO_TIMEOUT_MS : 0;
}

function isRefusal(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof ApplicationFailure && REFUSALS.has(cause.type ?? '');
}

/** Whether an activity failed for a reason that another attempt may mend. */
function mayPass(error: unknown): boolean {
  if (!(error instanceof ActivityFailure)) return false;
  return !(error.cause instanceof ApplicationFailure && error.cause.nonRetryable === true);
}

/** Runs an activity that looks, or asks: once more if its worker dies, and no more, as the next round comes anyway. */
export function runCheck<K extends Activity>(
  name: K,
  summary: string,
  input: Call<K>['input'],
): Promise<Call<K>['output']> {
  return call(name, { summary, startToCloseTimeout: '2 minutes', retry: { ...retry, maximumAttempts: 2 } }, input);
}

/** Tells of a verdict that changed, again and again for as long as that is of interest. */
export function runNotify(
  input: Call<'notify'>['input'],
  patience: ActivityOptions['scheduleToCloseTimeout'],
): Promise<Call<'notify'>['output']> {
  const { federation, occurrence, verdict } = input;
  return call(
    'notify',
    {
      summary: `Tell that federation ${federation} is ${verdict} (${occurrence})`,
      startToCloseTimeout: '30 seconds',
      scheduleToCloseTimeout: patience,
      retry: { ...retry, initialInterval: '1 second', maximumInterval: '1 minute' },
    },
    input,
  );
}

/** Reads a cluster; all times in the reading but `startedAt` are the workflow's. */
export async function readCluster(
  summary: string,
  input: Call<'readCluster'>['input'],
): Promise<Call<'readCluster'>['output']> {
  const askedAt = Date.now();
  return atAskersTime(await runCheck('readCluster', summary, input), askedAt, Date.now());
}

/** Makes a SPIRE server fetch bundles now; the times of what came of it are the workflow's. */
export async function refreshEdges(
  summary: string,
  input: Call<'refreshEdges'>['input'],
): Promise<Call<'refreshEdges'>['output']> {
  const askedAt = Date.now();
  return fetchesAtAskersTime(await runCheck('refreshEdges', summary, input), askedAt, Date.now());
}

/** Follows a log for a while: again for as long as no worker does it to its end, as what it tells must not be lost. */
export function followNow(input: Call<'followRefreshes'>['input']): Promise<Call<'followRefreshes'>['output']> {
  return call(
    'followRefreshes',
    { summary: `Follow the log of ${input.cluster}`, startToCloseTimeout: input.windowMs + 120_000, retry },
    input,
  );
}

/** Runs an activity of a repair. What fails is tried a second time only; the monitor finds it again. */
export function runMending<K extends Activity>(
  name: K,
  summary: string,
  input: Call<K>['input'],
): Promise<Call<K>['output']> {
  return call(name, { summary, retry: { ...retry, maximumAttempts: 2, nonRetryableErrorTypes: [TIMED_OUT] } }, input);
}
