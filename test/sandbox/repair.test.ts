import { rotateCa } from '../../sandbox/client.js';
import { eventually } from '../../sandbox/kubernetes.js';
import type { Diagnosis } from '../../src/contract/diagnosis.js';
import type { RepairRecord } from '../../src/contract/health.js';
import { Testbed, type CommandResult } from '../support/testbed.js';
import { asAdmin, healthOf, PATHS, untilHealth } from '../support/watched.js';

const FEDERATION = 'repaired';
const CLUSTERS = ['client-1', 'server-1'];
const MINUTE = 60_000;
const [CLIENT_ROUTE, SERVER_ROUTE] = ['route@client-1', 'route@server-1'];
const CA_CHANGE = 'unknownAuthority@client-1←server-1';

let testbed: Testbed;

const repair = (...args: string[]): Promise<CommandResult> =>
  testbed.federator('repair', '--federation', FEDERATION, ...args);

async function repairAsJson(...args: string[]) {
  const { code, stdout, stderr } = await repair('-o', 'json', ...args);
  return { code, stderr, output: JSON.parse(stdout) as Pick<Diagnosis, 'verdict'> & { repairs?: RepairRecord[] } };
}

const removeRoute = (cluster: string) => asAdmin(testbed, cluster, (api) => api.delete(PATHS.route));
const hasRoute = async (cluster: string) =>
  (await asAdmin(testbed, cluster, (api) => api.get(PATHS.route))) !== undefined;

beforeAll(async () => {
  testbed = await Testbed.start();
  await testbed.startWorker();
  const { code, stderr } = await testbed.federator(
    ...['start-workflow', 'setupPair', '--federation', FEDERATION, '--refresh-hint', '60', '--no-probe'],
  );
  if (code !== 0) throw new Error(stderr);
}, 4 * MINUTE);

afterAll(() => testbed.stop(), MINUTE);

test(
  'without a monitor: what is named, then the rest, and it says what it did',
  async () => {
    await Promise.all(CLUSTERS.map(removeRoute));

    expect(await repair('route@nowhere', '--yes')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^There is no finding route@nowhere\. There are: route@client-1, route@server-1/,
      ) as string,
    });
    const unasked = await repair();
    expect(unasked).toMatchObject({ code: 2, stderr: expect.stringMatching(/Nobody can be asked.*--yes/) as string });
    expect(unasked.stdout).toMatch(/route of client-1: failed\n {2}seen .*\n {2}cause /);
    expect(await Promise.all(CLUSTERS.map(hasRoute))).toEqual([false, false]);

    const one = await repairAsJson(SERVER_ROUTE, '--yes');
    expect(one).toMatchObject({
      code: 0,
      output: { verdict: 'ok', repairs: [{ findingId: SERVER_ROUTE, action: 'restore', outcome: 'healed' }] },
    });
    expect(await Promise.all(CLUSTERS.map(hasRoute))).toEqual([false, true]);

    const rest = await repair('--yes');
    expect(rest).toMatchObject({ code: 0, stderr: expect.stringContaining('route of client-1: put back') as string });
    expect(rest.stdout).toMatch(
      /✓ route@client-1: healed [\d.]+ s\n {2}cause {3}\S.*\n {2}action {2}put back what is missing or differs\n {2}now {5}\S/,
    );
    expect(rest.stdout).toMatch(/Federation repaired: nothing is wrong\.\n$/);
    expect(await hasRoute('client-1')).toBe(true);

    expect(await repair('--yes')).toMatchObject({ code: 0, stdout: 'Federation repaired: nothing is wrong.\n' });
    expect(await repair('--history')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^Nobody watches over federation repaired/) as string,
    });
  },
  4 * MINUTE,
);

test(
  'with a monitor: what waits for approval is repaired when it is named, and is remembered',
  async () => {
    await testbed.federator(
      ...['monitor', 'start', '--federation', FEDERATION, '--clusters', CLUSTERS.join(',')],
      ...['--refresh-hint', '60', '--interval', '3', '--ca-change', 'approval'],
    );
    await untilHealth(testbed, FEDERATION, ({ verdict }) => verdict === 'ok');
    await testbed.addFault({ kind: 'cut', from: 'client-1', to: 'server-1' });
    await rotateCa({ directory: testbed.directory, cluster: 'server-1', revoke: true });
    await testbed.heal();
    await untilHealth(testbed, FEDERATION, ({ findings }) =>
      findings.some(({ id, state }) => id === CA_CHANGE && state === 'approval'),
    );

    const unnamed = await repair('--yes');
    expect(unnamed).toMatchObject({ code: 1, stderr: expect.stringContaining(`repair '${CA_CHANGE}'`) as string });
    expect(unnamed.stdout).not.toContain('✓');

    const named = await repairAsJson(CA_CHANGE, '--yes');
    expect(named).toMatchObject({
      code: 0,
      output: { verdict: 'ok', repairs: [{ findingId: CA_CHANGE, action: 'rebootstrap', outcome: 'healed' }] },
    });
    await eventually('it is in the history', async () => {
      const { code, stdout } = await repair('--history');
      expect(code).toBe(0);
      expect(stdout).toMatch(new RegExp(`${CA_CHANGE}.*rebootstrap.*healed`));
      expect(stdout).not.toContain(CLIENT_ROUTE);
    });
    expect((await healthOf(testbed, FEDERATION)).repairCounts).toEqual([
      { cause: 'unknownAuthority', outcome: 'healed', count: 1 },
    ]);
    expect((await repair('--history', CLIENT_ROUTE)).stdout).toBe('The monitor remembers no repair.\n');
  },
  5 * MINUTE,
);
