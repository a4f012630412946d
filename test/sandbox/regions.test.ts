import type { ChildProcess } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, stringify } from 'yaml';
import { rotateCa } from '../../sandbox/client.js';
import type { ChangeResult } from '../../src/contract/change.js';
import type { Inventory } from '../../src/contract/inventory.js';
import type { VerifyResult } from '../../src/contract/verify.js';
import { eventually } from '../support/spireTrustDomain.js';
import { Testbed } from '../support/testbed.js';

const MINUTE = 60_000;
/** Who is in region eu, and who is not. */
const REGIONAL = 'server-1';
const OTHER = 'client-1';

let testbed: Testbed;
let regionWorker: ChildProcess;
/** Environments of the two workers: each has a kubeconfig for its own cluster only. */
let here: Record<string, string>;
let there: Record<string, string>;

/** An inventory in which one cluster's credentials are not there. */
function inventoryWithout(cluster: string): Record<string, string> {
  const all = path.join(testbed.directory, 'inventory.yaml');
  const { clusters, ...rest } = parse(readFileSync(all, 'utf8')) as Inventory;
  const changed = clusters.map((each) => ({
    ...each,
    ...(each.name === REGIONAL ? { region: 'eu' } : {}),
    ...(each.name === cluster ? { kubeconfig: { path: 'nowhere.kubeconfig' } } : {}),
  }));
  const file = path.join(testbed.directory, `inventory-without-${cluster}.yaml`);
  writeFileSync(file, stringify({ ...rest, clusters: changed }));
  return { SPIRE_FEDERATOR_INVENTORY: file };
}

async function run<T>(...args: string[]): Promise<{ code: number; stderr: string; result: T }> {
  const { code, stdout, stderr } = await testbed.federatorWith(here, ...args, '--json');
  return { code, stderr, result: (stdout === '' ? undefined : JSON.parse(stdout)) as T };
}

beforeAll(async () => {
  testbed = await Testbed.start();
  here = { ...inventoryWithout(REGIONAL), SPIRE_FEDERATOR_REGION_WAIT_SECONDS: '20' };
  there = { ...inventoryWithout(OTHER), SPIRE_FEDERATOR_REGIONS: 'eu' };
  await testbed.startWorker(undefined, 0, here);
  regionWorker = await testbed.startWorker(undefined, 0, there);
}, 3 * MINUTE);

afterAll(async () => testbed.stop(), MINUTE);

test(
  'two clusters, neither of which the other one’s worker can reach, are federated and proved',
  async () => {
    const { code, stderr, result } = await run<ChangeResult>('start-workflow', 'setupPair');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(result.members.map(({ cluster }) => cluster).sort()).toEqual([OTHER, REGIONAL]);
    expect(result.probes.filter(({ ok }) => !ok)).toEqual([]);
    expect((await run<VerifyResult>('verify')).result).toMatchObject({ verdict: 'ok' });
  },
  3 * MINUTE,
);

test(
  'a CA that changed in the region is taken over by the other side',
  async () => {
    await rotateCa({ directory: testbed.directory, cluster: REGIONAL, revoke: true });
    await eventually(async () => {
      const { result } = await run<VerifyResult>('verify');
      expect(result.verdict).toBe('failed');
    }, MINUTE);
    const { code, stderr } = await run<ChangeResult>('start-workflow', 'setupPair');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect((await run<VerifyResult>('verify')).result).toMatchObject({ verdict: 'ok' });
  },
  4 * MINUTE,
);

test(
  'without a worker of the region, what cannot be done is said, and how to start one',
  async () => {
    await testbed.stopWorker(regionWorker);
    const noWorker = /server-1: no worker of region eu .*\(npm run worker -- --regions eu\)/;
    const verified = await run<VerifyResult>('verify');
    expect(verified.code).not.toBe(0);
    expect(JSON.stringify(verified.result)).toMatch(noWorker);
    const { code, stderr } = await run<ChangeResult>('start-workflow', 'teardown');
    expect(code).not.toBe(0);
    expect(stderr).toMatch(noWorker);
    regionWorker = await testbed.startWorker(undefined, 0, there);
    expect(await run<ChangeResult>('start-workflow', 'teardown')).toMatchObject({ code: 0 });
  },
  3 * MINUTE,
);
