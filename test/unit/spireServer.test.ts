import { WebSocketServer } from 'ws';
import { SpireServer } from '../../src/spire/server.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

const MINUTE_MS = 60_000;

let api: FakeKubernetesApi;
let spire: SpireServer;
/** Each answers a command, in the order in which they came. */
let answers: ((output: string) => void)[];

beforeEach(async () => {
  api = await FakeKubernetesApi.start();
  answers = [];
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => 'v4.channel.k8s.io' });
  api.server.on('upgrade', (request, socket, head) =>
    sockets.handleUpgrade(request, socket, head, (open) => {
      answers.push((output) => {
        open.send(Buffer.concat([Buffer.from([1]), Buffer.from(output)]));
        open.send(Buffer.concat([Buffer.from([3]), Buffer.from(JSON.stringify({ status: 'Success' }))]));
      });
    }),
  );
  spire = new SpireServer(await api.connect());
});
afterEach(async () => api.stop());

async function commands(count: number): Promise<void> {
  while (answers.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
}

const list = (...trustDomains: string[]) =>
  JSON.stringify({ bundles: trustDomains.map((trust_domain) => ({ trust_domain })) });
const domains = (stored: ReadonlyMap<string, unknown> | undefined) => stored && [...stored.keys()];

async function read(...stored: string[]): Promise<string> {
  const before = answers.length;
  const reading = spire.storedBundles();
  await commands(before + 1);
  answers[before]?.(list(...stored));
  expect(domains(await reading)).toEqual(stored);
  return spire.storedReading ?? '';
}

describe('readings of what is stored', () => {
  test('what a reading found is had again by its name, or what a later one found', async () => {
    expect(spire.storedReading).toBeUndefined();
    const first = await read('a.test');
    expect(domains(spire.storedSince(first, MINUTE_MS))).toEqual(['a.test']);
    const second = await read('a.test', 'b.test');
    expect(second).not.toBe(first);
    expect(domains(spire.storedSince(first, MINUTE_MS))).toEqual(['a.test', 'b.test']);
  });

  test('a reading that began before another does not take its place by ending after it', async () => {
    await read();
    const older = spire.storedBundles();
    await commands(2);
    const newer = await read('b.test');
    answers[1]?.(list('a.test'));
    await older;
    expect(spire.storedReading).toBe(newer);
    expect(domains(spire.storedSince(newer, MINUTE_MS))).toEqual(['b.test']);
  });

  test('what was read too long ago is not had again', async () => {
    const name = await read('a.test');
    const readAt = Date.now();
    jest.spyOn(Date, 'now').mockReturnValue(readAt + MINUTE_MS);
    expect(spire.storedSince(name, MINUTE_MS - 1)).toBeUndefined();
    jest.restoreAllMocks();
  });

  test('of another connection to the same server nothing is known', async () => {
    const name = await read('a.test');
    const other = new SpireServer(await api.connect({ name: 'other' }));
    expect(other.storedSince(name, MINUTE_MS)).toBeUndefined();
  });

  test.each(['', 'another-process/1', '1', '/'])('%j is no reading of this process', async (name) => {
    await read('a.test');
    expect(spire.storedSince(name, MINUTE_MS)).toBeUndefined();
  });

  test('a reading that is still to come is none', async () => {
    const name = await read('a.test');
    expect(spire.storedSince(name.replace(/1$/, '2'), MINUTE_MS)).toBeUndefined();
  });
});

describe('the own bundle', () => {
  let now: number;
  beforeEach(async () => {
    now = Date.now();
    jest.spyOn(Date, 'now').mockImplementation(() => now);
    const bundle = spire.bundle();
    await commands(1);
    answers[0]?.('{"keys":[]}');
    await bundle;
  });
  afterEach(() => jest.restoreAllMocks());

  test('is recent for as long as is asked for, and again when its endpoint proved it', () => {
    now += MINUTE_MS;
    expect(spire.recentBundle(MINUTE_MS)).toBe('{"keys":[]}');
    expect(spire.recentBundle(MINUTE_MS - 1)).toBeUndefined();
    spire.proveBundle('{"keys":[]}', now);
    expect(spire.recentBundle(0)).toBe('{"keys":[]}');
  });

  test('is unknown once its CA was changed', async () => {
    const changed = spire.changeAuthority('revoke', 'old');
    await commands(2);
    answers[1]?.('{}');
    await changed;
    expect(spire.provableBundle()).toBeUndefined();
  });

  test('is the one that was asked for last, whichever answer comes last', async () => {
    now += 1;
    const older = spire.bundle();
    await commands(2);
    now += 1;
    const newer = spire.bundle();
    await commands(3);
    answers[2]?.('{"keys":[2]}');
    await newer;
    answers[1]?.('{"keys":[1]}');
    await older;
    expect(spire.provableBundle()).toBe('{"keys":[2]}');
  });

  test('is not proven by another one', () => {
    now += MINUTE_MS;
    spire.proveBundle('{"keys":[{}]}', now);
    expect(spire.recentBundle(0)).toBeUndefined();
  });

  test('is asked for again after two minutes, whatever was proven meanwhile', () => {
    now += 2 * MINUTE_MS;
    expect(spire.provableBundle()).toBe('{"keys":[]}');
    now += 1;
    spire.proveBundle('{"keys":[]}', now);
    expect(spire.provableBundle()).toBeUndefined();
    expect(spire.recentBundle(MINUTE_MS)).toBeUndefined();
  });
});
