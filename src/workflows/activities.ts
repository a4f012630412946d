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

/** A worker that stops heartbeating this long is taken for dead, and its step is given to another. */
const HEARTBEAT_TIMEOUT = '5 seconds';
/** No step works longer than this in one go; each has a shorter limit of its own, given as input. */
const STEP_TIMEOUT = '15 minutes';
/** How long an undo is tried before a person has to: long enough for a cluster to come back from an outage. */
const UNDO_TIMEOUT = '6 hours';

/**
 * An API server that has just started refuses everybody until it has read its roles, and a credential that expired may
 * be renewed: so long an undo is tried against refusals.
 */
const REFUSED_MS = 5 * 60_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;
const REFUSALS: ReadonlySet<string> = new Set<FederatorErrorType>(['Forbidden', 'Unauthorized']);

const TIMED_OUT: FederatorErrorType = 'TimedOut';

const options: ActivityOptions = {
  startToCloseTimeout: STEP_TIMEOUT,
  heartbeatTimeout: HEARTBEAT_TIMEOUT,
  // Nothing may be undone while the step that is cancelled may still act.
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
};

const retry = { initialInterval: '500 ms', backoffCoefficient: 2, maximumInterval: '10 seconds' } as const;

type Activity = Extract<keyof FederatorActivities, string>;
type Call<K extends Activity> = {
  input: Parameters<FederatorActivities[K]>[0];
  output: Awaited<ReturnType<FederatorActivities[K]>>;
};

const proxies = proxyActivities<FederatorActivities>(options);

function call<K extends Activity>(
  name: K,
  overrides: ActivityOptions,
  input: Call<K>['input'],
): Promise<Call<K>['output']> {
  const activity = proxies[name] as unknown as ActivityFunctionWithOptions<
    (input: Call<K>['input']) => Promise<Call<K>['output']>
  >;
  return activity.executeWithOptions({ ...options, ...overrides }, [input]);
}

/** What a step is called: by its ID in the history, by its title in the Temporal Web UI. */
export type StepName = Pick<PlannedStep, 'id' | 'title'>;

export const FIND_MEMBERS: StepName = { id: 'findMembers', title: 'Find the members' };

/** A part of a step that takes several activities. */
export function part(step: StepName, name: string): StepName {
  return { id: `${step.id}/${name}`, title: `${step.title} (${name})` };
}

/**
 * Runs an activity as a step of a change.
 * @param attempts how often it is tried when it fails for a reason that may pass
 */
export function runStep<K extends Activity>(
  name: K,
  step: StepName,
  attempts: number,
  input: Call<K>['input'],
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
  );
}

/**
 * Runs an activity as an undo: tried again until it succeeds or a person has to look. What refuses the engine counts as
 * passing for a while: it was allowed to do what is being undone.
 */
export async function runUndo<K extends Activity>(
  name: K,
  summary: string,
  input: Call<K>['input'],
): Promise<Call<K>['output']> {
  const options = {
    summary,
    retry: { ...retry, maximumInterval: '30 seconds' },
    scheduleToCloseTimeout: UNDO_TIMEOUT,
  } as const;
  const refusedUntil = Date.now() + REFUSED_MS;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await call(name, options, input);
    } catch (error) {
      if (!isRefusal(error) || Date.now() > refusedUntil) throw error;
      await sleep(pauseMs);
    }
  }
}

function isRefusal(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof ApplicationFailure && REFUSALS.has(cause.type ?? '');
}

/** Runs an activity that looks, or asks: once more if its worker dies, and no more, as the next round comes anyway. */
export function runCheck<K extends Activity>(
  name: K,
  summary: string,
  input: Call<K>['input'],
): Promise<Call<K>['output']> {
  return call(name, { summary, startToCloseTimeout: '2 minutes', retry: { ...retry, maximumAttempts: 2 } }, input);
}

/** Reads a cluster for a round of the monitor. */
export function readNow(cluster: string, input: Call<'readCluster'>['input']): Promise<Call<'readCluster'>['output']> {
  return runCheck('readCluster', `Read ${cluster}`, input);
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
