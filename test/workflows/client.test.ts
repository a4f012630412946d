import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import { federationMetrics } from '../../src/api/metrics.js';
import { toProblem } from '../../src/api/problem.js';
import { applyOptionsSchema, federationFileSchema, setupMeshInputSchema } from '../../src/contract/change.js';
import { FederatorClient } from '../../src/client.js';
import { HealthSchedules } from '../../src/client/healthSchedules.js';
import { scheduleId } from '../../src/contract/names.js';
import { healthScheduleSchema } from '../../src/contract/scheduledHealthSettings.js';
import { payloadEncryption } from '../../src/encryption/payloadEncryption.js';
import { federate, RecordedActivities } from '../support/recordedActivities.js';
import { eventually } from '../support/spireTrustDomain.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

const FEDERATION = 'demo';
const CLUSTERS = ['a', 'b'];
const SETUP = setupMeshInputSchema.parse({ federation: FEDERATION, clusters: CLUSTERS, probe: false, monitor: false });
const PLAN = {
  ...applyOptionsSchema.parse({ federation: FEDERATION, planOnly: true }),
  ...federationFileSchema.parse({ federation: FEDERATION, clusters: CLUSTERS }),
};

/** Temporal deletes in its own time. */
const DELETED_MS = 90_000;
/** Temporal notices a worker's end only after a while, each time somewhat later than it said. */
const NOTICED_MS = 300_000;

let recorded: RecordedActivities;
let environment: WorkflowEnvironment;
let client: FederatorClient;
let stopWorker: () => Promise<void>;

let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'client-test-'));
  recorded = new RecordedActivities(...CLUSTERS);
  federate(recorded, FEDERATION, ...CLUSTERS);
  environment = await WorkflowEnvironment.start();
  process.env['TEMPORAL_ADDRESS'] = environment.address;
  client = await FederatorClient.connect();
  stopWorker = await environment.serve(recorded.activities);
}, 120_000);

afterAll(async () => {
  await client.close();
  await stopWorker();
  await environment.stop();
  rmSync(folder, { recursive: true });
}, 60_000);

/** Has the next reading of facts wait. @returns what tells that it does, and what lets it go on */
function hold(): { held: Promise<void>; release: () => void } {
  let release = () => undefined as void;
  const released = new Promise<void>((resolve) => (release = resolve));
  const held = new Promise<void>((resolve) => {
    let isHeld = false;
    recorded.interfere = async ({ name }) => {
      if (name !== 'readFacts' || isHeld) return;
      isHeld = true;
      resolve();
      await released;
    };
  });
  return { held, release };
}

test('a plan is made while a change runs, and is none of the changes', async () => {
  const { held, release } = hold();
  const change = await client.startChange('setupMesh', SETUP);
  await held;
  const plan = await client.startChange('applyFederation', PLAN, 'viewer');
  expect(await client.result(plan)).toMatchObject({ planned: true, changed: false });
  expect(await client.findChange(FEDERATION)).toMatchObject({ runId: change.runId });
  release();
  expect(await client.result(change)).toMatchObject({ planned: false });
  await eventually(async () => {
    for (const which of [{}, { federation: FEDERATION }])
      expect(await client.listChanges({ ...which, limit: 5 })).toMatchObject([
        { runId: change.runId, status: 'COMPLETED' },
      ]);
  });
});

test('a change is made while a plan is, which is found and cancelled by its own ID', async () => {
  const { held, release } = hold();
  const plan = await client.startChange('applyFederation', PLAN, 'viewer');
  await held;
  const change = await client.startChange('setupMesh', SETUP);
  expect(await client.result(change)).toMatchObject({ planned: false });
  const id = plan.workflowId.split('/').at(-1) ?? '';
  const described = await client.describeChange(FEDERATION, id);
  expect(described).toMatchObject({ ...plan, status: 'RUNNING', planOnly: true, requestedBy: 'viewer' });
  await client.cancel(described);
  release();
  // The reading that was under way may have been its last.
  await client.result(plan).catch(() => undefined);
  await expect(client.cancel(described)).rejects.toMatchObject({ type: 'NotFound' });
  await expect(client.describeChange('another', id)).rejects.toMatchObject({ type: 'NotFound' });
});

test('what fails a look says also what may be told of it to who may not know of other federations', async () => {
  const text = { withoutOthers: expect.not.stringContaining(FEDERATION) as string };
  recorded.elsewhere = { [FEDERATION]: CLUSTERS };
  const strangers = recorded.strangers;
  recorded.strangers = CLUSTERS;
  try {
    await expect(client.verify({ federation: 'nowhere', clusters: [] })).rejects.toMatchObject({
      type: 'NotFound',
      message: expect.stringContaining(`${FEDERATION} (${CLUSTERS.join(', ')})`) as string,
      ...text,
    });
  } finally {
    recorded.strangers = strangers;
    recorded.elsewhere = {};
  }
});

test('who asks about some clusters is not given the answer about others', async () => {
  const { held, release } = hold();
  const some = client.verify({ federation: FEDERATION, clusters: ['a'] });
  await held;
  const all = client.verify({ federation: FEDERATION, clusters: [] });
  const same = client.verify({ federation: FEDERATION, clusters: ['a'] });
  release();
  const looks = await Promise.all([some, all, same]);
  expect(looks.map(({ clusters }) => clusters)).toEqual([['a'], CLUSTERS, ['a']]);
});

test('a schedule whose newest look is gone or unreadable is listed all the same', async () => {
  const encryption = payloadEncryption({
    SPIRE_FEDERATOR_PAYLOAD_KEYS: `k1:${Buffer.alloc(32, 1).toString('base64')}`,
  });
  const sealed = new HealthSchedules(environment.client(encryption));
  const settings = healthScheduleSchema.parse({ federation: FEDERATION, name: 'kept', every: '1d' });
  for (const name of ['kept', 'gone']) await client.healthSchedules.create({ ...settings, name });
  await sealed.create({ ...settings, name: 'sealed' });
  const listed = async () =>
    Object.fromEntries(
      (await client.healthSchedules.list()).map(({ name, when, last }) => [name, last?.status ?? when]),
    );
  for (const name of ['kept', 'gone']) await client.healthSchedules.trigger(FEDERATION, name);
  await eventually(async () => expect(await listed()).toMatchObject({ kept: 'COMPLETED', gone: 'COMPLETED' }));
  const { workflow, workflowService } = environment.client();
  const query = `WorkflowId STARTS_WITH "${scheduleId(FEDERATION, 'gone')}"`;
  await eventually(async () => {
    for await (const { workflowId } of workflow.list({ query }))
      return workflowService.deleteWorkflowExecution({ namespace: 'default', workflowExecution: { workflowId } });
    throw new Error('it is not listed yet');
  });
  await eventually(
    async () => expect(await listed()).toEqual({ kept: 'COMPLETED', gone: 'GONE', sealed: 'unreadable' }),
    DELETED_MS,
  );
});

/** The engine's own worker, which can be killed; its clusters are nowhere. */
function startWorker(): ChildProcess {
  const inventory = path.join(folder, 'inventory.yaml');
  const clusters = CLUSTERS.map((name) => ({ name, kubeconfig: { path: 'nowhere' } }));
  writeFileSync(inventory, stringify({ clusters }));
  const env = { ...process.env, SPIRE_FEDERATOR_INVENTORY: inventory };
  return spawn(process.execPath, ['dist/src/worker.js'], { env, stdio: 'ignore' });
}

const failureOf = (asked: Promise<unknown>) =>
  asked.then(
    () => undefined,
    (error: unknown) => error,
  );

test(
  'a killed worker is missed by whoever looks, and a new one counts at once',
  async () => {
    await stopWorker();
    stopWorker = () => Promise.resolve();
    const first = startWorker();
    const repair = { automatic: true, caChange: 'automatic' } as const;
    await eventually(() =>
      client.startMonitor({ federation: FEDERATION, clusters: CLUSTERS, refreshHintSeconds: 300, repair }),
    );
    await eventually(() => client.health(FEDERATION));
    first.kill('SIGKILL');
    await once(first, 'exit');
    // It still counts as there, so that is begun; nobody will ever do it.
    const verified = failureOf(client.verify({ federation: FEDERATION, clusters: CLUSTERS }));
    await eventually(
      async () =>
        expect(toProblem(await failureOf(client.health(FEDERATION)), '')).toMatchObject({
          title: 'NoWorker',
          status: 503,
        }),
      NOTICED_MS,
    );
    expect((await federationMetrics(client)).text).toContain(
      `spire_federator_monitor_unread{federation="${FEDERATION}"} 1`,
    );
    expect(await verified).toMatchObject({ type: 'NoWorker' });
    const second = startWorker();
    try {
      await eventually(() => client.health(FEDERATION));
      await client.ready();
    } finally {
      second.kill('SIGKILL');
      await once(second, 'exit');
    }
  },
  2 * NOTICED_MS,
);
