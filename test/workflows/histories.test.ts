import path from 'node:path';
import { DefaultLogger, makeTelemetryFilterString, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { workflowBundle } from '../../src/workflowBundle.js';
import * as workflows from '../../src/workflows/index.js';
import {
  commitHistory,
  committedHistories,
  dropHistories,
  tracesOfAMachine,
  type CommittedHistory,
  type History,
} from '../support/historyFiles.js';
import { SCENARIOS } from '../support/historyScenarios.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

/** `npm run histories` makes them anew, with the workflows as they are. */
const RECORDING = process.env['RECORD_HISTORIES'] === 'true';
/** Runs of one workflow type that are kept of a scenario: where one hands over to the next, the first and that one. */
const RUNS_KEPT = 2;
const ALL_BYTES = 1_000_000;

const bundle = workflowBundle({ encodedFailures: false, traces: false });
const worker = {
  workflowBundle: { codePath: path.resolve(__dirname, '../../dist', bundle) },
  replayName: 'histories',
};

async function replay(histories: readonly Pick<CommittedHistory, 'name' | 'history'>[]): Promise<Map<string, Error>> {
  const failed = new Map<string, Error>();
  const named = histories.map(({ name, history }) => ({ workflowId: name, history }));
  for await (const { workflowId, error } of Worker.runReplayHistories(worker, named))
    if (error !== undefined) failed.set(workflowId, error);
  return failed;
}

if (RECORDING) test('recording', record, 300_000);

async function record(): Promise<void> {
  const environment = await WorkflowEnvironment.start();
  try {
    dropHistories();
    for (const [name, { types, run }] of Object.entries(SCENARIOS)) {
      const { workflowId } = await run(environment, name);
      const kept = new Map<string, number>();
      for (const { type, history } of await environment.runsOf(workflowId, types)) {
        // What has a scenario of its own need not be kept again as a child.
        if (type !== types[0] && type in SCENARIOS) continue;
        const count = (kept.get(type) ?? 0) + 1;
        kept.set(type, count);
        const file = [name, ...(type === name ? [] : [type]), ...(count === 1 ? [] : [count])].join('-');
        if (count <= RUNS_KEPT) commitHistory(file, history);
      }
    }
  } finally {
    await environment.stop();
  }
}

describe('committed histories', () => {
  let histories: CommittedHistory[];
  beforeAll(() => {
    // What is noticed here on purpose need not be logged.
    const logging = { filter: makeTelemetryFilterString({ core: 'ERROR' }) };
    if (!RECORDING) Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging } });
    histories = committedHistories();
  });

  test('there is one of every kind of workflow', () => {
    expect([...new Set(histories.map(({ type }) => type))].sort()).toEqual(Object.keys(workflows).sort());
  });

  test('the workflows as they are come to the same commands', async () => {
    const failed = await replay(histories);
    expect([...failed].map(([name, { message }]) => `${name}: ${message}`)).toEqual([]);
  });

  test('other commands than those of a history are noticed', async () => {
    const failed = await replay(
      histories.map(({ name, history }) => ({ name, history: withAnotherActivity(history) })),
    );
    expect([...failed.keys()].sort()).toEqual(histories.map(({ name }) => name).sort());
    for (const error of failed.values()) expect(error).toBeInstanceOf(DeterminismViolationError);
  });

  test('they tell nothing of the machine that made them, and are small', () => {
    expect(histories.flatMap(tracesOfAMachine)).toEqual([]);
    const bytes = histories.reduce((sum, { bytes: each }) => sum + each, 0);
    expect(bytes).toBeLessThan(ALL_BYTES);
  });
});

/** As if the workflow had begun with another activity than it does now. */
function withAnotherActivity(history: History): History {
  const events = history.events ?? [];
  const first = events.findIndex(({ activityTaskScheduledEventAttributes: attributes }) => attributes);
  const attributes = {
    ...events[first]?.activityTaskScheduledEventAttributes,
    activityType: { name: 'doSomethingElse' },
  };
  return { events: events.with(first, { ...events[first], activityTaskScheduledEventAttributes: attributes }) };
}
