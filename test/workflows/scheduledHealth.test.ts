import { setTimeout as delay } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { notifyActivities } from '../../src/activities/notify.js';
import type { FederationHealth } from '../../src/contract/health.js';
import { HEALTH_QUERY, STOP_SIGNAL, type MonitorSettings } from '../../src/contract/monitor.js';
import type { HealthCheckInput, HealthReport } from '../../src/contract/scheduledHealth.js';
import { federate, RecordedActivities } from '../support/recordedActivities.js';
import { WebhookReceiver } from '../support/webhookReceiver.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

const FEDERATION = 'looked-at';
const SECRET = 'a-secret-of-some-length';
const INPUT: HealthCheckInput = { federation: FEDERATION, schedule: 'health' };

let environment: WorkflowEnvironment;
let receiver: WebhookReceiver;
let recorded: RecordedActivities;

beforeAll(async () => {
  environment = await WorkflowEnvironment.start();
}, 120_000);

afterAll(async () => {
  await environment.stop();
});

beforeEach(async () => {
  receiver = await WebhookReceiver.start(SECRET);
  process.env['SPIRE_FEDERATOR_WEBHOOK_URL'] = receiver.url;
  process.env['SPIRE_FEDERATOR_WEBHOOK_SECRET'] = SECRET;
  recorded = new RecordedActivities('a', 'b');
  federate(recorded, FEDERATION, 'a', 'b');
  const { reading } = recorded;
  recorded.reading = (cluster) => {
    const { server, ...rest } = reading(cluster);
    const lastPolls = { 'a.test': Date.now(), 'b.test': Date.now() };
    return { ...rest, ...(server === undefined ? {} : { server: { ...server, lastPolls } }) };
  };
});

afterEach(async () => {
  delete process.env['SPIRE_FEDERATOR_WEBHOOK_URL'];
  delete process.env['SPIRE_FEDERATOR_WEBHOOK_SECRET'];
  await receiver.stop();
});

/** The recorded activities, with the real one that tells. */
const telling = () => ({ ...recorded.activities, ...notifyActivities(environment.client()) });

/** Runs a schedule; each look is triggered, and what it came to is its outcome. */
function looks(use: (look: () => Promise<HealthReport>) => Promise<void>): Promise<void> {
  return environment.schedule(telling(), 'checkHealth', INPUT, (trigger) =>
    use(async () => (await (await trigger()).result()) as HealthReport),
  );
}

/** Each once: what was delivered is delivered again, under the same ID, where Temporal did not come to know. */
const delivered = () => [...new Map(receiver.received.map((each) => [each.id, each])).values()];
const told = () => delivered().map(({ occurrence, before, verdict }) => `${occurrence}: ${before} → ${verdict}`);
const lose = () => recorded.change('a', { storedBundles: {} });

test('each change of the verdict is told once, over the runs of a schedule', async () => {
  const { storedBundles } = recorded.facts('a');
  await looks(async (look) => {
    expect(await look()).toMatchObject({ verdict: 'ok', wrong: 0, told: 'ok' });
    lose();
    expect(await look()).toMatchObject({
      verdict: 'failed',
      told: 'failed',
      notified: expect.stringMatching(/^new: told 127/) as string,
    });
    expect(await look()).toMatchObject({ verdict: 'failed' });
    recorded.change('a', { storedBundles });
    expect(await look()).toMatchObject({ verdict: 'ok' });
    await look();
  });
  expect(told()).toEqual(['new: ok → failed', 'healed: failed → ok']);
  expect(receiver.received[0]).toMatchObject({
    federation: FEDERATION,
    source: { kind: 'schedule', name: 'health' },
    severity: 'critical',
    findings: expect.arrayContaining([expect.objectContaining({ name: 'stored-bundle', scope: 'a←b' })]) as unknown,
    text: expect.stringMatching(/^Federation looked-at: something is wrong \(ok → failed\)\.\n• /) as string,
  });
}, 60_000);

test('a webhook that fails for a while is tried again', async () => {
  lose();
  receiver.answer = 503;
  await looks(async (look) => {
    const looked = look();
    while (receiver.calls < 2) await delay(50);
    receiver.answer = 200;
    expect((await looked).notified).toMatch(/^new: told/);
  });
  expect(told()).toEqual(['new: ok → failed']);
}, 60_000);

test('one that refuses fails no look, and the next one tells what is untold', async () => {
  lose();
  receiver.answer = 404;
  await looks(async (look) => {
    const refused = await look();
    expect(refused).toMatchObject({
      verdict: 'failed',
      notified: expect.stringMatching(/nobody could be told: .* HTTP 404/) as string,
    });
    expect(refused.told).toBeUndefined();
    receiver.answer = 200;
    expect(await look()).toMatchObject({ told: 'failed' });
  });
  expect(receiver.calls).toBe(2);
  expect(told()).toEqual(['new: ok → failed']);
}, 60_000);

test('without a webhook nothing is told, and nothing fails', async () => {
  delete process.env['SPIRE_FEDERATOR_WEBHOOK_URL'];
  lose();
  await looks(async (look) => {
    expect(await look()).toMatchObject({
      verdict: 'failed',
      told: 'failed',
      notified: expect.stringMatching(/no webhook/) as string,
    });
  });
}, 60_000);

test('nothing is looked at while a change runs or the monitor is paused, and nothing is forgotten', async () => {
  lose();
  await looks(async (look) => {
    await look();
    recorded.changing = 'addCluster';
    expect(await look()).toMatchObject({ skipped: 'a change runs: addCluster', told: 'failed', wrong: 0 });
    recorded.changing = undefined;
    recorded.paused = 'maintenance';
    expect(await look()).toMatchObject({ skipped: 'the monitor is paused: maintenance', told: 'failed' });
    recorded.paused = undefined;
    await look();
  });
  expect(told()).toEqual(['new: ok → failed']);
}, 60_000);

test('a federation that is not there is told of, and fails no run', async () => {
  recorded.strangers = ['a', 'b'];
  await looks(async (look) => {
    expect(await look()).toMatchObject({
      verdict: 'unknown',
      checks: [{ evidence: expect.stringMatching(/No cluster of the inventory/) as string }],
    });
  });
  expect(told()).toEqual(['new: ok → unknown']);
}, 60_000);

test('mTLS that is refused makes the verdict failed', async () => {
  const probe = {
    federation: FEDERATION,
    clusters: [],
    timeouts: { endpointMs: 1_000, rolloutMs: 1_000, probeMs: 1_000, attempts: 1 },
  };
  const activities = { ...telling(), runProbe: () => Promise.resolve({ ok: false, evidence: 'unknown authority' }) };
  const report = await environment.schedule(
    activities,
    'checkHealth',
    { ...INPUT, probe },
    async (trigger) => (await trigger()).result() as Promise<HealthReport>,
  );
  expect(report.checks[0]).toMatchObject({ name: 'probe', verdict: 'failed' });
  expect(told()).toEqual(['new: ok → failed']);
}, 60_000);

test('the monitor tells of what it finds and of its end, in that order, and waits for no webhook', async () => {
  const settings: MonitorSettings = {
    federation: FEDERATION,
    clusters: ['a', 'b'],
    refreshHintSeconds: 300,
    intervalSeconds: 0.3,
    repair: { automatic: true, caChange: 'automatic' },
    roundsPerRun: 5,
  };
  const health = (handle: WorkflowHandle) => handle.query<FederationHealth>(HEALTH_QUERY);
  const until = async (handle: WorkflowHandle, isWanted: (seen: FederationHealth) => boolean) => {
    while (!isWanted(await health(handle))) await delay(100);
  };
  const real = { activities: telling() } as unknown as RecordedActivities;
  await environment.run(real, 'monitor', settings, async (handle) => {
    await until(handle, ({ verdict }) => verdict === 'ok');
    const { storedBundles } = recorded.facts('a');
    receiver.answer = 'hang';
    lose();
    await until(handle, ({ findings }) => findings.length > 0);
    while (receiver.calls === 0) await delay(50);
    const { rounds } = await health(handle);
    // It goes on, over runs, while the webhook hangs.
    await until(handle, (now) => now.rounds > rounds + 6);
    receiver.answer = 200;
    recorded.change('a', { storedBundles });
    await until(handle, ({ verdict }) => verdict === 'ok');
    while (delivered().length < 2) await delay(50);
    await handle.signal(STOP_SIGNAL);
    await handle.result();
  });
  expect(told()).toEqual(['new: ok → repairing', 'healed: repairing → ok']);
  expect(delivered().map(({ source }) => source)).toEqual([{ kind: 'monitor' }, { kind: 'monitor' }]);
}, 90_000);

test('every history replays', async () => {
  expect(await environment.replayAll()).toBeGreaterThan(8);
});
