import type { Finding, RepairRecord } from '../../src/contract/health.js';
import { REPAIR_SIGNAL, type RepairInput } from '../../src/contract/monitor.js';
import { durationSeconds } from '../../src/contract/serverConf.js';
import { freshCluster } from '../support/freshCluster.js';
import { federate, RecordedActivities } from '../support/recordedActivities.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

const FEDERATION = 'mended';
const CLUSTERS = ['a', 'b'];

let environment: WorkflowEnvironment;

beforeAll(async () => {
  environment = await WorkflowEnvironment.start();
}, 120_000);

afterAll(async () => {
  await environment.stop();
});

function federation(): RecordedActivities {
  const recorded = new RecordedActivities(...CLUSTERS);
  federate(recorded, FEDERATION, ...CLUSTERS);
  return recorded;
}

const finding = (check: string, scope: string, action: Finding['action'] = 'restore'): Finding => ({
  check,
  scope,
  evidence: 'as seen',
  remedy: 'none needed',
  ...(action === undefined ? {} : { action }),
});

/** Has findings mended, as the monitor asks for it, by the trust domains that it knows. */
function mended(
  recorded: RecordedActivities,
  findings: Finding[],
  more: Partial<RepairInput> = {},
): Promise<RepairRecord[]> {
  const members = CLUSTERS.map((cluster) => ({
    cluster,
    trustDomain: `${cluster}.test`,
    endpointUrl: `https://federation.${cluster}.test`,
  }));
  const request: RepairInput = { federation: FEDERATION, members, findings, ...more };
  const signal = { name: REPAIR_SIGNAL, args: [request] };
  return environment.run(
    recorded,
    'repair',
    { federation: FEDERATION },
    (handle) => handle.result() as Promise<RepairRecord[]>,
    { signal },
  );
}

/** Puts a server.conf back to what it was before any federation. */
function revert(recorded: RecordedActivities, cluster: string): void {
  const { serverConf, statefulSet } = freshCluster(cluster);
  recorded.change(cluster, { serverConf, statefulSet });
}

test('what was put back is healed', async () => {
  const recorded = federation();
  recorded.change('a', { relationships: [] });
  const records = await mended(recorded, [finding('relationship', 'a←b')]);
  expect(records).toMatchObject([{ findingId: 'relationship@a←b', outcome: 'healed' }]);
});

test('an edge whose peer cannot be read is not healed: that could not be told', async () => {
  const recorded = new RecordedActivities('a');
  recorded.change('a', federation().facts('a'));
  const [record] = await mended(recorded, [finding('neverBootstrapped', 'a←b', 'rebootstrap')]);
  expect(record).toMatchObject({ outcome: 'failed' });
  expect(record?.evidenceAfter).toMatch(/could not be told: edge: b could not be read/);
  expect(recorded.names).not.toContain('applyRelationships');
});

test('the settings of a member are not mended without a peer of which nothing is known yet', async () => {
  const recorded = new RecordedActivities('a');
  recorded.change('a', federation().facts('a'));
  revert(recorded, 'a');
  const members = [{ cluster: 'a', trustDomain: 'a.test' }, { cluster: 'b' }];
  const [record] = await mended(recorded, [finding('server-conf', 'a', 'restart')], { members });
  expect(record).toMatchObject({ outcome: 'failed' });
  expect(record?.evidenceAfter).toMatch(/of b not even the trust domain is known/);
  expect(recorded.names).not.toContain('configureServer');
});

test('what a change that began kept from being done is not healed', async () => {
  const recorded = federation();
  recorded.interfere = ({ name }) => {
    // It begins after the repair has asked for the first time.
    if (name === 'engineState' && recorded.names.includes(name)) recorded.changing = 'addCluster';
  };
  const records = await mended(recorded, [finding('pollerStalled', 'a←b', 'restart'), finding('server-conf', 'b')]);
  expect(records).toMatchObject([
    { outcome: 'failed', evidenceAfter: expect.stringContaining('nothing was done about it') as string },
    { outcome: 'passed' },
  ]);
  expect(recorded.names).not.toContain('restartServer');
});

test('a member that says to be of another trust domain changes nothing on its peers', async () => {
  const recorded = federation();
  const { serverConf } = recorded.facts('b');
  recorded.change('b', { trustDomain: 'other.test', serverConf: { ...serverConf, trustDomain: 'other.test' } });
  const asked: string[] = [];
  recorded.interfere = ({ name, cluster }) => {
    if (name === 'configureServer' || name === 'applyRelationships') asked.push(`${name} ${cluster}`);
  };
  const found = [finding('neverBootstrapped', 'a←b', 'rebootstrap'), finding('relationship', 'a←b')];
  const records = await mended(recorded, found);
  expect(asked).toEqual([]);
  expect(records.map(({ outcome }) => outcome)).toEqual(['failed', 'failed']);
});

test('a server.conf that is lost on all members comes back with the refresh hint that the federation had', async () => {
  const recorded = federation();
  for (const cluster of CLUSTERS) revert(recorded, cluster);
  const hints = () =>
    CLUSTERS.map((cluster) => durationSeconds(recorded.facts(cluster).serverConf.bundleEndpoint?.refreshHint));
  const found = CLUSTERS.map((cluster) => finding('server-conf', cluster, 'restart'));
  const records = await mended(recorded, found, { refreshHintSeconds: 60 });
  expect(records.map(({ outcome }) => outcome)).toEqual(['healed', 'healed']);
  expect(hints()).toEqual([60, 60]);
});

test('the refresh hint that a member has still counts, not what the monitor was told', async () => {
  const recorded = federation();
  const { bundleEndpoint } = recorded.facts('b').serverConf;
  const kept = durationSeconds(bundleEndpoint?.refreshHint);
  expect(kept).toBeDefined();
  revert(recorded, 'a');
  await mended(recorded, [finding('server-conf', 'a', 'restart')], { refreshHintSeconds: 60 });
  expect(durationSeconds(recorded.facts('a').serverConf.bundleEndpoint?.refreshHint)).toBe(kept);
});

test('a mesh stays one, whatever most annotations say of a hub: they are put right', async () => {
  const clusters = [...CLUSTERS, 'c'];
  const recorded = new RecordedActivities(...clusters);
  federate(recorded, FEDERATION, ...clusters);
  for (const cluster of ['a', 'c']) {
    const relationships = recorded.facts(cluster).relationships.map((each) => ({ ...each, hub: 'b.test' }));
    recorded.change(cluster, { relationships });
  }
  const members = clusters.map((cluster) => ({ cluster, trustDomain: `${cluster}.test` }));
  const found = ['a←b', 'a←c', 'c←a', 'c←b'].map((scope) => finding('relationship', scope));
  const records = await mended(recorded, found, { members, topology: 'mesh' });
  expect(records.map(({ outcome }) => outcome)).toEqual(['healed', 'healed', 'healed', 'healed']);
  expect(clusters.flatMap((cluster) => recorded.facts(cluster).relationships.flatMap(({ hub }) => hub ?? []))).toEqual(
    [],
  );
  expect(recorded.names).not.toContain('configureServer');
});

test('every history replays', async () => {
  expect(await environment.replayAll()).toBeGreaterThan(5);
});
