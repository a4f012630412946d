import { Metadata, status, type StatusObject } from '@grpc/grpc-js';
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
