import { ServiceError } from '@temporalio/client';
import { toProblem } from '../../src/api/problem.js';

/** As the client of Temporal throws it. */
function serviceError(code: number, details: string): ServiceError {
  const cause = Object.assign(new Error(`${code} ${details}`), { code, details, metadata: {} });
  return new ServiceError('Failed to query Workflow', { cause });
}

test.each([
  [14, 'buffered query cleared, please retry'],
  [8, 'namespace rate limit exceeded'],
  [4, 'Deadline exceeded'],
])('a Temporal that does not answer (gRPC code %i) is not the API’s own fault', (code, details) => {
  expect(toProblem(serviceError(code, details), 'request')).toMatchObject({
    status: 503,
    title: 'TemporalUnreachable',
    detail: `Temporal does not answer: ${details}. Try again in a moment.`,
  });
});

test('a workflow whose last task failed can be asked again in a moment', () => {
  const refusal = serviceError(9, 'Unable to perform workflow execution update due to Workflow Task in failed state.');
  expect(toProblem(refusal, 'request')).toMatchObject({
    status: 503,
    title: 'TemporalUnreachable',
    detail: expect.stringMatching(/its last task failed.* the log of the worker says why/) as string,
  });
});

test('what Temporal refuses is a fault of the engine, and told to nobody but its log', () => {
  const problem = toProblem(serviceError(3, 'a secret of its own'), 'request');
  expect(problem).toMatchObject({ status: 500, title: 'Internal' });
  expect(JSON.stringify(problem)).not.toContain('a secret of its own');
});
