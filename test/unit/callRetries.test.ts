import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Metadata, Server, ServerCredentials, status, type StatusObject } from '@grpc/grpc-js';
import { FederatorClient } from '../../src/client.js';
import { CallRetries } from '../../src/client/retries.js';

const away: StatusObject = { code: status.UNAVAILABLE, details: 'away', metadata: new Metadata() };

test('a call that failed is made again, until retries are ended', async () => {
  const retries = new CallRetries();
  expect(retries.options.retryableDecider(1, away)).toBe(true);
  expect(retries.options.retryableDecider(1, { ...away, code: status.NOT_FOUND })).toBe(false);
  await retries.end();
  expect(retries.options.retryableDecider(1, away)).toBe(false);
});

test('they have ended when the last one that was due has been made', async () => {
  const retries = new CallRetries();
  const made: string[] = [];
  for (const attempt of [3, 1]) {
    setTimeout(() => made.push(`attempt ${attempt}`), retries.options.delayFunction(attempt, away));
  }
  await retries.end();
  expect(made.sort()).toEqual(['attempt 1', 'attempt 3']);
});

test('a client is closed while Temporal is away, and no call is made after that', async () => {
  const temporal = new Server();
  const path = '/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo';
  const nothing = (bytes: Buffer) => bytes;
  temporal.register(
    path,
    (_call: unknown, answer: (error: null, message: Buffer) => void) => answer(null, Buffer.alloc(0)),
    nothing,
    nothing,
    'unary',
  );
  const port = await promisify(temporal.bindAsync.bind(temporal))('127.0.0.1:0', ServerCredentials.createInsecure());
  process.env['TEMPORAL_ADDRESS'] = `127.0.0.1:${port}`;
  try {
    const client = await FederatorClient.connect();
    temporal.forceShutdown();
    const asked = client.listChanges({ limit: 1 });
    const refused = expect(asked).rejects.toThrow(/list workflows/);
    // Some attempts later the next one is due in a while.
    await delay(1_000);
    await client.close();
    await refused;
  } finally {
    delete process.env['TEMPORAL_ADDRESS'];
  }
});
