import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import { decodedHistory } from '../../src/activities/decodedHistory.js';
import { payloadEncryption } from '../../src/encryption/payloadEncryption.js';
import { CodecServer, payloadJson } from '../support/codecServer.js';

const SECRET = 'payments of edge-1';
const key = (id: string, byte: number) => `${id}:${Buffer.alloc(32, byte).toString('base64')}`;
const codecOf = (...keys: string[]) => payloadEncryption({ SPIRE_FEDERATOR_PAYLOAD_KEYS: keys.join() }).codec;
const plain = (value: unknown = { what: SECRET }): Payload => defaultPayloadConverter.toPayload(value);
const text = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString('utf8');

async function encrypted(codec = codecOf(key('k1', 1))): Promise<Payload> {
  const [payload] = await codec.encode([plain()]);
  if (payload === undefined) throw new Error('nothing was encoded');
  return payload;
}

describe('an encrypted payload', () => {
  test.each([[{ what: SECRET }], [''], [null], [undefined], [new Uint8Array([0, 255])], [['ü', '→']]])(
    'is what it was made of again: %p',
    async (value) => {
      const codec = codecOf(key('k1', 1));
      const [decoded] = await codec.decode(await codec.encode([defaultPayloadConverter.toPayload(value)]));
      expect(decoded && defaultPayloadConverter.fromPayload(decoded)).toEqual(value);
    },
  );

  test('tells its encoding and the key, and is another one each time', async () => {
    const [first, second] = [await encrypted(), await encrypted()];
    const metadata = Object.entries(first.metadata ?? {}).map(([name, value]) => [name, text(value)]);
    expect(Object.fromEntries(metadata)).toEqual({ encoding: 'binary/encrypted', 'encryption-key-id': 'k1' });
    expect(text(first.data)).not.toContain('edge');
    expect(first.data).not.toEqual(second.data);
  });

  test('is read with older keys, and made with the first', async () => {
    const old = await encrypted(codecOf(key('k1', 1)));
    const rotated = codecOf(key('k2', 2), key('k1', 1));
    expect(text((await encrypted(rotated)).metadata?.['encryption-key-id'])).toBe('k2');
    expect((await rotated.decode([old, await encrypted(rotated)])).map(({ data }) => text(data))).toEqual([
      JSON.stringify({ what: SECRET }),
      JSON.stringify({ what: SECRET }),
    ]);
  });

  test('is not read without its key, and the message says which one and where', async () => {
    const payload = await encrypted();
    const decoding = (...keys: string[]) => codecOf(...keys).decode([payload]);
    await expect(decoding(key('k2', 2))).rejects.toMatchObject({
      type: 'PayloadUnreadable',
      message: expect.stringMatching(/with key k1, .*SPIRE_FEDERATOR_PAYLOAD_KEYS here \(k2\)\. Add it/) as string,
    });
    await expect(decoding()).rejects.toThrow(/SPIRE_FEDERATOR_PAYLOAD_KEYS is not set here\. Set it/);
    await expect(decoding(key('k1', 3))).rejects.toThrow(/with key k1 of .* the key is another one of that ID/);
  });

  test('is not read when a bit of it was changed, wherever', async () => {
    const payload = await encrypted();
    const { length } = payload.data ?? [];
    for (let at = 0; at < (length ?? 0); at++) {
      const data = Uint8Array.from(payload.data ?? []);
      data[at] = (data[at] ?? 0) ^ 1;
      await expect(codecOf(key('k1', 1)).decode([{ ...payload, data }])).rejects.toThrow(/it was changed/);
    }
    for (const data of [payload.data?.subarray(0, 27), payload.data?.subarray(1), undefined]) {
      await expect(
        codecOf(key('k1', 1)).decode([{ metadata: payload.metadata ?? null, data: data ?? null }]),
      ).rejects.toThrow(/it was changed/);
    }
  });
});

test('what is not encrypted is passed through', async () => {
  const foreign = [plain(), { metadata: { encoding: Buffer.from('binary/zlib') }, data: Buffer.from('x') }, {}];
  expect(await codecOf(key('k1', 1)).decode(foreign)).toEqual(foreign);
  expect(await codecOf().decode(foreign)).toEqual(foreign);
});

describe('a history for a bug report', () => {
  const history = async () => ({
    events: [
      {
        eventId: { low: 7, high: 0, unsigned: false },
        workflowExecutionStartedEventAttributes: {
          input: { payloads: [await encrypted(), plain('readable')] },
          memo: null,
          header: { fields: { traced: await encrypted() } },
        },
      },
    ],
  });

  test('has its payloads decrypted, and all else as it is', async () => {
    const kept = await history();
    const decoded = await decodedHistory(kept, [codecOf(key('k1', 1))]);
    expect(decoded.events[0]?.eventId).toBe(kept.events[0]?.eventId);
    const attributes = decoded.events[0]?.workflowExecutionStartedEventAttributes;
    const readable = JSON.stringify({ what: SECRET });
    expect(attributes?.input.payloads.map(({ data }) => text(data))).toEqual([readable, '"readable"']);
    expect(text(attributes?.header.fields.traced.data)).toBe(readable);
    expect(attributes?.memo).toBeNull();
  });

  test('keeps what no key is there for', async () => {
    const kept = await history();
    expect(await decodedHistory(kept, [codecOf(key('k2', 2))])).toEqual(kept);
    expect(await decodedHistory(kept, [])).toEqual(kept);
  });
});

test('without keys nothing is encrypted', async () => {
  const { on, codec, dataConverter } = payloadEncryption({});
  expect({ on, converter: dataConverter.failureConverterPath }).toEqual({ on: false, converter: undefined });
  expect(await codec.encode([plain()])).toEqual([plain()]);
});

test.each([
  ['k1', /Key 1 of SPIRE_FEDERATOR_PAYLOAD_KEYS is not/],
  ['k1:c2hvcnQ=', /Key 1 of .* is not "<id>:<32 bytes in base64>"\. Make one: .*openssl/],
  [`${key('k1', 1)},`, /Key 2 of/],
  [`${key('k1', 1)},${key('k1', 2)}`, /Key 2 of .* a second one of ID k1/],
])('keys like "%s" are refused, and none is repeated', (keys, says) => {
  const parsing = () => codecOf(keys);
  expect(parsing).toThrow(says);
  expect(parsing).not.toThrow(/c2hvcnQ|AQEB/);
  expect(parsing).toThrow(expect.objectContaining({ type: 'InvalidInput' }) as Error);
});

describe('the codec server', () => {
  let server: CodecServer;
  beforeAll(async () => (server = await CodecServer.start(codecOf(key('k2', 2), key('k1', 1)))));
  afterAll(async () => server.stop());

  const body = async () => ({ payloads: [payloadJson(await encrypted())] });

  test('decrypts for the Web UI, and passes on what is not encrypted', async () => {
    const payloads = [await encrypted(), plain('readable')];
    expect(await server.texts(payloads)).toEqual([JSON.stringify({ what: SECRET }), '"readable"']);
    const { headers, statusCode } = await server.decode(await body());
    expect({ statusCode, headers }).toMatchObject({
      statusCode: 200,
      headers: {
        'access-control-allow-origin': 'http://127.0.0.1:8233',
        vary: 'Origin',
        'cache-control': 'no-store',
      },
    });
    expect(headers['access-control-allow-credentials']).toBeUndefined();
  });

  test('takes an operator of all federations, or more', async () => {
    const status = async (as: Parameters<typeof server.decode>[1]) =>
      (await server.decode(await body(), as)).statusCode;
    expect(await status({ as: null })).toBe(401);
    for (const as of ['viewer', 'approver', 'local'] as const) expect(await status({ as })).toBe(403);
    const refused = await server.decode(await body(), { as: null });
    expect(refused.headers['access-control-allow-origin']).toBe('http://127.0.0.1:8233');
    expect(refused.json()).toMatchObject({ title: 'Unauthorized', status: 401 });
  });

  test('tells browsers that the Web UI alone may ask', async () => {
    const { statusCode, headers } = await server.preflight();
    expect({ statusCode, headers }).toMatchObject({
      statusCode: 204,
      headers: {
        'access-control-allow-origin': 'http://127.0.0.1:8233',
        'access-control-allow-methods': 'POST',
        'access-control-allow-headers': 'Authorization, Content-Type, X-Namespace',
      },
    });
    for (const origin of ['http://127.0.0.1:8234', 'https://127.0.0.1:8233', 'null', 'http://evil.test']) {
      const answers = [await server.preflight(origin), await server.decode(await body(), { origin })];
      for (const answer of answers) {
        expect(Object.keys(answer.headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
      }
    }
  });

  test.each<[string, unknown, number]>([
    ['no JSON', '{"payloads":', 400],
    ['no payloads', {}, 400],
    ['bytes that are no base64', { payloads: [{ data: '%' }] }, 400],
    ['too many', { payloads: Array.from({ length: 1_001 }, () => ({})) }, 400],
    ['too much', { payloads: [{ data: 'A'.repeat(7 * 1024 * 1024) }] }, 413],
    [
      'a key that is not here',
      { payloads: [{ metadata: { encoding: 'YmluYXJ5L2VuY3J5cHRlZA==', 'encryption-key-id': 'azM=' }, data: 'AA==' }] },
      422,
    ],
  ])('refuses %s with problem details', async (_what, sent, status) => {
    const { statusCode, headers, json } = await server.decode(sent);
    expect(statusCode).toBe(status);
    expect(headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(json()).toMatchObject({ status, detail: expect.stringMatching(/\S/) as string });
  });
});
