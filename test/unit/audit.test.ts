import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { AuditLog, type AuditRecord } from '../../src/api/audit.js';
import { AuditOutcomes } from '../../src/api/auditOutcomes.js';
import type { ChangeProgress } from '../../src/contract/change.js';
import { FederatorError } from '../../src/contract/errors.js';
import { ApiServer } from '../support/apiServer.js';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'audit-'));
  file = path.join(folder, 'audit.jsonl');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const asked = (action: string) => ({ who: 'token/me', action, input: {} });
const actions = async (log: AuditLog) => (await log.list({ limit: 10 })).map(({ action }) => action);

test.each([
  ['a part of it', '{"at":"2026-01-01T00:00:00Z","sequence":2,"who":"tok'],
  ['its first byte', '{'],
  ['space that nothing was written to', '\0\0\0\0'],
])('of a line that was cut off there is %s, and the next one begins anew', async (_what, rest) => {
  const before = new AuditLog(file);
  await before.add({ ...asked('first'), status: 200 });
  appendFileSync(file, rest);
  const log = new AuditLog(file);
  await log.start();
  expect(await actions(log)).toEqual(['first']);
  await log.add({ ...asked('second'), status: 200 });
  // Also for the process after this one, in whose file it is no longer the last line.
  const next = new AuditLog(file);
  expect(await next.start()).toBe(rest.startsWith('{') ? 1 : 0);
  expect(await actions(next)).toEqual(['second', 'first']);
  expect((await next.list({ limit: 1 }))[0]?.sequence).toBe(2);
});

test('a line that nobody wrote like that is still told of', async () => {
  writeFileSync(file, 'nonsense\n');
  await expect(new AuditLog(file).start()).rejects.toThrow(/a line of it is not a record/);
});

test('a record that could not be written does not keep later ones from being', async () => {
  const log = new AuditLog(file);
  mkdirSync(file);
  await expect(log.add(asked('first'))).rejects.toThrow(/cannot be used \(EISDIR\): without it nothing is done/);
  rmdirSync(file);
  await log.add(asked('second'));
  expect(await actions(log)).toEqual(['second']);
});

test('of a request, one record is listed: what came of it where that is known', async () => {
  const log = new AuditLog(file);
  const sequence = await log.add(asked('done'));
  await log.add({ ...asked('done'), asked: sequence, status: 202 });
  await log.add(asked('interrupted'));
  const seen = await log.list({ limit: 10 });
  expect(seen.map(({ action, status }) => [action, status])).toEqual([
    ['interrupted', undefined],
    ['done', 202],
  ]);
  expect(await new AuditLog(file).list({ limit: 10 })).toEqual(seen);
});

describe('what becomes of a change', () => {
  const change = { type: 'x', link: '', startedAt: '', runId: 'x' };
  const ended = { status: 'FAILED', endedAt: '2026-01-01T00:00:00Z' };
  const step = { id: 'a/c', cluster: 'c', title: 'Do it', action: 'change' as const, state: 'undone' as const };
  const outcome = {
    ...ended,
    error: 'It does not fit.',
    plan: [{ cluster: 'c', title: 'Do it', action: 'change', state: 'undone' }],
  };
  let log: AuditLog;
  let isAway: boolean;
  let progress: ChangeProgress | undefined;
  /** Run of which Temporal has what this process has no key for. */
  let unreadable: string;
  let outcomes: AuditOutcomes;
  beforeEach(() => {
    log = new AuditLog(file);
    isAway = false;
    progress = {
      phase: 'finished',
      steps: [
        step,
        { ...step, title: 'Leave it', action: 'none', state: 'unchanged' },
        { ...step, title: 'See', action: 'check', state: 'done' },
      ],
    };
    unreadable = '';
    const client: ConstructorParameters<typeof AuditOutcomes>[0] = {
      describeChange: async (federation, runId) => {
        if (isAway) throw new Error('unavailable');
        if (runId === unreadable) throw new FederatorError('PayloadUnreadable', 'It is encrypted.');
        if (runId === 'forgotten') throw new FederatorError('NotFound', 'There is no such change.');
        const standing = { runs: { status: 'RUNNING' }, paused: { status: 'PAUSED' } }[runId] ?? ended;
        return { ...change, federation, workflowId: '', ...standing };
      },
      clusterChange: async (_cluster, runId) =>
        runId === unreadable
          ? { ...change, status: 'FAILED', error: { type: 'PayloadUnreadable', message: 'It is encrypted.' } }
          : { ...change, status: 'COMPLETED', endedAt: ended.endedAt },
      changeBegunBy: async (cluster) =>
        cluster === 'd'
          ? undefined
          : { ...change, federation: 'f', workflowId: '', runId: cluster === 'c' ? 'x' : 'runs' },
      progress: async () => progress,
      result: async () => {
        throw new FederatorError('PreflightFailed', outcome.error);
      },
    };
    outcomes = new AuditOutcomes(client, log);
  });
  const began = async (runId: string, rest: object = {}) => {
    const sequence = await log.add(asked('x'));
    await log.add({ ...asked('x'), asked: sequence, runId, workflowId: 'federation/f/change', ...rest });
  };
  const listed = async (of = log) => (await of.list({ limit: 10 })).map((record) => record.outcome);

  test('is told as long as Temporal knows it', async () => {
    await began('failed');
    await began('forgotten');
    await began('runs');
    await log.add(asked('refused'));
    const records = await log.list({ limit: 10 });
    expect((await outcomes.join(records)).map((record) => record.outcome)).toEqual([
      undefined,
      { status: 'RUNNING', plan: outcome.plan },
      undefined,
      outcome,
    ]);
    isAway = true;
    expect(await outcomes.join(records)).toEqual(records);
  });

  test('is on record with its plan when it has ended, for whoever reads the log later', async () => {
    await began('failed');
    await began('forgotten');
    await began('runs');
    await outcomes.record();
    expect(await listed()).toEqual([undefined, { status: 'UNKNOWN' }, outcome]);
    expect((await log.pending()).map(({ runId }) => runId)).toEqual(['runs']);
    const next = new AuditLog(file);
    expect(await listed(next)).toEqual(await listed());
    expect((await next.pending()).map(({ runId }) => runId)).toEqual(['runs']);
    // Temporal is not asked again, and nothing is written twice.
    isAway = true;
    expect((await outcomes.join(await next.list({ limit: 10 }))).at(-1)?.outcome).toEqual(outcome);
    const exported = await text(await log.export());
    await expect(outcomes.record()).rejects.toThrow('unavailable');
    expect(await text(await log.export())).toBe(exported);
    const lines = exported.trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as AuditRecord).sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(JSON.parse(lines[6] ?? '')).toMatchObject({ who: 'token/me', action: 'x', input: {}, ended: 2, outcome });
  });

  test('is read where it is, behind a line that was cut off within a character', async () => {
    await began('failed', { detail: 'größer' });
    appendFileSync(file, Buffer.from('{"at":"2026","who":"ö').subarray(0, -1));
    log = new AuditLog(file);
    await new AuditOutcomes(outcomes['client'], log).record();
    await log.add(asked('next'));
    expect(await listed()).toEqual([undefined, outcome]);
    expect(await listed(new AuditLog(file))).toEqual([undefined, outcome]);
  });

  test('waits for a worker that tells the plan, though not for ever', async () => {
    progress = undefined;
    await began('failed');
    // However long ago it ended: the worker may have been away for as long as the API.
    await outcomes.record();
    expect(await log.pending()).toHaveLength(1);
    const later = jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 3_600_000);
    try {
      await outcomes.record();
      expect(await listed()).toEqual([{ ...ended, error: outcome.error }]);
    } finally {
      later.mockRestore();
    }
  });

  test('of an onboarding is that of the join it began', async () => {
    await began('onboards', { workflowId: 'cluster/c/change', cluster: 'c', federation: 'f' });
    await began('onboards', { workflowId: 'cluster/d/change', cluster: 'd' });
    await outcomes.record();
    const { endedAt } = ended;
    expect(await listed()).toEqual([
      { status: 'COMPLETED', endedAt, plan: [] },
      { status: 'COMPLETED', endedAt, plan: outcome.plan },
    ]);
  });

  test('is not known before it has ended, nor before what it began has', async () => {
    await began('paused');
    await began('onboards', { workflowId: 'cluster/e/change', cluster: 'e', federation: 'f' });
    await outcomes.record();
    expect(await log.pending()).toHaveLength(2);
    const standing = await outcomes.join(await log.list({ limit: 10 }));
    expect(standing.map((record) => record.outcome)).toEqual([
      { status: 'COMPLETED', endedAt: ended.endedAt, plan: outcome.plan },
      { status: 'PAUSED', plan: outcome.plan },
    ]);
  });

  test('of a plan is found by its own ID', async () => {
    await began('some run', { workflowId: 'plan/f/forgotten' });
    await began('forgotten', { workflowId: 'plan/f/known' });
    await outcomes.record();
    expect(await listed()).toEqual([outcome, { status: 'UNKNOWN' }]);
  });

  test('that cannot be read is none, and is in the way of no other', async () => {
    unreadable = 'secret';
    await began('secret');
    await began('secret', { workflowId: 'cluster/c/change', cluster: 'c' });
    await began('failed');
    await expect(outcomes.record()).rejects.toThrow('It is encrypted.');
    expect(await listed()).toEqual([outcome, undefined, undefined]);
  });

  test('goes into the file that is there when somebody has moved the old one away', async () => {
    await began('failed');
    await outcomes.record();
    await began('runs');
    renameSync(file, `${file}.1`);
    expect(await listed()).toEqual([undefined, undefined]);
    await began('failed');
    await outcomes.record();
    expect(await listed()).toEqual([outcome]);
    expect((await log.pending()).map(({ runId }) => runId)).toEqual(['runs']);
    const lines = (await text(await log.export())).trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as AuditRecord).sequence)).toEqual([6, 7, 8]);
  });
});

test('numbers go on where a write failed and the file was moved away', async () => {
  const log = new AuditLog(file);
  await log.add({ ...asked('before'), runId: 'runs' });
  renameSync(file, `${file}.1`);
  mkdirSync(file);
  await expect(log.add(asked('failed'))).rejects.toThrow(/EISDIR/);
  expect(await actions(log)).toEqual(['before']);
  rmdirSync(file);
  expect(await log.add(asked('after'))).toBe(2);
  expect(await actions(log)).toEqual(['after']);
  expect((await log.pending()).map(({ runId }) => runId)).toEqual(['runs']);
});

test('an export has all of each line, whatever was written into it', async () => {
  const log = new AuditLog(file);
  const reason = `a\u2028{"at":"b${'ö'.repeat(100_000)}`;
  await log.add({ ...asked('pause'), detail: reason });
  appendFileSync(file, '{"at":"2026');
  await log.add(asked('next'));
  const lines = (await text(await log.export())).trim().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as AuditRecord).detail)).toEqual([reason, undefined]);
});

describe('a request that changes something', () => {
  let server: ApiServer;
  const done: string[] = [];
  /** Called when it is done. */
  let meanwhile: () => void;
  beforeEach(async () => {
    done.length = 0;
    meanwhile = () => undefined;
    server = await ApiServer.start({
      client: {
        approve: async (_federation, findingId) => {
          done.push(findingId);
          meanwhile();
          throw new FederatorError('InvalidInput', 'No such finding waits.');
        },
      },
    });
  });
  afterEach(async () => server.stop());
  const approve = () => server.ask('POST', '/v1/federations/f/approvals', { body: { findingId: 'x' } });
  const lines = () => readFileSync(server.auditFile, 'utf8').trim().split('\n');

  test('is on record before it is done, and what came of it after', async () => {
    let before: string[] = [];
    meanwhile = () => (before = lines());
    expect((await approve()).status).toBe(400);
    expect(before).toEqual([expect.stringMatching(/"action":"approve".*"findingId":"x"/)]);
    expect(lines()).toEqual([before[0], expect.stringMatching(/"asked":1,"status":400/)]);
    expect(await server.ask('GET', '/v1/audit')).toMatchObject({ body: { items: [{ sequence: 2, status: 400 }] } });
  });

  test('is not done where it cannot be put on record', async () => {
    mkdirSync(server.auditFile);
    expect(await approve()).toMatchObject({ status: 503, body: { title: 'StoreUnavailable' } });
    expect(done).toEqual([]);
  });

  test('is answered as it ended, also where that can no longer be put on record', async () => {
    meanwhile = () => {
      rmSync(server.auditFile);
      mkdirSync(server.auditFile);
    };
    expect((await approve()).status).toBe(400);
    expect(done).toEqual(['x']);
  });
});
