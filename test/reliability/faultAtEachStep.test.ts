import type { ChangeResult, StepProgress } from '../../src/contract/change.js';
import { eventually } from '../../sandbox/kubernetes.js';
import { faultSteps, LOOP_MS, SAMPLE } from '../support/faultSteps.js';
import { runCancelled, runFailing, runKilled, stepsOf } from '../support/faultyChange.js';
import { snapshotCluster } from '../support/snapshot.js';
import { line, Testbed } from '../support/testbed.js';

const CLUSTERS = ['client-1', 'server-1'];
const FEDERATION = 'faulty';
const SETUP = ['start-workflow', 'setupPair', '--federation', FEDERATION, '--clusters', CLUSTERS.join(',')];
const MINUTES = 60_000;

const CHANGE = 'federation/faulty/change';

interface PendingActivity {
  attempt?: number;
  lastFailure?: unknown;
}

let testbed: Testbed;
let before: Record<string, unknown>[];
let steps: StepProgress[];

async function snapshot(): Promise<Record<string, unknown>[]> {
  return Promise.all(CLUSTERS.map((cluster) => snapshotCluster(testbed.directory, cluster)));
}

/** Which kinds of objects differ, as their URLs name them. */
function differing(after: Record<string, unknown> = {}, was: Record<string, unknown> = {}): string[] {
  const keys = [...new Set([...Object.keys(after), ...Object.keys(was)])];
  const changed = keys.filter((key) => JSON.stringify(after[key]) !== JSON.stringify(was[key]));
  return [...new Set(changed.map((key) => key.split(' ')[0]?.split('/').at(-1) ?? key))].sort();
}

beforeAll(async () => {
  testbed = await Testbed.start();
  before = await snapshot();
  const worker = await testbed.startWorker();
  steps = await stepsOf(testbed, SETUP);
  await testbed.stopWorker(worker);
}, 5 * MINUTES);

afterAll(async () => testbed.stop(), MINUTES);

test('the plan has steps, and planning changed nothing', async () => {
  expect(steps.length).toBeGreaterThan(15);
  expect(await snapshot()).toEqual(before);
});

test(
  `a failure of setupPair at ${SAMPLE} leaves both clusters as they were`,
  async () => {
    for (const { id } of faultSteps(steps)) {
      const { code, stderr } = await runFailing(testbed, SETUP, id);
      expect({ id, code }).toEqual({ id, code: 1 });
      expect(stderr).toContain('the fault that was asked for');
      expect(stderr).toContain('Every cluster is as it was before.');
      expect({ id, after: await snapshot() }).toEqual({ id, after: before });
    }
  },
  LOOP_MS,
);

test(
  `a cancellation of setupPair at ${SAMPLE} leaves both clusters as they were`,
  async () => {
    for (const { id } of faultSteps(steps, 1)) {
      expect({ id, code: await runCancelled(testbed, SETUP, id, FEDERATION) }).toEqual({ id, code: 1 });
      expect({ id, after: await snapshot() }).toEqual({ id, after: before });
    }
  },
  LOOP_MS,
);

test(
  'undos that fail for a while are tried until they succeed, also those that have taken effect',
  async () => {
    const worker = await testbed.startWorker({ step: 'verify', mode: 'fail', undo: 'twice' });
    const { code, stderr } = await testbed.federator(...SETUP);
    await testbed.stopWorker(worker);
    expect(code).toBe(1);
    expect(stderr).toContain('Every cluster is as it was before.');
    expect(await snapshot()).toEqual(before);
  },
  3 * MINUTES,
);

test(
  'an undo that cannot be done is named with its cause, all others are done, and a teardown does the rest',
  async () => {
    const worker = await testbed.startWorker({ step: 'verify', mode: 'fail', undo: 'restoreServer/client-1' });
    const { code, stderr } = await testbed.federator(...SETUP);
    await testbed.stopWorker(worker);
    expect(code).toBe(1);
    expect(stderr).toContain('the fault that was asked for');
    expect(stderr).not.toContain('Every cluster is as it was before.');
    const [, left = ''] = stderr.split('NOT undone, to be done by hand:\n');
    expect(left.match(/^- .*/gm)).toEqual([
      '- Restore server.conf and StatefulSet spire-server on client-1: the fault of the undo',
    ]);
    const after = await snapshot();
    expect(after[1]).toEqual(before[1]);
    expect(differing(after[0], before[0])).toEqual(['configmaps', 'pods', 'statefulsets']);

    const mending = await testbed.startWorker();
    const torn = await testbed.federator('teardown', '--federation', 'faulty', '--clusters', CLUSTERS.join(','));
    await testbed.stopWorker(mending);
    expect({ code: torn.code, stderr: torn.stderr }).toMatchObject({ code: 0 });
    expect(await snapshot()).toEqual(before);
  },
  3 * MINUTES,
);

test(
  'a cluster whose API server is away during the undo is put back once it answers again, and holds nobody back',
  async () => {
    const worker = await testbed.startWorker({ step: 'verify', mode: 'hang' });
    const change = testbed.startFederator(...SETUP);
    let stderr = '';
    change.stderr?.on('data', (chunk) => (stderr += String(chunk)));
    const ended = new Promise<number | null>((resolve) => change.once('exit', resolve));
    await line(worker.stdout, /^FAULT/);
    await testbed.addFault({ kind: 'api-down', cluster: 'server-1' });
    try {
      const cancelled = testbed.federator('cancel', 'faulty');
      expect((await cancelled).code).toBe(0);
      await eventually('its undo is tried in vain', async () => {
        const described = await testbed.temporal('workflow', 'describe', '-w', CHANGE, '--output', 'json');
        const { pendingActivities = [] } = JSON.parse(described) as { pendingActivities?: PendingActivity[] };
        const tried = pendingActivities.filter(
          ({ attempt = 1, lastFailure }) => attempt > 1 && lastFailure !== undefined,
        );
        expect(tried).not.toEqual([]);
      });
      const reached = () => snapshotCluster(testbed.directory, 'client-1');
      await eventually('the other cluster is as it was', async () => expect(await reached()).toEqual(before[0]));
      expect(change.exitCode).toBeNull();
    } finally {
      await testbed.heal();
    }
    expect(await ended).toBe(1);
    expect(stderr).toContain('Every cluster is as it was before.');
    await testbed.stopWorker(worker);
    expect(await snapshot()).toEqual(before);
  },
  6 * MINUTES,
);

test(
  `a worker killed in setupPair at ${SAMPLE} costs time and nothing else`,
  async () => {
    for (const { id } of faultSteps(steps, 2)) {
      await runKilled(testbed, [...SETUP, '--json'], id, async ({ code, stdout, stderr }) => {
        expect({ id, code, stderr }).toEqual({ id, code: 0, stderr: '' });
        expect((JSON.parse(stdout) as ChangeResult).changed).toBe(true);
        const verified = await testbed.federator('verify', '--federation', FEDERATION);
        expect({ id, code: verified.code }).toEqual({ id, code: 0 });
        const undone = await testbed.federator('teardown', '--federation', FEDERATION);
        expect({ id, code: undone.code }).toEqual({ id, code: 0 });
      });
      expect({ id, after: await snapshot() }).toEqual({ id, after: before });
    }
  },
  LOOP_MS,
);
