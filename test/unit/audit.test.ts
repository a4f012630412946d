import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { AuditLog } from '../../src/api/audit.js';
import { AuditOutcomes } from '../../src/api/auditOutcomes.js';
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
  await log.open();
  expect(await actions(log)).toEqual(['first']);
  await log.add({ ...asked('second'), status: 200 });
  // Also for the process after this one, in whose file it is no longer the last line.
  const next = new AuditLog(file);
  expect(await next.open()).toBe(rest.startsWith('{') ? 1 : 0);
  expect(await actions(next)).toEqual(['second', 'first']);
  expect((await next.list({ limit: 1 }))[0]?.sequence).toBe(2);
});

test('a line that nobody wrote like that is still told of', async () => {
  writeFileSync(file, 'nonsense\n');
  await expect(new AuditLog(file).open()).rejects.toThrow(/a line of it is not a record/);
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

test('what becomes of a change is told as long as Temporal knows it', async () => {
  const record = (runId: string, workflowId: string, cluster?: string) => ({
    at: '',
    sequence: 1,
    ...asked('x'),
    runId,
    workflowId,
    ...(cluster === undefined ? {} : { cluster }),
  });
  const change = { type: 'x', link: '', startedAt: '', runId: 'x' };
  let isAway = false;
  const outcomes = new AuditOutcomes({
    describeChange: async (federation, runId) => {
      if (isAway) throw new Error('unavailable');
      if (runId === 'forgotten') throw new FederatorError('NotFound', 'There is no such change.');
      return { ...change, federation, workflowId: '', status: 'FAILED', endedAt: 'then' };
    },
    clusterChange: async () => ({ ...change, status: 'RUNNING' }),
  });
  const records = [
    record('failed', 'federation/f/change'),
    record('forgotten', 'federation/f/change'),
    record('runs', 'cluster/c/change', 'c'),
    { at: '', sequence: 2, ...asked('refused') },
  ];
  const failed = { status: 'FAILED', endedAt: 'then' };
  expect((await outcomes.join(records)).map(({ outcome }) => outcome)).toEqual([
    failed,
    undefined,
    { status: 'RUNNING' },
    undefined,
  ]);
  isAway = true;
  const [known, unknown] = await outcomes.join([
    record('failed', 'federation/f/change'),
    record('else', 'federation/f/change'),
  ]);
  expect([known?.outcome, unknown?.outcome]).toEqual([failed, undefined]);
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
