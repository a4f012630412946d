import { setTimeout as delay } from 'node:timers/promises';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { FederatorError } from '../../src/contract/errors.js';
import type { RefreshWindow, RotateWatchReport } from '../../src/contract/rotation.js';
import { rotateWatchInputSchema } from '../../src/contract/rotationSettings.js';
import { federate, RecordedActivities, type Interference } from '../support/recordedActivities.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

const FEDERATION = 'rotated';
const CLUSTERS = ['a', 'b', 'c'];

let environment: WorkflowEnvironment;
beforeAll(async () => {
  environment = await WorkflowEnvironment.start();
});
afterAll(async () => environment.stop());

const result = async (handle: WorkflowHandle) => (await handle.result()) as RotateWatchReport;

async function failure(handle: WorkflowHandle): Promise<Error | undefined> {
  try {
    await handle.result();
    return undefined;
  } catch (error) {
    if (error instanceof WorkflowFailedError) return error.cause;
    throw error;
  }
}

/** A log is followed for a while. */
const followSlowly: Interference = async ({ name }) => {
  if (name === 'followRefreshes') await delay(200);
};

/** A federation of three whose logs tell of a refresh of each peer with every window, the one before once more. */
function federation(): RecordedActivities {
  const recorded = new RecordedActivities(...CLUSTERS);
  federate(recorded, FEDERATION, ...CLUSTERS);
  const windows = new Map<string, number>();
  recorded.refreshes = ({ cluster, trustDomains }): RefreshWindow => {
    const window = (windows.get(cluster) ?? 0) + 1;
    windows.set(cluster, window);
    const times = [window - 1, window].filter((each) => each > 0).map((each) => each * 75_000);
    return {
      cluster,
      startedAt: 1,
      own: cluster,
      stored: Object.fromEntries(trustDomains.map((trustDomain) => [trustDomain, trustDomain.split('.')[0] ?? ''])),
      polls: times.flatMap((at) => trustDomains.map((trustDomain) => ({ at, trustDomain, ok: true }))),
    };
  };
  recorded.interfere = followSlowly;
  recorded.refreshed = () => ({ at: Date.now(), ok: true });
  return recorded;
}

const input = (more: object) => rotateWatchInputSchema.parse({ federation: FEDERATION, ...more });

test('counts the refreshes of every edge, each once, over several runs', async () => {
  const recorded = federation();
  const report = await environment.run(recorded, 'rotateWatch', input({ rotations: 6, windowsPerRun: 6 }), result);
  expect(report).toMatchObject({ state: 'finished', complete: true, failures: 0, gaps: [] });
  expect(report.edges).toHaveLength(6);
  for (const { refreshes, onDemand, intervals } of report.edges) {
    expect(refreshes).toBeGreaterThanOrEqual(6);
    expect(onDemand).toBe(0);
    expect(intervals).toEqual({
      count: refreshes - 1,
      minMs: 75_000,
      medianMs: 75_000,
      p95Ms: 75_000,
      maxMs: 75_000,
    });
  }
  expect(recorded.names.filter((name) => name === 'findMembers')).toHaveLength(1);
});

test('rotates a CA: all peers hold the next one, then it is activated, proven, and the old one revoked', async () => {
  const recorded = federation();
  const request = input({ rotate: { cluster: 'a', revoke: true, settleMs: 10_000 } });
  const report = await environment.run(recorded, 'rotateWatch', request, result);
  const order = recorded.calls
    .filter(({ name }) => /Authority$/.test(name))
    .map(({ name, cluster }) => `${name} ${cluster}`);
  expect([order[0], ...order.slice(1, 3).sort(), ...order.slice(3)]).toEqual([
    'prepareAuthority a',
    'awaitAuthority b',
    'awaitAuthority c',
    'activateAuthority a',
    'taintAuthority a',
    'revokeAuthority a',
  ]);
  expect(recorded.names.indexOf('awaitNoRepair')).toBeLessThan(recorded.names.indexOf('prepareAuthority'));
  const times = (each: object) =>
    Object.values(each).filter((value: unknown) => typeof value === 'number' && value > 1) as number[];
  expect(report.rotation).toMatchObject({ cluster: 'a', oldAuthority: 'old', newAuthority: 'next' });
  expect(report.rotation?.edges.map(({ trusting }) => trusting).sort()).toEqual(['b', 'c']);
  for (const edge of report.rotation?.edges ?? []) expect(times(edge)).toHaveLength(3);
}, 90_000);

test('refuses, with the old CA active, when a peer does not come to hold the next one', async () => {
  const recorded = federation();
  recorded.interfere = async (call) => {
    await followSlowly(call);
    if (call.name === 'awaitAuthority' && call.cluster === 'c')
      throw new FederatorError('InvalidInput', 'c: the key is not in it');
  };
  const request = input({ rotate: { cluster: 'a', revoke: true } });
  const cause = await environment.run(recorded, 'rotateWatch', request, failure);
  expect(cause).toMatchObject({ type: 'NotReady' });
  expect(cause?.message).toMatch(/c does not hold the next one[^]*c: the key is not in it[^]*old CA stays active/);
  expect(recorded.names).not.toContain('activateAuthority');
  expect(recorded.names).not.toContain('revokeAuthority');
}, 90_000);

test('refuses for a cluster that is no member', async () => {
  const cause = await environment.run(federation(), 'rotateWatch', input({ rotate: { cluster: 'stranger' } }), failure);
  expect(cause).toMatchObject({ type: 'NotFound' });
  expect(cause?.message).toContain('stranger is not a member of federation rotated');
});

test('every history replays to the same commands', async () => {
  expect(await environment.replayAll()).toBe(4);
});
