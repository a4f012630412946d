import { WorkflowUpdateFailedError, type WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure, defineSearchAttributeKey } from '@temporalio/common';
import { setTimeout as delay } from 'node:timers/promises';
import type { FederationHealth } from '../../src/contract/health.js';
import {
  APPROVE_UPDATE,
  CHECK_UPDATE,
  HEALTH_QUERY,
  MEMBERSHIP_SIGNAL,
  PAUSE_UPDATE,
  REPAIRED_SIGNAL,
  RESUME_UPDATE,
  STOP_SIGNAL,
  type MonitorInput,
  type MonitorSettings,
  type MonitorState,
  type PauseRequest,
} from '../../src/contract/monitor.js';
import { WatchedFederation } from '../../src/federation/watchedFederation.js';
import { federate, RecordedActivities } from '../support/recordedActivities.js';
import { eventually } from '../support/spireTrustDomain.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

const FEDERATION = 'watched';
const TRUST_DOMAIN = defineSearchAttributeKey('TrustDomain', 'KEYWORD');
const SETTINGS: MonitorSettings = {
  federation: FEDERATION,
  clusters: ['a', 'b'],
  refreshHintSeconds: 300,
  intervalSeconds: 0.3,
  repair: { automatic: true, caChange: 'automatic' },
};

let environment: WorkflowEnvironment;

beforeAll(async () => {
  environment = await WorkflowEnvironment.start();
}, 120_000);

afterAll(async () => {
  await environment.stop();
});

function federation(): RecordedActivities {
  const recorded = new RecordedActivities('a', 'b');
  federate(recorded, FEDERATION, 'a', 'b');
  return recorded;
}

const health = (handle: WorkflowHandle) => handle.query<FederationHealth>(HEALTH_QUERY);
const check = (handle: WorkflowHandle) => handle.executeUpdate<FederationHealth, []>(CHECK_UPDATE);

async function until(
  handle: WorkflowHandle,
  isWanted: (health: FederationHealth) => boolean,
): Promise<FederationHealth> {
  for (;;) {
    const seen = await health(handle);
    if (isWanted(seen)) return seen;
    await delay(100);
  }
}

/** Runs a monitor for as long as `use` needs it, and ends it. */
function watch<T>(
  recorded: RecordedActivities,
  use: (handle: WorkflowHandle) => Promise<T>,
  settings: Partial<MonitorInput> = {},
): Promise<T> {
  return environment.run(recorded, 'monitor', { ...SETTINGS, ...settings }, async (handle) => {
    const outcome = await use(handle);
    await handle.signal(STOP_SIGNAL);
    await handle.result();
    return outcome;
  });
}

async function refusal(update: Promise<unknown>): Promise<string> {
  const error: unknown = await update.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  return (error as WorkflowUpdateFailedError).cause?.message ?? '';
}

test('a federation that is well: every edge fresh, one thorough look, no repair', async () => {
  const recorded = federation();
  const seen = await watch(recorded, (handle) => until(handle, ({ rounds }) => rounds >= 4));
  expect(seen).toMatchObject({ verdict: 'ok', counts: { fresh: 2 }, findings: [], repairs: [] });
  expect(recorded.requested).toEqual([]);
  expect(recorded.names.filter((name) => name === 'readFacts')).toHaveLength(2);
  expect(recorded.names.filter((name) => name === 'keepGoodServerConf')).toHaveLength(2);
});

describe('the readings of a round', () => {
  const FOUR = ['a', 'b', 'c', 'd'];
  /** So many that their readings, a second apart, would take longer than it takes to find what is wrong with the first. */
  const TWENTY = Array.from({ length: 20 }, (_, index) => `c${index}`);
  /** No round but the first comes by itself within a test. */
  const LONG_S = 3_600;

  /** Clusters, and the readings of them as they began. */
  function reading(names: readonly string[]) {
    const recorded = new RecordedActivities(...names);
    federate(recorded, FEDERATION, ...names);
    const { reading: read } = recorded;
    const begun: { cluster: string; at: number }[] = [];
    recorded.reading = (cluster) => {
      begun.push({ cluster, at: Date.now() });
      return read(cluster);
    };
    return { recorded, begun };
  }

  /** Of a monitor that has been at it for a while, and knows them to be well. */
  function settled({ reading: read }: RecordedActivities, clusters: string[]): MonitorState {
    const known = clusters.map((cluster) => {
      const { trustDomain = '', configDigest = '' } = read(cluster).server ?? {};
      return [cluster, { failures: 0, trustDomain, goodConfig: configDigest }];
    });
    const { state } = new WatchedFederation({ ...SETTINGS, clusters }, 1);
    return { ...state, rounds: 1, lastRoundAt: 1, clusters: Object.fromEntries(known) as MonitorState['clusters'] };
  }

  /** The clusters that began to be read by one workflow task each, in turn. */
  async function begunTogether(handle: WorkflowHandle): Promise<string[][]> {
    const { events } = await handle.fetchHistory();
    const byTask = new Map<string, string[]>();
    for (const { activityTaskScheduledEventAttributes: scheduled } of events ?? []) {
      if (scheduled?.activityType?.name !== 'readCluster') continue;
      const [{ data } = {}] = scheduled.input?.payloads ?? [];
      const { cluster } = JSON.parse(Buffer.from(data ?? []).toString()) as { cluster: string };
      const task = String(scheduled.workflowTaskCompletedEventId);
      byTask.set(task, [...(byTask.get(task) ?? []), cluster].sort());
    }
    return [...byTask.values()];
  }

  test('begin one after another, a second apart where that is not too long for the interval', async () => {
    const { recorded, begun } = reading(FOUR);
    const state = settled(recorded, FOUR);
    begun.length = 0;
    const { lastRoundAt = 0 } = await watch(recorded, (handle) => until(handle, ({ rounds }) => rounds >= 2), {
      clusters: FOUR,
      intervalSeconds: 12,
      state,
    });
    expect(begun.map(({ cluster }) => cluster)).toEqual(FOUR);
    const early = begun.filter(({ at }, index) => at < lastRoundAt + index * 1_000);
    expect(early).toEqual([]);
  });

  test('begin together in the first round, and in one that is asked for', async () => {
    const { recorded } = reading(FOUR);
    await watch(
      recorded,
      async (handle) => {
        await until(handle, ({ rounds }) => rounds >= 1);
        await check(handle);
        expect(await begunTogether(handle)).toEqual([FOUR, FOUR]);
      },
      { clusters: FOUR, intervalSeconds: LONG_S },
    );
  });

  test('begin together for somebody who asks meanwhile, for whom all are read anew', async () => {
    const { recorded, begun } = reading(FOUR);
    const state = settled(recorded, FOUR);
    begun.length = 0;
    await watch(
      recorded,
      async (handle) => {
        while (begun.length === 0) await delay(50);
        recorded.change('a', { storedBundles: {} });
        const { rounds, findings } = await check(handle);
        expect({ rounds, found: findings.map(({ id }) => id) }).toEqual({
          rounds: state.rounds + 2,
          found: ['b', 'c', 'd'].map((peer) => `neverBootstrapped@a←${peer}`),
        });
        expect((await begunTogether(handle)).at(-1)).toEqual(FOUR);
      },
      { clusters: FOUR, intervalSeconds: LONG_S, state },
    );
    expect(begun.map(({ cluster }) => cluster).sort()).toEqual([...FOUR, ...FOUR].sort());
  });

  test('begin together from when anything is found to be wrong', async () => {
    const { recorded } = reading(TWENTY);
    const state = settled(recorded, TWENTY);
    recorded.change('c0', { storedBundles: {} });
    await watch(
      recorded,
      async (handle) => {
        await until(handle, ({ findings }) => findings.length > 0);
        expect((await begunTogether(handle)).length).toBeLessThan(TWENTY.length / 2);
      },
      { clusters: TWENTY, intervalSeconds: LONG_S, state },
    );
    expect(recorded.requested).toHaveLength(1);
  });
});

test('a bundle that is lost is found and repaired, and found once while that lasts', async () => {
  const recorded = federation();
  await watch(recorded, async (handle) => {
    await until(handle, ({ verdict }) => verdict === 'ok');
    const { storedBundles } = recorded.facts('a');
    recorded.change('a', { storedBundles: {} });
    const broken = await until(handle, ({ findings }) => findings.length > 0);
    expect(broken.findings[0]).toMatchObject({ id: 'neverBootstrapped@a←b', action: 'rebootstrap' });
    await until(handle, ({ findings }) => findings[0]?.state === 'repairing');
    const { rounds } = await health(handle);
    await until(handle, (now) => now.rounds > rounds + 3);
    const troubled = async () => (await handle.describe()).typedSearchAttributes.get(TRUST_DOMAIN);
    expect(await troubled()).toBe('a.test');
    recorded.change('a', { storedBundles });
    const healed = await until(handle, ({ verdict }) => verdict === 'ok');
    expect(healed.findings).toEqual([]);
    await eventually(async () => expect(await troubled()).toBeUndefined(), 60_000);
  });
  expect(recorded.requested).toEqual([['neverBootstrapped@a←b']]);
});

test('nobody waits for a cluster that cannot be read', async () => {
  const clusters = ['a', 'b', 'c'];
  const recorded = new RecordedActivities(...clusters);
  federate(recorded, FEDERATION, ...clusters);
  const { reading } = recorded;
  const problem = { type: 'ClusterUnreachable' as const, message: 'c: no answer in 20 s.' };
  const asked = () => recorded.calls.filter(({ name, cluster }) => name === 'readFacts' && cluster === 'c').length;
  await watch(
    recorded,
    async (handle) => {
      await until(handle, ({ verdict }) => verdict === 'ok');
      recorded.reading = (name) =>
        name === 'c' ? { cluster: name, readAt: Date.now(), serverDown: false, problem } : reading(name);
      await until(handle, ({ counts }) => counts.unknown === 4);
      const before = asked();
      recorded.change('b', { relationships: [] });
      await until(handle, ({ findings }) => findings.some(({ id }) => id === 'relationship@b←a'));
      await eventually(() => Promise.resolve(expect(recorded.requested.length).toBeGreaterThan(0)), 60_000);
      expect(asked()).toBe(before);
    },
    { clusters },
  );
});

test('what differs in the configuration is looked at thoroughly, and repaired', async () => {
  const recorded = federation();
  await watch(recorded, async (handle) => {
    await until(handle, ({ verdict }) => verdict === 'ok');
    recorded.change('b', { relationships: [] });
    await until(handle, ({ findings }) => findings.some(({ id }) => id === 'relationship@b←a'));
    await until(handle, () => recorded.requested.length > 0);
  });
  expect(recorded.requested).toEqual([['relationship@b←a']]);
});

test('one failed poll raises nothing when a fetch on demand works', async () => {
  const recorded = federation();
  const { reading } = recorded;
  recorded.refreshed = (_cluster, trustDomain) => ({
    at: Date.now(),
    ok: true,
    stored: `${trustDomain.replace('.test', '')}-key`,
  });
  const pollErrors = { 'b.test': { at: Date.now(), cause: 'endpointUnreachable' as const, message: 'refused' } };
  recorded.reading = (cluster) => {
    const { server, ...rest } = reading(cluster);
    return {
      ...rest,
      ...(server === undefined ? {} : { server: cluster === 'a' ? { ...server, pollErrors } : server }),
    };
  };
  const seen = await watch(recorded, (handle) => until(handle, ({ rounds }) => rounds >= 4));
  expect(seen).toMatchObject({ verdict: 'ok', findings: [] });
  expect(recorded.names).toContain('refreshEdges');
});

describe('a poll and a fetch on demand that fail at the same moment', () => {
  /** No round comes by itself within a test, and the retry does. */
  const INTERVAL_S = 12;

  /** Has every fetch of a←b fail that `isCut` says so of, the regular poll before the first one included. */
  async function cut<T>(
    isCut: (fetches: number) => boolean,
    use: (handle: WorkflowHandle, fetches: () => number) => T,
  ) {
    const recorded = federation();
    const { reading } = recorded;
    const fetches = () => recorded.names.filter((name) => name === 'refreshEdges').length;
    return watch(
      recorded,
      async (handle) => {
        await until(handle, ({ verdict }) => verdict === 'ok');
        const failure = { at: Date.now(), cause: 'endpointUnreachable' as const, message: 'refused' };
        recorded.reading = (cluster) => {
          const { server, ...rest } = reading(cluster);
          const pollErrors = { 'b.test': failure };
          if (server === undefined || cluster !== 'a') return reading(cluster);
          return { ...rest, server: { ...server, pollErrors } };
        };
        recorded.refreshed = () =>
          isCut(fetches())
            ? { ...failure, at: Date.now(), ok: false, stored: 'b-key' }
            : { at: Date.now(), ok: true, stored: 'b-key' };
        const seen = await check(handle);
        expect(seen).toMatchObject({ verdict: 'ok', counts: { fresh: 2 }, findings: [] });
        expect(fetches()).toBe(1);
        return use(handle, fetches);
      },
      { intervalSeconds: INTERVAL_S },
    );
  }

  test('raise nothing where a later fetch works', async () => {
    await cut(
      (fetches) => fetches === 1,
      async (handle, fetches) => {
        await until(handle, () => fetches() === 2);
        expect(await check(handle)).toMatchObject({ verdict: 'ok', findings: [] });
        expect(fetches()).toBe(2);
      },
    );
  });

  test('are found out in the same round where a later fetch fails', async () => {
    await cut(
      () => true,
      async (handle, fetches) => {
        const { rounds } = await health(handle);
        const found = await until(handle, ({ findings }) => findings.length > 0);
        expect(found).toMatchObject({ rounds, findings: [{ id: 'endpointUnreachable@a←b' }] });
        expect(fetches()).toBe(2);
      },
    );
  });
});

test('a cluster that cannot be asked once is not unknown; twice it is, and its edges are nobody’s fault', async () => {
  const recorded = federation();
  const { reading } = recorded;
  let failures = 0;
  await watch(recorded, async (handle) => {
    await until(handle, ({ verdict }) => verdict === 'ok');
    const failOnce = (cluster: string) => {
      if (cluster !== 'b' || failures > 0) return reading(cluster);
      failures++;
      return {
        cluster,
        readAt: Date.now(),
        serverDown: false,
        problem: { type: 'ClusterUnreachable' as const, message: 'no way' },
      };
    };
    recorded.reading = failOnce;
    expect((await check(handle)).verdict).toBe('ok');
    recorded.reading = (cluster) => {
      failures = 0;
      return failOnce(cluster);
    };
    const seen = await until(handle, ({ verdict }) => verdict === 'unknown');
    expect(seen.counts).toMatchObject({ unknown: 2, broken: 0 });
    expect(seen.findings).toEqual([]);
  });
  expect(recorded.requested).toEqual([]);
});

test('nothing is raised while a change runs, nor while it is paused', async () => {
  const recorded = federation();
  await watch(recorded, async (handle) => {
    await until(handle, ({ verdict }) => verdict === 'ok');
    recorded.changing = 'addCluster';
    recorded.change('a', { storedBundles: {} });
    const { rounds } = await health(handle);
    expect((await until(handle, (now) => now.rounds > rounds + 2)).findings).toEqual([]);
    recorded.changing = undefined;
    await handle.executeUpdate(PAUSE_UPDATE, { args: [{ reason: 'maintenance' }] });
    const paused = await until(handle, (now) => now.rounds > rounds + 5);
    expect(paused.paused).toEqual({ reason: 'maintenance' });
    const before = recorded.requested.length;
    await until(handle, (now) => now.rounds > paused.rounds + 2);
    expect(recorded.requested).toHaveLength(before);
    await handle.executeUpdate(RESUME_UPDATE);
    await until(handle, () => recorded.requested.length > before || before > 0);
  });
});

test('what a look saw that a pause came upon is no reason to repair anything', async () => {
  const recorded = federation();
  await watch(recorded, async (handle) => {
    await until(handle, ({ verdict }) => verdict === 'ok');
    let goOn: () => void = () => undefined;
    const paused = new Promise<void>((resolve) => (goOn = resolve));
    const looking = new Promise<void>((resolve) => {
      recorded.interfere = async ({ name }) => {
        if (name !== 'readFacts') return;
        resolve();
        await paused;
      };
    });
    recorded.change('b', { relationships: [] });
    await looking;
    const { rounds } = await handle.executeUpdate<FederationHealth, [PauseRequest]>(PAUSE_UPDATE, {
      args: [{ reason: 'maintenance' }],
    });
    goOn();
    await until(handle, (now) => now.rounds > rounds + 2);
    expect(recorded.requested).toEqual([]);
    await handle.executeUpdate(RESUME_UPDATE);
    await until(handle, () => recorded.requested.length > 0);
  });
  expect(recorded.requested).toEqual([['relationship@b←a']]);
});

test('a pause ends at its time, in whichever run, and a shorter one that was replaced does not end it', async () => {
  await watch(
    federation(),
    async (handle) => {
      await until(handle, ({ verdict }) => verdict === 'ok');
      await handle.executeUpdate(PAUSE_UPDATE, { args: [{ reason: 'a moment', forSeconds: 0.2 }] });
      const { rounds } = await handle.executeUpdate<FederationHealth, [PauseRequest]>(PAUSE_UPDATE, {
        args: [{ reason: 'maintenance', forSeconds: 12 }],
      });
      const later = await until(handle, (now) => now.rounds > rounds + 3);
      expect(later.paused).toMatchObject({ reason: 'maintenance' });
      await until(handle, ({ paused, verdict }) => paused === undefined && verdict === 'ok');
      expect(Date.now()).toBeGreaterThanOrEqual(later.paused?.until ?? Infinity);
    },
    { roundsPerRun: 3 },
  );
});

test('what a run before has tried is tried again only once it has cooled down', async () => {
  const recorded = federation();
  recorded.change('a', { storedBundles: {} });
  const id = 'neverBootstrapped@a←b';
  const at = Date.now() - 27_000;
  const { state } = new WatchedFederation(SETTINGS, at);
  const seen = await watch(recorded, (handle) => until(handle, ({ findings }) => findings[0]?.attempts === 2), {
    state: { ...state, attempts: { [id]: { count: 1, at, cooling: true } } },
  });
  expect(seen.findings).toMatchObject([{ id, state: 'repairing' }]);
  expect(recorded.requested).toEqual([[id]]);
  expect(Date.now() - at).toBeGreaterThanOrEqual(30_000);
});

test('a CA that changed waits for approval where the policy says so', async () => {
  const recorded = federation();
  const settings = { repair: { automatic: true, caChange: 'approval' as const } };
  await watch(
    recorded,
    async (handle) => {
      await until(handle, ({ verdict }) => verdict === 'ok');
      recorded.change('b', { bundle: { fingerprint: 'SHA256:next', keyIds: ['next-key'] } });
      const { reading } = recorded;
      const pollErrors = {
        'b.test': { at: Date.now(), cause: 'unknownAuthority' as const, message: 'unknown authority' },
      };
      recorded.reading = (cluster) => {
        const { server, ...rest } = reading(cluster);
        return {
          ...rest,
          ...(server === undefined ? {} : { server: cluster === 'a' ? { ...server, pollErrors } : server }),
        };
      };
      const seen = await until(handle, ({ findings }) => findings.length > 0);
      expect(seen).toMatchObject({
        verdict: 'attention',
        findings: [{ id: 'unknownAuthority@a←b', state: 'approval' }],
      });
      expect(recorded.requested).toEqual([]);
      expect(await refusal(handle.executeUpdate(APPROVE_UPDATE, { args: ['unknownAuthority@x←y'] }))).toMatch(
        /No finding unknownAuthority@x←y waits for approval. These do: unknownAuthority@a←b/,
      );
      await handle.executeUpdate(APPROVE_UPDATE, { args: ['unknownAuthority@a←b'] });
      await until(handle, () => recorded.requested.length > 0);
    },
    settings,
  );
  expect(recorded.requested).toEqual([['unknownAuthority@a←b']]);
});

test('who could not be told is told later, as long as it is so', async () => {
  const recorded = federation();
  let tries = 0;
  recorded.interfere = async ({ name }) => {
    if (name === 'notify' && ++tries === 1) throw ApplicationFailure.nonRetryable('HTTP 404', 'WebhookRefused');
  };
  await watch(recorded, async (handle) => {
    await until(handle, ({ verdict }) => verdict === 'ok');
    const { reading } = recorded;
    recorded.reading = (cluster) => {
      const { server: _server, ...rest } = reading(cluster);
      return cluster === 'a' ? { ...rest, problem: { type: 'Forbidden', message: 'a: may not' } } : reading(cluster);
    };
    await until(handle, () => recorded.notified.length > 0);
  });
  expect(recorded.notified).toMatchObject([{ occurrence: 'new', verdict: 'attention', before: 'ok' }]);
  expect(tries).toBe(2);
});

test('a run hands over to the next without losing what is known', async () => {
  const recorded = federation();
  recorded.change('a', { storedBundles: {} });
  const seen = await watch(recorded, (handle) => until(handle, ({ rounds }) => rounds >= 7), { roundsPerRun: 2 });
  expect(seen.findings).toMatchObject([{ id: 'neverBootstrapped@a←b', attempts: 1 }]);
  expect(recorded.requested).toHaveLength(1);
});

test('who asks for a look at the end of a run gets it, and a stop then is heard', async () => {
  const { rounds } = await watch(
    federation(),
    async (handle) => {
      await until(handle, ({ verdict }) => verdict === 'ok');
      const looks = await Promise.all(Array.from({ length: 5 }, () => check(handle)));
      expect(looks.map(({ verdict }) => verdict)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok']);
      return check(handle);
    },
    { roundsPerRun: 1, intervalSeconds: 2 },
  );
  expect(rounds).toBeGreaterThan(2);
});

test('nonsense is refused, or passed over, and wedges nothing', async () => {
  const recorded = federation();
  await watch(recorded, async (handle) => {
    await until(handle, ({ verdict }) => verdict === 'ok');
    expect(await refusal(handle.executeUpdate(PAUSE_UPDATE, { args: [{}] }))).toMatch(/Say why/);
    expect(await refusal(handle.executeUpdate(RESUME_UPDATE))).toMatch(/not paused/);
    expect(await refusal(handle.executeUpdate(APPROVE_UPDATE, { args: ['x'] }))).toMatch(/None does/);
    await handle.signal(MEMBERSHIP_SIGNAL, { clusters: 7 });
    await handle.signal(MEMBERSHIP_SIGNAL, null);
    for (const odd of [{ policies: 5 }, { policies: [null] }, { intervalSeconds: 'often' }, { intervalSeconds: -1 }])
      await handle.signal(MEMBERSHIP_SIGNAL, { ...SETTINGS, clusters: ['a', 'b', 'c'], ...odd });
    await handle.signal(REPAIRED_SIGNAL, 'all of it');
    await handle.signal(REPAIRED_SIGNAL, [null]);
    const { clusters, verdict } = await check(handle);
    expect({ clusters: clusters.length, verdict }).toEqual({ clusters: 2, verdict: 'ok' });
  });
});

test('every history replays', async () => {
  expect(await environment.replayAll()).toBeGreaterThan(5);
});
