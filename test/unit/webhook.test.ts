import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { sendWebhook } from '../../src/activities/webhook.js';
import { isAllowedAddress, webhookSettings, type WebhookSettings } from '../../src/activities/webhookSettings.js';
import type { NotifyRequest } from '../../src/contract/scheduledHealth.js';
import { notificationBody } from '../../src/federation/notification.js';
import { occurrenceOf, tellableVerdict } from '../../src/federation/verdictChange.js';

const SECRET = 'a-secret-of-some-length';
const REQUEST: NotifyRequest = {
  federation: 'prod',
  source: { kind: 'schedule', name: 'health' },
  occurrence: 'new',
  verdict: 'failed',
  before: 'ok',
  at: Date.UTC(2026, 0, 1),
  findings: [
    {
      name: 'server-crash-loop',
      scope: 'a',
      evidence: 'it said: cannot open postgres://spire:hunter2@db/spire',
      remedy: 'Mend it.',
    },
  ],
  wrong: 3,
};
const BODY = notificationBody(REQUEST, { id: 'run/1', link: 'http://ui/x' });

interface Received {
  url: string;
  headers: http.IncomingHttpHeaders;
  body: string;
}

const NOTHING: Received = { url: '', headers: {}, body: '' };

let server: http.Server;
let received: Received[];
let answer: (response: http.ServerResponse) => void;
let url: URL;
let folder: string;

beforeAll(async () => {
  server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => (body += String(chunk)));
    request.on('end', () => {
      received.push({ url: request.url ?? '', headers: request.headers, body });
      answer(response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/hook/very-secret-path`);
  folder = mkdtempSync(path.join(os.tmpdir(), 'federator-webhook-'));
});

beforeEach(() => {
  received = [];
  answer = (response) => response.end('ok');
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

async function failure(settings: Partial<WebhookSettings> = {}, timeoutMs = 5_000) {
  const sent = sendWebhook({ url, format: 'json', ...settings }, BODY, { timeoutMs });
  return sent.then(
    () => undefined,
    (error: unknown) => error as Error & { type: string; retryable: boolean },
  );
}

test('a notification is JSON, signed with its time, and the same for every attempt', async () => {
  await sendWebhook({ url, format: 'json', secret: SECRET }, BODY);
  const [{ headers, body } = NOTHING] = received;
  expect(JSON.parse(body)).toMatchObject({
    version: 1,
    federation: 'prod',
    occurrence: 'new',
    verdict: 'failed',
    severity: 'critical',
    at: '2026-01-01T00:00:00.000Z',
    wrong: 3,
    link: 'http://ui/x',
  });
  const [, time = '', signed] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(String(headers['spire-federator-signature'])) ?? [];
  expect(signed).toBe(createHmac('sha256', SECRET).update(`${time}.${body}`).digest('hex'));
  expect(Math.abs(Date.now() / 1000 - Number(time))).toBeLessThan(60);
  expect(headers['spire-federator-delivery']).toBe('run/1');
});

test('its text is for people, and without secrets', async () => {
  await sendWebhook({ url, format: 'slack' }, BODY);
  const { text, ...rest } = JSON.parse(received[0]?.body ?? '') as { text: string };
  expect(rest).toEqual({});
  expect(text).toBe(
    'Federation prod: something is wrong (ok → failed).\n• server-crash-loop of a: it said: cannot open postgres://<redacted>@db/spire Mend it.\n… and 2 more\nhttp://ui/x',
  );
  expect(received[0]?.headers).not.toHaveProperty('spire-federator-signature');
});

test.each([
  [500, 'WebhookUnreachable', true],
  [429, 'WebhookUnreachable', true],
  [404, 'WebhookRefused', false],
  [302, 'WebhookRefused', false],
])('HTTP %i: %s, another attempt: %s', async (status, type, retryable) => {
  answer = (response) => response.writeHead(status, { location: '/elsewhere' }).end();
  const error = await failure({ secret: SECRET });
  expect(error).toMatchObject({ type, retryable });
  expect(error?.message).toContain(`HTTP ${status}`);
  expect(error?.message).not.toMatch(/very-secret-path|a-secret/);
  expect(received).toHaveLength(1);
});

test('a receiver that hangs, or whose answer never ends, costs the timeout at most', async () => {
  answer = () => undefined;
  expect(await failure({}, 200)).toMatchObject({
    type: 'WebhookUnreachable',
    message: expect.stringContaining('no answer in 0.2 s') as string,
  });
  answer = (response) => response.writeHead(200).write('and');
  expect(await failure({}, 5_000)).toBeUndefined();
});

test('nobody there', async () => {
  expect(await failure({ url: new URL('http://127.0.0.1:1/very-secret-path') })).toMatchObject({
    type: 'WebhookUnreachable',
    message: 'The webhook at 127.0.0.1:1 cannot be reached: ECONNREFUSED.',
  });
});

test('addresses of machines only, and none that answers with credentials of a cloud', () => {
  expect(
    ['169.254.169.254', '0.0.0.0', '::', 'fe80::1', 'fd00:ec2::254', '::ffff:169.254.169.254', '224.0.0.1'].filter(
      isAllowedAddress,
    ),
  ).toEqual([]);
  const machines = ['127.0.0.1', '::1', '10.0.0.1', '192.168.1.1', '203.0.113.7', 'fd12::1', '::ffff:10.0.0.1'];
  expect(machines.filter(isAllowedAddress)).toEqual(machines);
});

test('settings come from the environment or from files, which are read anew', async () => {
  const file = path.join(folder, 'secret');
  writeFileSync(file, `${SECRET}\n`);
  const environment = {
    SPIRE_FEDERATOR_WEBHOOK_URL: 'https://hooks.slack.com/services/x',
    SPIRE_FEDERATOR_WEBHOOK_SECRET_FILE: file,
  };
  expect(await webhookSettings(environment)).toMatchObject({ format: 'slack', secret: SECRET });
  writeFileSync(file, 'another-secret-of-some-length');
  expect(await webhookSettings(environment)).toMatchObject({ secret: 'another-secret-of-some-length' });
  expect(await webhookSettings({})).toBeUndefined();
});

test.each([
  ['http://example.org/secret-path', /must begin with https/],
  ['https://user:secret-path@example.org', /has a name or password/],
  ['https://169.254.169.254/secret-path', /link-local/],
  ['secret-path', /is no URL/],
])('%s is refused, without being repeated', async (address, message) => {
  const error = await webhookSettings({ SPIRE_FEDERATOR_WEBHOOK_URL: address }).catch((each: unknown) => each as Error);
  expect(error).toMatchObject({ type: 'InvalidInput', message: expect.stringMatching(message) as string });
  expect((error as Error).message).not.toContain('secret-path');
});

test.each([
  [{ SPIRE_FEDERATOR_WEBHOOK_SECRET: 'short' }, /shorter than 16/],
  [{ SPIRE_FEDERATOR_WEBHOOK_FORMAT: 'xml' }, /can be json or slack/],
  [{ SPIRE_FEDERATOR_WEBHOOK_SECRET_FILE: '/nowhere' }, /\/nowhere cannot be read \(ENOENT\)/],
  [{ SPIRE_FEDERATOR_WEBHOOK_URL_FILE: '/nowhere' }, /not both/],
])('%j is refused', async (more, message) => {
  await expect(webhookSettings({ SPIRE_FEDERATOR_WEBHOOK_URL: 'https://example.org', ...more })).rejects.toThrow(
    message,
  );
});

test.each([
  [undefined, 'ok', undefined],
  [undefined, 'failed', 'new'],
  ['ok', 'lagging', undefined],
  ['warning', 'failed', 'escalated'],
  ['repairing', 'attention', 'escalated'],
  ['failed', 'warning', 'eased'],
  ['attention', 'ok', 'healed'],
  ['failed', 'failed', undefined],
] as const)('told %s, now %s: %s', (told, now, occurrence) => {
  expect(occurrenceOf(told, now)).toBe(occurrence);
});

test('the monitor tells of nothing that a change leaves, nor while it is paused, nor before it knows', () => {
  const counts = { fresh: 1, lagging: 0, stale: 0, broken: 0, unknown: 0 };
  const known = { verdict: 'ok' as const, findings: [], counts, rounds: 9 };
  expect(tellableVerdict(known)).toBe('ok');
  expect(tellableVerdict({ ...known, paused: { reason: 'x' } })).toBeUndefined();
  expect(tellableVerdict({ ...known, verdict: 'repairing', counts: { ...counts, broken: 1 } })).toBeUndefined();
  expect(tellableVerdict({ ...known, verdict: 'unknown', rounds: 1 })).toBeUndefined();
  expect(tellableVerdict({ ...known, verdict: 'unknown' })).toBe('unknown');
});
