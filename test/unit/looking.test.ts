import { ServiceError } from '@temporalio/client';
import { status } from '@grpc/grpc-js';
import { toProblem } from '../../src/api/problem.js';
import { looking } from '../../src/cli/looking.js';

/** What Temporal's client throws for a call that its server answers so. */
function answered(code: status, details: string): ServiceError {
  const cause = Object.assign(new Error(details), { code, details, metadata: {} });
  return new ServiceError('Failed to query Workflow', { cause });
}

const NO_POLLER = answered(status.FAILED_PRECONDITION, 'no poller seen for task queue recently, worker may be down');

afterEach(() => {
  process.exitCode = undefined;
  jest.restoreAllMocks();
});

test.each([
  ['no worker', NO_POLLER, /No worker has listened on task queue spire-federator lately/],
  ['no Temporal', answered(status.UNAVAILABLE, 'connection refused'), /Temporal does not answer: connection refused/],
])('with %s, a command that looks says so and exits with 2', async (_what, error, message) => {
  const said = jest.spyOn(console, 'error').mockImplementation(() => undefined);
  await looking(() => Promise.reject(error));
  expect(process.exitCode).toBe(2);
  expect(said.mock.calls).toEqual([[expect.stringMatching(message)]]);
});

test('a fault of its own is none of these', async () => {
  await expect(looking(() => Promise.reject(new TypeError('a bug')))).rejects.toThrow('a bug');
});

test('the API answers 503 where no worker could be asked', () => {
  expect(toProblem(NO_POLLER, '')).toMatchObject({ status: 503, title: 'NoWorker' });
});
