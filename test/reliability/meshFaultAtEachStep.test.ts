import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stringify } from 'yaml';
import type { StepProgress } from '../../src/contract/change.js';
import { faultSteps, LOOP_MS, SAMPLE } from '../support/faultSteps.js';
import { runCancelled, runFailing, runKilled, stepsOf } from '../support/faultyChange.js';
import { MtlsWatch } from '../support/mtlsWatch.js';
import { snapshotCluster } from '../support/snapshot.js';
import { Testbed, type CommandResult } from '../support/testbed.js';

const PAIR = ['client-1', 'server-1'];
const CLUSTERS = [...PAIR, 'edge-1'];
const FEDERATION = 'faulty';
const ADD = ['start-workflow', 'addCluster', '--federation', FEDERATION, '--cluster', 'edge-1'];
const REMOVE = ['start-workflow', 'removeCluster', 'edge-1', '--federation', FEDERATION];
const MINUTES = 60_000;

let testbed: Testbed;
let watch: MtlsWatch;
let before: Record<string, unknown>[];
let adding: StepProgress[];
let removing: StepProgress[];
let folder: string;

const snapshot = () => Promise.all(CLUSTERS.map((cluster) => snapshotCluster(testbed.directory, cluster)));

async function withWorker<T>(use: () => Promise<T>): Promise<T> {
  const worker = await testbed.startWorker();
  try {
    return await use();
  } finally {
    await testbed.stopWorker(worker);
  }
}

function succeeded({ code, stderr }: CommandResult): void {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'federation-'));
  testbed = await Testbed.start({ clusters: 3 });
  const file = path.join(folder, 'federation.yaml');
  writeFileSync(file, stringify({ federation: FEDERATION, clusters: PAIR, policies: [{ type: 'universal' }] }));
  await withWorker(async () => {
    succeeded(await testbed.federator('apply', '-f', file, '--no-probe'));
    adding = await stepsOf(testbed, ADD);
    succeeded(await testbed.federator(...ADD, '--no-probe'));
    removing = await stepsOf(testbed, REMOVE);
    succeeded(await testbed.federator(...REMOVE));
  });
  watch = await MtlsWatch.start(testbed.directory, 'client-1', 'server-1', 250);
  before = await snapshot();
}, 10 * MINUTES);

afterAll(async () => {
  await testbed.stop();
  rmSync(folder, { recursive: true, force: true });
}, MINUTES);

test(
  `a failure of addCluster at ${SAMPLE} leaves the newcomer and the members as they were`,
  async () => {
    expect(adding.length).toBeGreaterThan(20);
    for (const { id } of faultSteps(adding)) {
      const { code, stderr } = await runFailing(testbed, ADD, id);
      expect({ id, code, stderr }).toEqual({
        id,
        code: 1,
        stderr: expect.stringMatching(/the fault that was asked for[^]*Every cluster is as it was before\./) as string,
      });
      expect({ id, after: await snapshot() }).toEqual({ id, after: before });
    }
  },
  LOOP_MS,
);

test(
  `a cancellation of addCluster at ${SAMPLE} leaves the newcomer and the members as they were`,
  async () => {
    for (const { id } of faultSteps(adding, 1)) {
      expect({ id, code: await runCancelled(testbed, ADD, id, FEDERATION) }).toEqual({ id, code: 1 });
      expect({ id, after: await snapshot() }).toEqual({ id, after: before });
    }
  },
  LOOP_MS,
);

type Kind = 'fail' | 'cancel' | 'kill';

/** removeCluster with a fault at a step, and then again, if it did not finish by itself. */
async function removeFaultily(id: string, kind: Kind): Promise<void> {
  if (kind === 'kill') {
    await runKilled(testbed, REMOVE, id, async (outcome) => Promise.resolve(succeeded(outcome)));
    return;
  }
  const code =
    kind === 'fail'
      ? (await runFailing(testbed, REMOVE, id)).code
      : await runCancelled(testbed, REMOVE, id, FEDERATION);
  expect({ id, kind, code }).toEqual({ id, kind, code: 1 });
  await withWorker(async () => {
    const again = await testbed.federator(...REMOVE);
    // The last step had taken effect, and there is nothing left to do.
    if (again.code !== 0) expect(again.stderr).toMatch(/edge-1 is not a member of federation faulty/);
  });
}

test(
  `a worker killed in addCluster costs time only, and removeCluster finishes after any fault, at ${SAMPLE}`,
  async () => {
    const kills = faultSteps(adding, 2).map(({ id }) => id);
    const kinds: Kind[] = ['fail', 'cancel', 'kill'];
    const removals = faultSteps(removing.flatMap(({ id }) => kinds.map((kind) => ({ id, kind }))));
    // Each addition is followed by a removal: where one of the two has no more faults to try, it goes on without.
    for (let index = 0; index < Math.max(kills.length, removals.length); index++) {
      const killedAt = kills[index];
      if (killedAt === undefined)
        await withWorker(async () => succeeded(await testbed.federator(...ADD, '--no-probe')));
      else {
        await runKilled(testbed, ADD, killedAt, async (outcome) => {
          succeeded(outcome);
          succeeded(await testbed.federator('verify', '--federation', FEDERATION));
        });
      }
      const { id, kind } = removals[index] ?? {};
      if (id === undefined || kind === undefined)
        await withWorker(async () => succeeded(await testbed.federator(...REMOVE)));
      else await removeFaultily(id, kind);
      expect({ killedAt, id, kind, after: await snapshot() }).toEqual({ killedAt, id, kind, after: before });
    }
  },
  LOOP_MS,
);

test(
  'the members spoke mTLS with each other all the while',
  async () => {
    const { handshakes, refused } = await watch.stop();
    expect({ refused }).toEqual({ refused: [] });
    expect(handshakes).toBeGreaterThan(20);
  },
  5 * MINUTES,
);
