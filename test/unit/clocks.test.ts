import type { ClusterReading } from '../../src/contract/health.js';
import { atAskersTime, clockDeviations, clockFindings, fetchesAtAskersTime } from '../../src/federation/clocks.js';
import { clockAheadMs } from '../../src/kubernetes/clock.js';
import { requestText } from '../../src/kubernetes/request.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

const NOW = Date.parse('2030-01-01T12:00:00Z');
const MINUTE = 60_000;

describe('which clock is wrong', () => {
  test.each<[string, Record<string, number>, Record<string, number>]>([
    ['none', { a: 0, b: 0 }, { a: 0, b: 0 }],
    ["a cluster's", { a: 25_000, b: 0 }, { a: 25_000, b: 0 }],
    ["the worker's", { a: 600_000, b: 600_000 }, { a: 0, b: 0 }],
    ["the worker's, and a cluster's", { a: 600_000, b: 600_000, c: 540_000 }, { a: 0, b: 0, c: -60_000 }],
    [
      'half of them: those that the worker agrees with are right',
      { a: 0, b: 30_000, c: 30_000 },
      { a: 0, b: 30_000, c: 30_000 },
    ],
  ])('%s', (_whose, ahead, deviations) => {
    expect(clockDeviations(ahead)).toEqual(deviations);
  });

  test('what SPIRE makes up for is no finding, and what it does not is', () => {
    expect(clockFindings({ a: 10_000, b: 0, c: 0 })).toEqual([]);
    expect(clockFindings({ a: 10_400, b: 0, c: -61_000 })).toMatchObject([
      {
        check: 'clock',
        scope: 'a',
        evidence: expect.stringMatching(/10 s ahead of .* not valid yet for its peers/) as string,
      },
      { check: 'clock', scope: 'c', evidence: expect.stringMatching(/61 s behind .* not valid yet for it$/) as string },
    ]);
  });
});

describe("an API server's clock", () => {
  let api: FakeKubernetesApi;
  beforeEach(async () => (api = await FakeKubernetesApi.start()));
  afterEach(async () => api.stop());

  test.each([
    ['agrees', 0, 0],
    ['is ahead', 90_000, 90_000],
    ['is behind', -90_000, -90_000],
  ])('%s', async (_how, aheadMs, expected) => {
    api.server.on('request', (_request, response) => {
      response.setHeader('date', new Date(Date.now() + aheadMs).toUTCString());
      response.end('ok');
    });
    const connection = await api.connect();
    await requestText(connection, { method: 'GET', path: '/readyz', attempt: 'look' });
    // By the time that the request took, and the part of a second that Date does not tell.
    expect(Math.abs(clockAheadMs(connection) - expected)).toBeLessThan(10_000);
    if (expected === 0) expect(clockAheadMs(connection)).toBe(0);
  });

  test('is not known before it has answered, nor where the answer has no Date', async () => {
    api.server.on('request', (_request, response) => {
      response.sendDate = false;
      response.end('ok');
    });
    const connection = await api.connect();
    await requestText(connection, { method: 'GET', path: '/readyz', attempt: 'look' });
    expect(clockAheadMs(connection)).toBe(0);
  });
});

describe('times of a worker whose clock differs', () => {
  const reading = (readAt: number): ClusterReading => ({
    cluster: 'a',
    readAt,
    serverDown: false,
    server: {
      trustDomain: 'a.test',
      ownFingerprint: 'own',
      storedDigest: 'digest',
      pollErrors: { 'b.test': { at: readAt - 1_000, cause: 'endpointUnreachable', message: 'no' } },
      silent: { 'b.test': readAt - 90_000, 'c.test': 0 },
      lastPolls: { 'b.test': readAt - 90_000 },
      polls: 1,
      startedAt: readAt - MINUTE,
      configDigest: 'config',
      refreshHintSeconds: 300,
    },
  });

  const ahead = ({ server }: ClusterReading) => server?.clockAheadMs;
  const byWorker = (workerAheadMs: number, clusterAheadMs: number): ClusterReading => {
    const read = reading(NOW - 500 + workerAheadMs);
    return { ...read, server: { ...read.server!, clockAheadMs: clusterAheadMs - workerAheadMs } };
  };

  test.each([10 * MINUTE, -10 * MINUTE])('make no clock wrong that another worker found right: %s', (aheadMs) => {
    expect(ahead(atAskersTime(byWorker(aheadMs, 0), NOW - 1_000, NOW))).toBeUndefined();
  });

  test('do not hide a clock that is wrong', () => {
    const found = ahead(atAskersTime(byWorker(10 * MINUTE, MINUTE), NOW - 1_000, NOW)) ?? 0;
    expect(Math.abs(found - MINUTE)).toBeLessThan(2_000);
  });

  test('stay as they are where it may well agree', () => {
    const same = reading(NOW - 500);
    expect(atAskersTime(same, NOW - 1_000, NOW)).toBe(same);
  });

  test.each([
    ['ahead', 10 * MINUTE, NOW],
    ['behind', -10 * MINUTE, NOW - 1_000],
  ])('are those of who asked: %s', (_how, aheadMs, readAt) => {
    const read = reading(readAt + aheadMs);
    const { readAt: at, server } = atAskersTime(read, NOW - 1_000, NOW);
    expect({ at, pollErrors: server?.pollErrors, silent: server?.silent, lastPolls: server?.lastPolls }).toEqual({
      at: readAt,
      pollErrors: { 'b.test': { at: readAt - 1_000, cause: 'endpointUnreachable', message: 'no' } },
      silent: { 'b.test': readAt - 90_000, 'c.test': 0 },
      lastPolls: { 'b.test': readAt - 90_000 },
    });
    // It tells one start of a server from another.
    expect(server?.startedAt).toBe(read.server?.startedAt);
    expect(fetchesAtAskersTime({ b: { at: readAt + aheadMs, ok: true } }, NOW - 1_000, NOW)).toEqual({
      b: { at: readAt, ok: true },
    });
  });
});
