import type { ChangeResult, StepProgress } from '../../src/contract/change.js';
import { snapshotCluster } from '../support/snapshot.js';
import { line, Testbed } from '../support/testbed.js';

const CLUSTERS = ['client-1', 'server-1'];
const SETUP = ['start-workflow', 'setupPair', '--federation', 'faulty', '--clusters', CLUSTERS.join(',')];
const MINUTES = 60_000;

let testbed: Testbed;
let before: Record<string, unknown>[];
let steps: StepProgress[];

async function snapshot(): Promise<Record<string, unknown>[]> {
  return Promise.all(CLUSTERS.map((cluster) => snapshotCluster(testbed.directory, cluster)));
}

beforeAll(async () => {
  testbed = await Testbed.start();
  before = await snapshot();
  const worker = await testbed.startWorker();
  const plan = await testbed.federator(...SETUP, '--plan', '--json');
  await testbed.stopWorker(worker);
  steps = (JSON.parse(plan.stdout) as ChangeResult).steps.filter(({ action }) => action !== 'none');
}, 3 * MINUTES);

afterAll(async () => testbed.stop(), MINUTES);

test('the plan has steps, and planning changed nothing', async () => {
  expect(steps.length).toBeGreaterThan(15);
  expect(await snapshot()).toEqual(before);
});

test(
  'a failure at any step leaves both clusters as they were',
  async () => {
    for (const { id } of steps) {
      const worker = await testbed.startWorker({ step: id, mode: 'fail' });
      const { code, stderr } = await testbed.federator(...SETUP);
      await testbed.stopWorker(worker);
      expect({ id, code }).toEqual({ id, code: 1 });
      expect(stderr).toContain('the fault that was asked for');
      expect(stderr).toContain('Every cluster is as it was before.');
      expect({ id, after: await snapshot() }).toEqual({ id, after: before });
    }
  },
  15 * MINUTES,
);

test(
  'a cancellation at any step leaves both clusters as they were',
  async () => {
    for (const { id } of steps) {
      const worker = await testbed.startWorker({ step: id, mode: 'hang' });
      const change = testbed.startFederator(...SETUP);
      const ended = new Promise<number | null>((resolve) => change.once('exit', resolve));
      await line(worker.stdout, /^FAULT/);
      const cancelled = await testbed.federator('cancel', 'faulty');
      expect({ id, code: cancelled.code }).toEqual({ id, code: 0 });
      expect({ id, code: await ended }).toEqual({ id, code: 1 });
      await testbed.stopWorker(worker);
      expect({ id, after: await snapshot() }).toEqual({ id, after: before });
    }
  },
  20 * MINUTES,
);

test(
  'a worker killed at any step costs time and nothing else',
  async () => {
    for (const { id } of steps) {
      const doomed = await testbed.startWorker({ step: id, mode: 'kill' });
      const killed = new Promise((resolve) => doomed.once('exit', (_code, signal) => resolve(signal)));
      const change = testbed.federator(...SETUP, '--json');
      expect({ id, signal: await killed }).toEqual({ id, signal: 'SIGKILL' });
      const worker = await testbed.startWorker();
      const { code, stdout, stderr } = await change;
      expect({ id, code, stderr }).toEqual({ id, code: 0, stderr: '' });
      expect((JSON.parse(stdout) as ChangeResult).changed).toBe(true);
      const verified = await testbed.federator('verify', '--federation', 'faulty');
      expect({ id, code: verified.code }).toEqual({ id, code: 0 });
      const undone = await testbed.federator('teardown', '--federation', 'faulty');
      expect({ id, code: undone.code }).toEqual({ id, code: 0 });
      await testbed.stopWorker(worker);
      expect({ id, after: await snapshot() }).toEqual({ id, after: before });
    }
  },
  30 * MINUTES,
);
