import path from 'node:path';

interface Session {
  events: (path: string, signal: AbortSignal) => AsyncGenerator<{ event: string; data: unknown }>;
}

/** A stream of server-sent events that arrives in these pieces, and then ends or breaks off. */
function answer(pieces: string[], end: (stream: ReadableStreamDefaultController) => void): Response {
  const body = new ReadableStream({
    start: (stream) => {
      for (const piece of pieces) stream.enqueue(new TextEncoder().encode(piece));
    },
    pull: end,
  });
  return new Response(body);
}

/** What the console's own reader makes of a stream. */
async function read(response: Response): Promise<{ event: string; data: unknown }[]> {
  const found: { event: string; data: unknown }[] = [];
  const file = path.resolve(__dirname, '../../src/console/session.js');
  const { events } = (await import(file)) as Session;
  jest.spyOn(globalThis, 'fetch').mockResolvedValue(response);
  for await (const each of events('federations/prod/health/events', new AbortController().signal)) found.push(each);
  return found;
}

beforeAll(() => {
  Object.assign(globalThis, { document: { baseURI: 'http://console.test/' }, sessionStorage: { getItem: () => 't' } });
});
afterEach(() => jest.restoreAllMocks());

test.each(['\u2028', '\u2029', '\r', 'data: ', 'plain'])('text with %j comes as it was sent', async (odd) => {
  const data = { evidence: `one${odd}two` };
  const sent = `: still here\n\nevent: health\ndata: ${JSON.stringify(data)}\n\nevent: changes\ndata: []\n\n`;
  const pieces = [sent.slice(0, 40), sent.slice(40)];
  expect(await read(answer(pieces, (stream) => stream.close()))).toEqual([
    { event: 'health', data },
    { event: 'changes', data: [] },
  ]);
});

test('a stream that breaks off is told as an API that cannot be reached', async () => {
  const broken = answer(['event: health\n'], (stream) => stream.error(new TypeError('network error')));
  await expect(read(broken)).rejects.toMatchObject({
    status: 0,
    message: expect.stringContaining('cannot be reached') as string,
  });
});
