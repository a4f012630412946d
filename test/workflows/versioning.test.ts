import { setTimeout as delay } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { Worker } from '@temporalio/worker';
import type { ReadClusterRequest } from '../../src/contract/activities.js';
import { deploymentOptions } from '../../src/config.js';
import { setupPairInputSchema } from '../../src/contract/change.js';
import type { FederationHealth } from '../../src/contract/health.js';
import { HEALTH_QUERY, STOP_SIGNAL, type MonitorSettings } from '../../src/contract/monitor.js';
import { federate, RecordedActivities } from '../support/recordedActivities.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

const FEDERATION = 'upgraded';
const DEPLOYMENT = 'spire-federator-test';
const SETUP = setupPairInputSchema.parse({ federation: FEDERATION, clusters: ['a', 'b'], probe: false });
const MONITOR: MonitorSettings = {
  federation: FEDERATION,
  clusters: ['a', 'b'],
  refreshHintSeconds: 300,
  intervalSeconds: 0.3,
  repair: { automatic: true, caChange: 'automatic' },
};

let environment: WorkflowEnvironment;
beforeAll(async () => {
  environment = await WorkflowEnvironment.start();
});
afterAll(async () => environment.stop());

/** Build IDs of the versions that did a workflow's tasks, in their order, each once; and how often a task failed. */
async function tasksOf(handle: WorkflowHandle): Promise<{ versions: string[]; failures: number }> {
  const { events = [] } = await handle.fetchHistory();
  const versions = (events ?? []).flatMap(
    ({ workflowTaskCompletedEventAttributes: done }) => done?.deploymentVersion?.buildId ?? [],
  );
  return {
    versions: versions.filter((version, index) => version !== versions[index - 1]),
    failures: (events ?? []).filter((event) => event.workflowTaskFailedEventAttributes).length,
  };
}

/** Waits for what must come soon; a hang says what did not. */
async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`not within 30 s: ${what}`);
    await delay(50);
  }
}

const rounds = async (handle: WorkflowHandle) => (await handle.query<FederationHealth>(HEALTH_QUERY)).rounds;

test('a change ends on the version on which it began, new ones begin on the next, and the monitor moves on', async () => {
  const watched = new RecordedActivities('a', 'b');
  federate(watched, FEDERATION, 'a', 'b');
  const recorded = new RecordedActivities('a', 'b');
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  let begun = () => {};
  const hasBegun = new Promise<void>((resolve) => (begun = resolve));
  recorded.interfere = async ({ name, cluster }) => {
    if (name !== 'configureServer' || cluster !== 'b') return;
    begun();
    await released;
  };
  // What the monitor reads is another federation's state than what the setup makes.
  const activities = {
    ...recorded.activities,
    readCluster: (request: ReadClusterRequest) => watched.activities.readCluster(request),
  };
  const workers: { worker: Worker; ended: Promise<void> }[] = [];
  const start = async (buildId: string) => {
    const deployment = deploymentOptions('0.0.0', {
      SPIRE_FEDERATOR_DEPLOYMENT: DEPLOYMENT,
      SPIRE_FEDERATOR_BUILD_ID: buildId,
    });
    if (deployment === undefined) throw new Error('no deployment');
    const worker = await environment.versionedWorker(DEPLOYMENT, deployment, activities);
    workers.push({ worker, ended: worker.run() });
    await environment.makeCurrent(deployment.version);
    return worker;
  };
  const begin = (type: string, input: object, workflowId: string) =>
    environment.client().workflow.start(type, { taskQueue: DEPLOYMENT, workflowId, args: [input] });
  try {
    // As it is before versions are used: what began without any goes to the first that is current.
    const unversioned = await environment.versionedWorker(DEPLOYMENT, undefined, activities);
    workers.push({ worker: unversioned, ended: unversioned.run() });
    const before = await begin('monitor', MONITOR, 'before');
    await until('a monitor runs', async () => (await rounds(before)) >= 1);
    const old = await start('A');
    await until('it is on A', async () => (await tasksOf(before)).versions.at(-1) === 'A');
    unversioned.shutdown();
    await before.signal(STOP_SIGNAL);
    await before.result();

    const monitor = await begin('monitor', MONITOR, 'monitor');
    await until('the monitor runs', async () => (await rounds(monitor)) >= 1);
    const first = await begin('setupPair', SETUP, 'first');
    await hasBegun;

    expect(await tasksOf(monitor)).toEqual({ versions: ['A'], failures: 0 });

    await start('B');
    await until('the monitor is on B', async () => (await tasksOf(monitor)).versions.at(-1) === 'B');
    release();
    expect(await first.result()).toMatchObject({ changed: true });
    const second = await begin('setupPair', { ...SETUP, planOnly: true }, 'second');
    await second.result();
    expect(await tasksOf(first)).toEqual({ versions: ['A'], failures: 0 });
    expect(await tasksOf(second)).toEqual({ versions: ['B'], failures: 0 });

    // Nothing is left to do for the old version.
    old.shutdown();
    const seen = await rounds(monitor);
    await until('the monitor goes on without A', async () => (await rounds(monitor)) >= seen + 2);
    await monitor.signal(STOP_SIGNAL);
    await monitor.result();
    expect(await tasksOf(monitor)).toEqual({ versions: ['A', 'B'], failures: 0 });
  } finally {
    release();
    for (const { worker } of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await Promise.all(workers.map(({ ended }) => ended));
  }
});
