import { setTimeout as delay } from 'node:timers/promises';
import type { RotateWatchReport } from '../../src/contract/rotation.js';
import { spireServer } from '../support/snapshot.js';
import { Testbed } from '../support/testbed.js';
import { healthOf, untilHealth } from '../support/watched.js';

const FEDERATION = 'rotated';
const MINUTE = 60_000;
/** Per edge: 18 refreshes on two servers. */
const ROTATIONS = 9;

let testbed: Testbed;

beforeAll(async () => {
  testbed = await Testbed.start();
}, 4 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

interface Authorities {
  active: { authority_id: string };
  old?: { authority_id?: string } | null;
}

async function authorities(): Promise<Authorities> {
  const shown = await spireServer(testbed.directory, 'server-1', 'localauthority', 'x509', 'show', '-output', 'json');
  return JSON.parse(shown) as Authorities;
}

test(
  'counts every refresh once, also over the death of a worker, while a CA is rotated and revoked and no edge breaks',
  async () => {
    const worker = await testbed.startWorker();
    const setup = ['start-workflow', 'setupPair', '--federation', FEDERATION, '--refresh-hint', '60', '--no-probe'];
    const { code, stderr } = await testbed.federatorWith({ SPIRE_FEDERATOR_MONITOR: 'on' }, ...setup);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    await untilHealth(testbed, FEDERATION, ({ verdict }) => verdict === 'ok');
    const before = await authorities();

    const watch = ['rotate-watch', '--federation', FEDERATION, '--json'];
    const asked = ['--rotations', String(ROTATIONS), '--for', '15m', '--rotate', 'server-1', '--revoke'];
    const watching = testbed.federator(...watch, ...asked);
    while ((await authorities()).active.authority_id === before.active.authority_id) await delay(1_000);
    worker.kill('SIGKILL');
    await testbed.startWorker();
    const { code: watched, stdout, stderr: words } = await watching;
    expect({ code: watched, words: watched === 0 ? '' : `${words}\n${stdout}` }).toEqual({ code: 0, words: '' });
    const report = JSON.parse(stdout) as RotateWatchReport;

    expect(report).toMatchObject({ complete: true, state: 'finished', failures: 0, gaps: [], rotations: ROTATIONS });
    expect(
      report.edges.map(({ trusting, trusted, keysEqual, expectedMs }) => [trusting, trusted, keysEqual, expectedMs]),
    ).toEqual([
      ['client-1', 'server-1', true, 15_000],
      ['server-1', 'client-1', true, 15_000],
    ]);
    expect(report.refreshes).toBeGreaterThanOrEqual(2 * ROTATIONS);
    for (const { refreshes, onDemand, intervals } of report.edges) {
      // Every regular refresh but the first one ends an interval: none was counted twice, and none is missing.
      expect(intervals.count).toBe(refreshes - onDemand - 1);
      expect(intervals.minMs).toBeGreaterThan(7_500);
    }

    const { rotation } = report;
    const after = await authorities();
    expect(rotation).toMatchObject({
      cluster: 'server-1',
      oldAuthority: before.active.authority_id,
      newAuthority: after.active.authority_id,
    });
    const [edge] = rotation?.edges ?? [];
    expect(edge).toMatchObject({ trusting: 'client-1', trusted: 'server-1' });
    const order = [
      rotation?.preparedAt,
      edge?.heldAt,
      rotation?.activatedAt,
      edge?.freshAfterActivationAt,
      rotation?.taintedAt,
      rotation?.revokedAt,
      edge?.freshAfterRevocationAt,
    ];
    expect(order).toEqual([...order].sort((a = 0, b = 0) => a - b));
    expect(order).not.toContain(undefined);

    const health = await healthOf(testbed, FEDERATION);
    expect(health).toMatchObject({ findings: [], repairs: [] });
    const verified = await testbed.federator('verify', '--federation', FEDERATION, '--json');
    expect({ code: verified.code, stdout: verified.code === 0 ? '' : verified.stdout }).toEqual({
      code: 0,
      stdout: '',
    });
  },
  18 * MINUTE,
);

test(
  'refuses to rotate a CA that a peer cannot come to hold, and leaves the old one active',
  async () => {
    const before = await authorities();
    await testbed.addFault({ kind: 'cut', from: 'client-1', to: 'server-1' });
    const asked = ['--rotate', 'server-1', '--hold-timeout', '20'];
    const { code, stderr } = await testbed.federator('rotate-watch', '--federation', FEDERATION, ...asked);
    await testbed.heal();
    expect(code).toBe(1);
    expect(stderr).toMatch(/client-1←server-1 is not fresh, so nothing was changed/);
    expect((await authorities()).active.authority_id).toBe(before.active.authority_id);
  },
  6 * MINUTE,
);

test(
  'says what is wrong with what was asked',
  async () => {
    const lines = async (...args: string[]) => {
      const { code, stderr } = await testbed.federator('rotate-watch', '--federation', FEDERATION, ...args);
      return { code, stderr };
    };
    expect(await lines('--revoke')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--rotate <cluster>') as string,
    });
    expect(await lines('--for', 'long')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('90s, 10m') as string,
    });
    expect(await lines('--rotations', '0')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('rotations') as string,
    });
    expect(await lines('--rotate', 'stranger')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('stranger is not a member') as string,
    });
  },
  2 * MINUTE,
);
