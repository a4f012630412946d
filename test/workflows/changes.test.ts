import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { WorkflowFailedError, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import {
  setupPairInputSchema,
  teardownInputSchema,
  type ChangeProgress,
  type ChangeResult,
} from '../../src/contract/change.js';
import type { FederatorActivities } from '../../src/contract/activities.js';
import { changeWorkflowId, PROGRESS_QUERY } from '../../src/contract/names.js';
import { onboardInputSchema } from '../../src/contract/onboarding.js';
import type { VerifyResult } from '../../src/contract/verify.js';
import { payloadEncryption } from '../../src/encryption/payloadEncryption.js';
import { planSetup, planSteps } from '../../src/federation/plan.js';
import { resolveSettings } from '../../src/federation/settings.js';
import { CodecServer } from '../support/codecServer.js';
import { encryptedPayloads, fieldsWith } from '../support/readableFields.js';
import { temporalMetrics } from '../../src/metrics.js';
import { freePort } from '../../sandbox/ports.js';
import { dashboard, temporalMetricNames } from '../support/dashboard.js';
import { freshCluster } from '../support/freshCluster.js';
import { federate, RecordedActivities, type Call } from '../support/recordedActivities.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

const FEDERATION = 'demo';
const SETUP = setupPairInputSchema.parse({ federation: FEDERATION, clusters: ['a', 'b'], timeouts: { attempts: 3 } });
const FRESH = ['a', 'b'].map(freshCluster);
const STEPS = planSteps(planSetup({ ...SETUP, ...resolveSettings(SETUP, FEDERATION, FRESH) }, FRESH))
  .filter(({ action }) => action !== 'none')
  .map(({ id }) => id);

/** Undos by the order in which they must come on each cluster. */
const UNDO_ORDER: (keyof FederatorActivities)[] = [
  'removeProbe',
  'removeRelationships',
  'restoreServer',
  'restoreObject',
];

/** Of a server that is not known to run: relationships can be removed when it runs as before. */
const UNDO_ORDER_OF_STOPPED: typeof UNDO_ORDER = ['restoreServer', 'removeRelationships', 'restoreObject'];

let environment: WorkflowEnvironment;
let metrics: string;
beforeAll(async () => {
  metrics = `127.0.0.1:${await freePort()}`;
  environment = await WorkflowEnvironment.start(temporalMetrics(metrics, 'its address'));
});
afterAll(async () => environment.stop());

const result = async (handle: WorkflowHandle) => (await handle.result()) as ChangeResult;

/** What failed the workflow. */
async function failure(handle: WorkflowHandle): Promise<Error | undefined> {
  try {
    await handle.result();
    return undefined;
  } catch (error) {
    if (error instanceof WorkflowFailedError) return error.cause;
    throw error;
  }
}

const isAt = (step: string) => (call: Call) => call.id === step || call.id.startsWith(`${step}/`);

/** Undos are registered before their step, so the step that failed is undone too; and everything that came before it. */
function expectUndone(recorded: RecordedActivities, from: number): void {
  for (const member of ['a', 'b']) {
    const isOf = ({ cluster }: Call) => cluster === member;
    const undos = recorded.calls.slice(from).filter((call) => isOf(call) && UNDO_ORDER.includes(call.name));
    const runs = recorded.calls.slice(0, from).some((call) => isOf(call) && call.name === 'readBundle');
    const wanted = runs ? UNDO_ORDER : UNDO_ORDER_OF_STOPPED;
    const order = undos.map(({ name }) => wanted.indexOf(name));
    expect(order).toEqual([...order].sort((a, b) => a - b));
  }
  const done = (name: keyof FederatorActivities) =>
    new Set(
      recorded.calls
        .slice(0, from)
        .filter((call) => call.name === name)
        .map(({ cluster }) => cluster),
    );
  const undone = (name: keyof FederatorActivities) =>
    new Set(
      recorded.calls
        .slice(from)
        .filter((call) => call.name === name)
        .map(({ cluster }) => cluster),
    );
  for (const cluster of done('applyObject')) expect(undone('restoreObject')).toContain(cluster);
  for (const cluster of done('configureServer')) expect(undone('restoreServer')).toContain(cluster);
  for (const cluster of done('applyRelationships')) expect(undone('removeRelationships')).toContain(cluster);
  for (const cluster of done('deployProbe')) expect(undone('removeProbe')).toContain(cluster);
}

describe('setupPair', () => {
  test.each([{}, { maxCachedWorkflows: 0 }])('takes the steps in order, with gates between (%j)', async (worker) => {
    const recorded = new RecordedActivities('a', 'b');
    const outcome = await environment.run(recorded, 'setupPair', SETUP, result, worker);
    expect(outcome).toMatchObject({ changed: true, planned: false });
    const taken = outcome.steps.filter(({ action }) => action !== 'none');
    expect(taken.map(({ id }) => id)).toEqual(STEPS);
    expect(new Set(taken.map(({ state }) => state))).toEqual(new Set(['done']));
    const last = (name: keyof FederatorActivities) => recorded.names.lastIndexOf(name);
    const first = (name: keyof FederatorActivities) => recorded.names.indexOf(name);
    const order = recorded.calls.map(({ name, cluster }) => `${name} ${cluster}`);
    for (const [cluster, peer] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const at = (name: keyof FederatorActivities, where: string) => order.indexOf(`${name} ${where}`);
      expect(at('awaitEndpointUrl', peer)).toBeLessThan(at('configureServer', cluster));
      expect(at('configureServer', cluster)).toBeLessThan(at('rolloutServer', cluster));
      expect(at('readBundle', peer)).toBeLessThan(at('applyRelationships', cluster));
      expect(at('readBundle', cluster)).toBeLessThan(at('awaitBundles', cluster));
      expect(at('applyRelationships', cluster)).toBeLessThan(at('awaitBundles', cluster));
    }
    expect(last('awaitBundles')).toBeLessThan(first('deployProbe'));
    expect(last('deployProbe')).toBeLessThan(first('runProbe'));
    expect(last('runProbe')).toBeLessThan(first('removeProbe'));
    expect(recorded.names).not.toContain('restoreServer');
  });

  test('plans without changing anything', async () => {
    const recorded = new RecordedActivities('a', 'b');
    const outcome = await environment.run(recorded, 'setupPair', { ...SETUP, planOnly: true }, result);
    expect(outcome).toMatchObject({ planned: true, changed: true });
    expect(new Set(recorded.names)).toEqual(new Set(['readFacts', 'findMembers']));
  });

  test('changes nothing on a finished federation', async () => {
    const recorded = new RecordedActivities('a', 'b');
    federate(recorded, FEDERATION, 'a', 'b');
    const outcome = await environment.run(recorded, 'setupPair', SETUP, result);
    expect(outcome.changed).toBe(false);
    expect(new Set(recorded.names)).toEqual(new Set(['readFacts', 'awaitNoRepair', 'readBundle', 'watchOver']));
  });

  test('reports what stands in the way on all clusters at once, and touches none', async () => {
    const recorded = new RecordedActivities('a', 'b');
    recorded.change('b', { trustDomain: 'a.test', federation: 'other' });
    const cause = await environment.run(recorded, 'setupPair', SETUP, failure);
    expect(cause).toMatchObject({ type: 'PreflightFailed' });
    expect(cause?.message).toMatch(
      /2 things stand in the way; nothing was changed[^]*same trust domain[^]*member of federation other/,
    );
    expect(new Set(recorded.names)).toEqual(new Set(['awaitNoRepair', 'readFacts', 'findMembers']));
  });

  test('tries a step again that fails for a reason that passes', async () => {
    const recorded = new RecordedActivities('a', 'b');
    recorded.interfere = ({ id, attempt }) => {
      if (id === 'readBundle/a' && attempt < 3) throw ApplicationFailure.retryable('not yet', 'EndpointUnreachable');
    };
    const outcome = await environment.run(recorded, 'setupPair', SETUP, result);
    expect(outcome.changed).toBe(true);
    expect(recorded.calls.find(({ id }) => id === 'readBundle/a')?.attempt).toBe(3);
  });

  test('gives up after the attempts it was given, and undoes', async () => {
    const recorded = new RecordedActivities('a', 'b');
    let tries = 0;
    recorded.interfere = ({ id }) => {
      if (id !== 'readBundle/a') return;
      tries++;
      throw ApplicationFailure.retryable('never', 'EndpointUnreachable');
    };
    const cause = await environment.run(recorded, 'setupPair', SETUP, failure);
    expect(tries).toBe(3);
    expect(cause?.message).toBe('never\nEvery cluster is as it was before.');
    expectUndone(recorded, recorded.names.indexOf('restoreServer'));
  });

  test.each(STEPS)('undoes everything in order when %s fails for good', async (step) => {
    const recorded = new RecordedActivities('a', 'b');
    let failedAt = -1;
    recorded.interfere = (call) => {
      if (!isAt(step)(call)) return;
      if (failedAt < 0) failedAt = recorded.calls.length;
      throw ApplicationFailure.nonRetryable('no', 'Forbidden');
    };
    const cause = await environment.run(recorded, 'setupPair', SETUP, failure);
    expect(cause).toBeInstanceOf(ApplicationFailure);
    expect(cause).toMatchObject({ type: 'Forbidden', message: 'no\nEvery cluster is as it was before.' });
    const firstUndo = recorded.calls.findIndex(({ name, id }) => UNDO_ORDER.includes(name) && !STEPS.includes(id));
    expect(failedAt).toBeGreaterThanOrEqual(0);
    expectUndone(recorded, firstUndo < 0 ? recorded.calls.length : firstUndo);
    expect(recorded.names.filter((name) => name === 'restoreObject').length).toBeGreaterThan(0);
  });

  test.each(STEPS)('undoes everything when it is cancelled during %s, after that step has ended', async (step) => {
    const recorded = new RecordedActivities('a', 'b');
    let reached: () => void = () => undefined;
    const hanging = new Promise<void>((resolve) => (reached = resolve));
    let ended = false;
    recorded.interfere = async (call) => {
      if (!isAt(step)(call)) return;
      reached();
      const beat = setInterval(() => Context.current().heartbeat(), 100);
      try {
        await Context.current().cancelled;
      } finally {
        clearInterval(beat);
        ended = true;
      }
    };
    const cause = await environment.run(recorded, 'setupPair', SETUP, async (handle) => {
      await hanging;
      await handle.cancel();
      return failure(handle);
    });
    expect(cause).toMatchObject({
      type: 'Cancelled',
      message: 'The change was cancelled.\nEvery cluster is as it was before.',
    });
    expect(ended).toBe(true);
    expect(recorded.names).toContain('restoreObject');
  });

  test('tries an undo again until it succeeds, and shows it in its progress', async () => {
    const recorded = new RecordedActivities('a', 'b');
    recorded.interfere = async ({ id, name, attempt }) => {
      if (id === 'applyRelationships/a') {
        // On the other member all is done by then, and has to be undone.
        while (!recorded.calls.some((call) => call.id === 'applyRelationships/b')) await delay(20);
        throw ApplicationFailure.nonRetryable('no', 'Forbidden');
      }
      if (name === 'restoreServer' && attempt < 3) throw ApplicationFailure.retryable('not yet', 'ClusterUnreachable');
    };
    const { cause, progress } = await environment.run(recorded, 'setupPair', SETUP, async (handle) => ({
      cause: await failure(handle),
      progress: await handle.query<ChangeProgress>(PROGRESS_QUERY),
    }));
    expect(cause?.message).toContain('Every cluster is as it was before.');
    expect(recorded.calls.filter(({ name }) => name === 'restoreServer').map(({ attempt }) => attempt)).toEqual([3, 3]);
    expect(progress.steps.find(({ id }) => id === 'applyRelationships/a')?.state).toBe('failed');
    expect(progress.steps.filter(({ state }) => state === 'undone').length).toBeGreaterThanOrEqual(8);
  });

  test('tries an undo again that was refused, as by an API server that has just started', async () => {
    const recorded = new RecordedActivities('a', 'b');
    const refused = new Set<string>();
    recorded.interfere = ({ id, name, cluster }) => {
      if (id === 'readBundle/a') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
      if (name !== 'restoreServer' || refused.has(cluster)) return;
      refused.add(cluster);
      throw ApplicationFailure.nonRetryable('not yet', 'Forbidden');
    };
    const cause = await environment.run(recorded, 'setupPair', SETUP, failure);
    expect(cause?.message).toBe('no\nEvery cluster is as it was before.');
    expect([...refused].sort()).toEqual(['a', 'b']);
  });

  test('an undo that cannot be done is named, with what is left to do by hand', async () => {
    const recorded = new RecordedActivities('a', 'b');
    recorded.interfere = ({ id, name, cluster }) => {
      if (id === 'readBundle/a') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
      if (name === 'restoreServer' && cluster === 'b') throw ApplicationFailure.nonRetryable('gone', 'NotFound');
    };
    const cause = await environment.run(recorded, 'setupPair', SETUP, failure);
    expect(cause).toMatchObject({ type: 'UndoFailed' });
    expect(cause?.message).toMatch(
      /^no\nNOT undone, to be done by hand:\n- Restore server\.conf and StatefulSet spire-server on b: gone$/,
    );
    expect(recorded.names.filter((name) => name === 'restoreObject')).toHaveLength(4);
  });
});

describe('teardown', () => {
  const input = teardownInputSchema.parse({ federation: FEDERATION });

  test("goes in SPIRE's order on each member", async () => {
    const recorded = new RecordedActivities('a', 'b');
    federate(recorded, FEDERATION, 'a', 'b');
    const outcome = await environment.run(recorded, 'teardown', input, result);
    expect(outcome.changed).toBe(true);
    for (const cluster of ['a', 'b']) {
      const names = recorded.calls.filter((call) => call.cluster === cluster).map(({ name }) => name);
      expect(names).toEqual([
        'readFacts',
        'removeRelationships',
        'removeFederationFromServer',
        'restoreObject',
        'restoreObject',
      ]);
    }
  });

  test('has nothing to do where nothing is', async () => {
    const recorded = new RecordedActivities('a', 'b');
    const outcome = await environment.run(recorded, 'teardown', input, result);
    expect(outcome.changed).toBe(false);
    expect(new Set(recorded.names)).toEqual(new Set(['findMembers', 'readFacts', 'stopWatching', 'awaitNoRepair']));
  });
});

describe('onboardCluster, whose join fails', () => {
  const input = onboardInputSchema.parse({ cluster: 'c', joinFederation: FEDERATION, probe: false });
  const joining = () => {
    const recorded = new RecordedActivities('a', 'b', 'c');
    federate(recorded, FEDERATION, 'a', 'b');
    recorded.strangers = ['c'];
    return recorded;
  };
  const refuse = ({ id }: Call) => {
    if (id === 'readBundle/c') throw ApplicationFailure.nonRetryable('no', 'Forbidden');
  };

  test('takes the cluster out of the inventory again once all is undone', async () => {
    const recorded = joining();
    recorded.interfere = refuse;
    const cause = await environment.run(recorded, 'onboardCluster', input, failure);
    expect(cause).toMatchObject({ type: 'Forbidden' });
    expect(cause?.message).toMatch(/as it was before\.\nc was taken out of the inventory again\.$/);
    expect(recorded.names.at(-1)).toBe('forgetCluster');
  });

  test('keeps the credentials by which what is not undone can be', async () => {
    const recorded = joining();
    recorded.interfere = (call) => {
      refuse(call);
      if (call.name === 'restoreServer' && call.cluster === 'c')
        throw ApplicationFailure.nonRetryable('gone', 'NotFound');
    };
    const cause = await environment.run(recorded, 'onboardCluster', input, failure);
    expect(cause).toMatchObject({ type: 'UndoFailed' });
    expect(cause?.message).toMatch(/NOT undone[^]*gone\nc stays in the inventory/);
    expect(recorded.names).not.toContain('forgetCluster');
  });

  test('keeps them when somebody terminates the change, which then undoes nothing', async () => {
    const recorded = joining();
    recorded.interfere = async ({ id }) => {
      if (id !== 'readBundle/c') return;
      await environment.client().workflow.getHandle(changeWorkflowId(FEDERATION)).terminate();
      throw ApplicationFailure.nonRetryable('no', 'Forbidden');
    };
    const cause = await environment.run(recorded, 'onboardCluster', input, failure);
    expect(cause).toMatchObject({ type: 'UndoFailed' });
    expect(cause?.message).toMatch(/without undoing anything: Terminated\.\nc stays in the inventory/);
    expect(recorded.names).not.toContain('forgetCluster');
  });
});

test('verify reads and judges', async () => {
  const recorded = new RecordedActivities('a', 'b');
  federate(recorded, FEDERATION, 'a', 'b');
  recorded.change('b', { relationships: [] });
  const outcome = await environment.run(
    recorded,
    'verify',
    { federation: FEDERATION, clusters: [] },
    async (handle) => (await handle.result()) as VerifyResult,
  );
  expect(outcome.verdict).toBe('failed');
  expect(outcome.checks.filter(({ verdict }) => verdict === 'failed')).toMatchObject([
    { scope: 'b←a', name: 'relationship' },
  ]);
});

test('verify says which clusters could not be asked, where no other is a member', async () => {
  const recorded = new RecordedActivities('a', 'b');
  recorded.unreachable = ['a', 'b'];
  const cause = await environment.run(recorded, 'verify', { federation: FEDERATION, clusters: [] }, failure);
  expect(cause).toMatchObject({ type: 'ClusterUnreachable' });
  expect(cause?.message).toMatch(/could not be asked, and may be:\n- a: .*\n- b: /);
});

describe('with keys for payloads', () => {
  const key = (id: string, byte: number) => `${id}:${Buffer.alloc(32, byte).toString('base64')}`;
  const keys = (...each: string[]) => payloadEncryption({ SPIRE_FEDERATOR_PAYLOAD_KEYS: each.join() });
  const old = keys(key('old', 1));
  const rotated = keys(key('new', 2), key('old', 1));
  const planted = setupPairInputSchema.parse({
    ...SETUP,
    federation: 'planted-federation',
    clusters: ['planted-a', 'planted-b'],
  });

  test('nothing that a change is given, says or shows can be read in Temporal, but for IDs', async () => {
    const recorded = new RecordedActivities('planted-a', 'planted-b');
    recorded.interfere = ({ id, attempt }) => {
      if (id === 'rolloutServer/planted-b' && attempt > 1)
        throw ApplicationFailure.nonRetryable('planted message', 'InvalidObject', 'planted details');
      if (id === 'rolloutServer/planted-b') throw new Error('planted passing message');
    };
    const histories = await environment.run(
      recorded,
      'setupPair',
      planted,
      async (handle) => {
        const cause = await failure(handle);
        expect(cause).toMatchObject({ type: 'InvalidObject' });
        expect(cause?.message).toMatch(/planted message[^]*Every cluster is as it was before/);
        const steps = (await handle.query<ChangeProgress>(PROGRESS_QUERY)).steps;
        expect(steps.find(({ id }) => id === 'rolloutServer/planted-b')).toMatchObject({ state: 'failed' });
        const without = environment.client().workflow.getHandle(handle.workflowId);
        await expect(without.query(PROGRESS_QUERY)).rejects.toThrow(
          /encrypted with key new, and SPIRE_FEDERATOR_PAYLOAD_KEYS is not set here/,
        );
        return [await handle.fetchHistory(), await handle.describe().then(({ raw }) => raw)];
      },
      { encryption: rotated },
    );
    expect(fieldsWith(/planted/, histories)).toEqual(new Set(['activityId']));
    const payloads = encryptedPayloads(histories);
    const server = await CodecServer.start(rotated.codec);
    try {
      const shown = (await server.texts(payloads)).join('\n');
      for (const said of ['planted-federation', 'planted message', 'planted details', 'planted passing message'])
        expect(shown).toContain(said);
    } finally {
      await server.stop();
    }
  });

  test('what was started without keys, or with older ones, goes on', async () => {
    for (const startedWith of [payloadEncryption({}), old]) {
      const outcome = await environment.run(
        new RecordedActivities('a', 'b'),
        'setupPair',
        SETUP,
        async ({ workflowId }) => result(environment.client(rotated).workflow.getHandle(workflowId)),
        { encryption: rotated, startedWith },
      );
      expect(outcome.changed).toBe(true);
    }
  });
});

test('every history made here replays', async () => {
  expect(await environment.replayAll()).toBeGreaterThan(STEPS.length * 2);
});

test("the SDK's metrics are named as the dashboard has them", async () => {
  const text = await (await fetch(`http://${metrics}/metrics`)).text();
  const exported = [...text.matchAll(/^(\w+)\{/gm)].map(([, name = '']) => name);
  const used = dashboard().panels.flatMap(({ targets = [] }) =>
    targets.flatMap(({ expr }) => temporalMetricNames(expr)),
  );
  // Nothing has failed to reach Temporal here.
  const expected = new Set(used.filter((name) => name !== 'temporal_request_failure_total'));
  expect(expected.size).toBeGreaterThan(5);
  expect([...expected].filter((name) => !exported.includes(name))).toEqual([]);
  expect(text).toMatch(/^temporal_workflow_endtoend_latency_seconds_count\{.*workflow_type="setupPair".*\} [1-9]/m);
});
