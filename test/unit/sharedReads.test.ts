import { Reads } from '../../src/api/reads.js';
import { Shared } from '../../src/api/shared.js';
import type { FederatorClient } from '../../src/client.js';
import { FederatorError } from '../../src/contract/errors.js';

const AGE = { freshMs: 1_000, usableMs: 2_000 };

/** Answers 1, 2, 3 … each when it is released. */
function numbered() {
  const releases: { resolve: (value: number) => void; reject: (error: Error) => void }[] = [];
  const shared = new Shared<number>(
    () => new Promise((resolve, reject) => void releases.push({ resolve, reject })),
    AGE,
  );
  return {
    shared,
    get asked() {
      return releases.length;
    },
    answer: (nth: number) => releases[nth - 1]?.resolve(nth),
    fail: (nth: number) => releases[nth - 1]?.reject(new Error(`answer ${nth} failed`)),
  };
}

const settled = () => new Promise<void>((resolve) => process.nextTick(resolve));

beforeEach(() => jest.useFakeTimers({ now: 0, doNotFake: ['nextTick'] }));
afterEach(() => jest.useRealTimers());

test('all who ask for the same at the same time, or a little later, get one answer', async () => {
  const source = numbered();
  const both = [source.shared.get('x'), source.shared.get('x')];
  source.answer(1);
  expect(await Promise.all(both)).toEqual([1, 1]);
  jest.setSystemTime(AGE.freshMs - 1);
  expect(await source.shared.get('x')).toBe(1);
  const other = source.shared.get('y');
  source.answer(2);
  expect(await other).toBe(2);
  expect(source.asked).toBe(2);
});

test('an answer that gets old is given once more while it is renewed, by one request', async () => {
  const source = numbered();
  const first = source.shared.get('x');
  source.answer(1);
  await first;
  jest.setSystemTime(AGE.freshMs);
  expect(await Promise.all([source.shared.get('x'), source.shared.get('x')])).toEqual([1, 1]);
  expect(source.asked).toBe(2);
  source.answer(2);
  await settled();
  expect(await source.shared.get('x')).toBe(2);
  expect(source.asked).toBe(2);
});

test('an answer that is too old is not given any more, also while it is renewed', async () => {
  const source = numbered();
  const first = source.shared.get('x');
  source.answer(1);
  await first;
  jest.setSystemTime(AGE.freshMs);
  await source.shared.get('x');
  jest.setSystemTime(AGE.usableMs);
  const next = source.shared.get('x');
  source.answer(3);
  expect(await next).toBe(3);
  // The slow one comes at last: it is older.
  source.answer(2);
  await settled();
  expect(await source.shared.get('x')).toBe(3);
});

test('what failed is not kept: whoever asks next has it asked anew', async () => {
  const source = numbered();
  const first = source.shared.get('x');
  source.fail(1);
  await expect(first).rejects.toThrow('answer 1 failed');
  const second = source.shared.get('x');
  source.answer(2);
  expect(await second).toBe(2);
  jest.setSystemTime(AGE.freshMs);
  expect(await source.shared.get('x')).toBe(2);
  source.fail(3);
  await settled();
  const last = source.shared.get('x');
  source.fail(4);
  await expect(last).rejects.toThrow('answer 4 failed');
});

test('what was asked for before it was forgotten is not what is told afterwards', async () => {
  const source = numbered();
  const early = source.shared.get('x');
  source.shared.forget();
  const late = source.shared.get('x');
  source.answer(2);
  source.answer(1);
  expect([await early, await late, await source.shared.get('x')]).toEqual([1, 2, 2]);
  jest.setSystemTime(AGE.freshMs);
  await source.shared.get('x');
  source.shared.forget('x');
  source.answer(3);
  await settled();
  const again = source.shared.get('x');
  source.answer(4);
  expect(await again).toBe(4);
});

const change = { federation: 'f', workflowId: 'w', runId: 'r', link: '', type: 'probe', startedAt: '' };

/** The part of the client that reads use; what is asked of it is counted. */
function readsOf(parts: Partial<FederatorClient>): Reads {
  return new Reads(parts as FederatorClient);
}

test('a change is asked for until it has ended, and then told from memory', async () => {
  let status = 'RUNNING';
  const progress = { type: 'probe', steps: [] };
  const describeChange = jest.fn(async () => ({ ...change, status }));
  const result = jest.fn(async () => Promise.reject(new FederatorError('ProbeFailed', 'no handshake')));
  const listChanges = jest.fn(async () => [{ ...change, status }]);
  const reads = readsOf({ describeChange, listChanges, result, progress: (async () => progress) as never });
  expect(await reads.change('f', 'r')).toEqual({ ...change, status, progress });
  expect(await reads.changes('f', 5)).toMatchObject([{ status }]);
  status = 'FAILED';
  const ended = { ...change, status, progress, error: { type: 'ProbeFailed', message: 'no handshake' } };
  expect(await reads.change('f', 'r')).toEqual(ended);
  // Nobody who has seen it ended finds it running in a list.
  expect(await reads.changes('f', 5)).toMatchObject([{ status }]);
  expect(await reads.change('f', 'r')).toEqual(ended);
  expect(describeChange).toHaveBeenCalledTimes(2);
  expect(result).toHaveBeenCalledTimes(1);
});

test('a change whose steps no worker could tell is asked for again', async () => {
  const describeChange = jest.fn(async () => ({ ...change, status: 'COMPLETED' }));
  const result = (async () => ({ federation: 'f' })) as never;
  const reads = readsOf({ describeChange, result, progress: async () => undefined });
  await reads.change('f', 'r');
  expect(await reads.change('f', 'r')).toEqual({ ...change, status: 'COMPLETED', result: { federation: 'f' } });
  expect(describeChange).toHaveBeenCalledTimes(2);
});

test('that nobody watches is told as an error or as nothing, and asked for once; other errors are not kept', async () => {
  const nobody = new FederatorError('NotFound', 'Nobody watches');
  const health = jest.fn(async () => Promise.reject(nobody));
  const reads = readsOf({ health });
  await expect(reads.health('f')).rejects.toBe(nobody);
  expect(await reads.knownHealth('f')).toBeUndefined();
  expect(health).toHaveBeenCalledTimes(1);
  reads.forget();
  health.mockImplementation(async () => Promise.reject(new FederatorError('NoWorker', 'No worker')));
  await expect(reads.knownHealth('f')).rejects.toThrow('No worker');
  await expect(reads.knownHealth('f')).rejects.toThrow('No worker');
  expect(health).toHaveBeenCalledTimes(3);
});
