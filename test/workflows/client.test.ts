import { applyOptionsSchema, federationFileSchema, setupMeshInputSchema } from '../../src/contract/change.js';
import { FederatorClient } from '../../src/client.js';
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

let recorded: RecordedActivities;
let environment: WorkflowEnvironment;
let client: FederatorClient;
let stopWorker: () => Promise<void>;

beforeAll(async () => {
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
  await expect(client.result(plan)).rejects.toMatchObject({ type: 'Cancelled' });
  await expect(client.describeChange('another', id)).rejects.toMatchObject({ type: 'NotFound' });
});
