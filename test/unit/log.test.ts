import { ActivityFailure, ApplicationFailure } from '@temporalio/common';
import { logLevel, type LogLevel } from '../../src/config.js';
import { FederatorError } from '../../src/contract/errors.js';
import { workerLog } from '../../src/log.js';

function recorded(level: LogLevel = 'info') {
  const lines: string[] = [];
  const log = workerLog(level, { terminal: false, write: (line) => lines.push(line) });
  return { log, lines, only: () => JSON.parse(lines.join('')) as Record<string, unknown> };
}

/** As Temporal's SDK tells of an activity. */
const ACTIVITY = {
  sdkComponent: 'worker',
  namespace: 'default',
  taskToken: 'dG9rZW4=',
  workflowId: 'federation/prod/change',
  workflowRunId: 'run',
  workflowType: 'setupPair',
  activityType: 'rolloutServer',
  activityId: 'rolloutServer/edge-1',
  attempt: 2,
  cluster: 'edge-1',
};

test('a failed attempt is one line of JSON: what failed, of which cluster, and why', () => {
  const { log, only } = recorded();
  const error = ApplicationFailure.retryable('edge-1: its API server cannot be reached.', 'ClusterUnreachable');
  log.temporal.warn('Activity failed', { ...ACTIVITY, durationMs: 12, error });
  expect(only()).toEqual({
    level: 40,
    time: expect.any(Number) as number,
    pid: process.pid,
    hostname: expect.any(String) as string,
    msg: 'Activity failed',
    federation: 'prod',
    workflowId: 'federation/prod/change',
    runId: 'run',
    workflow: 'setupPair',
    activity: 'rolloutServer',
    step: 'rolloutServer/edge-1',
    cluster: 'edge-1',
    attempt: 2,
    durationMs: 12,
    err: { type: 'ClusterUnreachable', message: 'edge-1: its API server cannot be reached.' },
  });
});

test('what nobody raised on purpose comes with where it came from, and with its cause', () => {
  const { log, only } = recorded();
  const cause = new FederatorError('NotReady', 'not yet');
  log.temporal.error('Failed', { error: new TypeError('x is not a function', { cause }) });
  expect(only()).toMatchObject({
    level: 50,
    err: {
      type: 'TypeError',
      message: 'x is not a function',
      stack: expect.stringMatching(/log\.test\.ts/) as string,
      cause: { type: 'NotReady', message: 'not yet' },
    },
  });
  expect((only()['err'] as { cause: object }).cause).not.toHaveProperty('stack');
  const fromWorkflow = recorded();
  const error = structuredClone(ApplicationFailure.nonRetryable('nothing was changed', 'PreflightFailed'));
  fromWorkflow.log.temporal.warn('Workflow failed', { error });
  expect(fromWorkflow.only()['err']).toEqual({ type: 'ApplicationFailure', message: 'nothing was changed' });
});

test('no secret gets into it, wherever it is', () => {
  const { log, lines } = recorded('trace');
  const secret = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl';
  const failure = new ActivityFailure(`with ${secret}`, 'a', undefined, 'NON_RETRYABLE_FAILURE', undefined);
  for (const meta of [
    { note: `Bearer ${secret}` },
    { nested: { deep: { header: `Bearer ${secret}` } } },
    { error: new Error(`refused ${secret}`, { cause: failure }) },
    { options: { dataConverter: { key: secret } }, taskEncoded: secret },
  ])
    log.temporal.warn(`postgres://me:${secret}@db`, meta);
  expect(lines).toHaveLength(4);
  expect(lines.join('')).not.toContain(secret);
});

test('the level says what is told, but for what is announced', () => {
  const { log, lines } = recorded('error');
  log.temporal.warn('Activity failed', ACTIVITY);
  log.temporal.log('INFO', 'x');
  log.announce('Worker on task queue spire-federator');
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
    'Worker on task queue spire-federator',
  ]);
  expect([logLevel({}), logLevel({ SPIRE_FEDERATOR_LOG_LEVEL: 'DEBUG' })]).toEqual(['info', 'debug']);
  expect(() => logLevel({ SPIRE_FEDERATOR_LOG_LEVEL: 'loud' })).toThrow(
    /SPIRE_FEDERATOR_LOG_LEVEL is loud; it can be trace, debug, info, warn, error\./,
  );
});
