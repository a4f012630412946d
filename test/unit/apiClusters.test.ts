import { z } from 'zod';
import { toProblem } from '../../src/api/problem.js';
import { ApiServer } from '../support/apiServer.js';

let server: ApiServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

test('a federation that no name can be is the fault of who names it, not of the engine', async () => {
  server = await ApiServer.start();
  expect(await server.ask('DELETE', '/v1/clusters/edge-1?federation=A_B')).toMatchObject({
    status: 400,
    body: { title: 'InvalidInput', errors: [{ pointer: '#/querystring/federation' }] },
  });
});

test('what only the schema of the engine refuses is told with where it is', () => {
  const { error } = z.object({ a: z.object({ 'b/c': z.number() }) }).safeParse({ a: { 'b/c': 'x' } });
  expect(toProblem(error, 'request')).toMatchObject({
    status: 400,
    title: 'InvalidInput',
    errors: [{ pointer: '#/body/a/b~1c' }],
  });
});
