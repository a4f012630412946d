import { readPolls, wholeLogSince } from '../../src/activities/polls.js';

const INTERVAL = 75_000;
const READ_AT = Date.parse('2030-01-01T12:00:00Z');
const STARTED_AT = READ_AT - 3_600_000;

/** A line of SPIRE server's log, so many seconds before it is read. */
const line = (secondsAgo: number, message: string, peer = 'b.test') =>
  `time="${new Date(READ_AT - secondsAgo * 1000).toISOString()}" level=info msg="${message}" subsystem_name=bundle_client trust_domain=${peer}`;
const refreshed = (secondsAgo: number, peer?: string) => line(secondsAgo, 'Bundle refreshed', peer);
const failed = (secondsAgo: number) => `${line(secondsAgo, 'Error updating bundle')} error="connection refused"`;

const at = (secondsAgo: number) => READ_AT - secondsAgo * 1000;
const read = (
  lines: string[],
  { hint = 300, ...times }: { startedAt?: number; aheadMs?: number; wholeSince?: number; hint?: number } = {},
) =>
  readPolls(lines, { 'b.test': { refreshHintSeconds: hint } }, INTERVAL, {
    readAt: READ_AT,
    startedAt: STARTED_AT,
    aheadMs: 0,
    wholeSince: at(165),
    ...times,
  });

test('a good poll in time: nothing is wrong', () => {
  expect(read([refreshed(95), refreshed(20)])).toEqual({
    pollErrors: {},
    silent: {},
    polls: 2,
    lastPolls: { 'b.test': at(20) },
  });
});

test('no line of a peer for longer than a poll is due: silent since the newest, or since nobody knows when', () => {
  expect(read([refreshed(100)]).silent).toEqual({ 'b.test': at(100) });
  expect(read([refreshed(10, 'c.test')]).silent).toEqual({ 'b.test': 0 });
});

test('polls that fail are no good ones, but their poller is not silent', () => {
  expect(read([refreshed(170), failed(95), failed(20)])).toEqual({
    pollErrors: { 'b.test': { at: at(20), cause: 'endpointUnreachable', message: 'connection refused' } },
    silent: {},
    polls: 1,
    lastPolls: { 'b.test': at(170) },
  });
});

test('of an error that is long, the cause stays, which comes last', () => {
  const times = 'current time 2030-01-01T11:59:40Z is before 2030-01-01T13:00:00Z';
  const said = `failed to fetch federated bundle from endpoint: failed to fetch bundle: Get \\"https://${'long.'.repeat(30)}test\\": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: ${times}`;
  const { pollErrors } = read([`${line(20, 'Error updating bundle')} error="${said}"`]);
  expect(pollErrors['b.test']).toMatchObject({
    cause: 'certificateTime',
    message: expect.stringMatching(/^failed to fetch .*is before 2030-01-01T13:00:00Z$/) as string,
  });
  expect(pollErrors['b.test']?.message.length).toBeLessThanOrEqual(300);
});

test('a good poll after a failed one: the error is over', () => {
  expect(read([failed(95), refreshed(20)]).pollErrors).toEqual({});
});

test('lines of the process before say nothing', () => {
  expect(read([refreshed(20)], { startedAt: at(10) })).toMatchObject({ polls: 0, silent: { 'b.test': 0 } });
});

test("a cluster's clock that is ahead: its times are told in the worker's", () => {
  const ahead = { aheadMs: 600_000, startedAt: STARTED_AT + 600_000 };
  expect(read([refreshed(20 - 600)], ahead)).toMatchObject({ silent: {}, lastPolls: { 'b.test': at(20) } });
  expect(read([refreshed(100 - 600)], ahead).silent).toEqual({ 'b.test': at(100) });
});

test('a peer whose stored bundle has a longer hint is polled less often: silent later, and only where the log reaches back', () => {
  const hint = 3600;
  expect(read([refreshed(10, 'c.test')], { hint })).toMatchObject({ silent: {}, untold: ['b.test'] });
  expect(read([refreshed(160)], { hint })).not.toHaveProperty('untold');
  const hour = { hint, wholeSince: at(3600) };
  expect(read([refreshed(900)], hour).silent).toEqual({});
  expect(read([refreshed(920)], hour).silent).toEqual({ 'b.test': at(920) });
  expect(read([refreshed(10, 'c.test')], hour).silent).toEqual({ 'b.test': 0 });
});

test('a peer whose stored bundle has no hint, or a shorter one, is to be polled as the others', () => {
  for (const hint of [0, 60]) expect(read([refreshed(100)], { hint }).silent).toEqual({ 'b.test': at(100) });
});

describe('a log that is read from its end only', () => {
  const chatty = (lines: number) => Array.from({ length: lines }, () => line(20, 'Starting to fetch entries'));
  const asked = at(165);

  test('begins with its first line that has a time, and before that it tells nothing of a poll', () => {
    const log = ['a line that was cut off', ...chatty(99)];
    expect(wholeLogSince(log, 100, asked, 0)).toBe(at(20));
    expect(wholeLogSince(log, 100, asked, 5_000)).toBe(at(25));
    expect(read(log, { wholeSince: at(20) })).toMatchObject({ silent: {}, untold: ['b.test'] });
  });

  test('reaches back as far as it was asked for where it has fewer lines, or older ones', () => {
    expect(wholeLogSince(chatty(99), 100, asked, 0)).toBe(asked);
    expect(wholeLogSince([line(300, 'Starting')], 1, asked, 0)).toBe(asked);
  });

  test('tells nothing where no line has a time', () => {
    const wholeSince = wholeLogSince(['no time'], 1, asked, 0);
    expect(read(['no time'], { wholeSince })).toMatchObject({ silent: {}, untold: ['b.test'] });
  });
});
