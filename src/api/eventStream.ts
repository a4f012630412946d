import type { FastifyReply, FastifyRequest } from 'fastify';
import { principalOf } from './context.js';
import { mayKnowAll, ProblemError, toProblem } from './problem.js';

/** A comment now and then keeps proxies from closing a stream on which nothing happens. */
const KEEP_ALIVE_MS = 15_000;
/** That one caller may follow at the same time: many consoles that share a token. */
const MOST_OF_ONE = 100;
/** Many times what a large federation's health takes. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;

export interface EventStream {
  send: (event: string, data: unknown) => void;
  /** Aborted when nobody reads any more, or the API ends. */
  signal: AbortSignal;
}

type Work = (stream: EventStream) => Promise<void>;

/** Answers that go on for as long as there is something to tell. */
export class EventStreams {
  /** By who follows them. */
  private readonly open = new Map<string, Set<AbortController>>();
  private isClosed = false;

  /**
   * Answers with server-sent events for as long as `work` has some; what fails it is the last one, `failure`.
   * @throws ProblemError 429
   */
  async answer(request: FastifyRequest, reply: FastifyReply, work: Work): Promise<void> {
    const { name } = principalOf(request);
    const own = this.open.get(name) ?? new Set();
    if (own.size >= MOST_OF_ONE) throw tooMany(name);
    const gone = new AbortController();
    if (this.isClosed) gone.abort();
    this.open.set(name, own.add(gone));
    try {
      await streamEvents(request, reply, gone, work);
    } finally {
      own.delete(gone);
      if (own.size === 0) this.open.delete(name);
    }
  }

  /** Ends them all, and those that begin later. */
  close(): void {
    this.isClosed = true;
    for (const own of this.open.values()) for (const gone of own) gone.abort();
  }
}

async function streamEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  gone: AbortController,
  work: Work,
): Promise<void> {
  reply.hijack();
  const { raw } = reply;
  // Whoever left while it was prepared is not told of again.
  if (raw.destroyed) return;
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    // One that ends as the API does must not leave a connection behind.
    connection: 'close',
  });
  raw.flushHeaders();
  raw.once('close', () => gone.abort());
  const keepAlive = setInterval(() => raw.write(': still here\n\n'), KEEP_ALIVE_MS);
  const send = (event: string, data: unknown) => {
    // Who does not read any more is let go.
    if (raw.writableLength > MAX_UNREAD_BYTES) raw.destroy();
    else raw.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  try {
    await work({ send, signal: gone.signal });
  } catch (error) {
    const { headers: _headers, ...problem } = toProblem(error, request.id, mayKnowAll(request));
    if (problem.status >= 500) request.log.error({ err: error }, 'event stream failed');
    send('failure', problem);
  } finally {
    clearInterval(keepAlive);
    raw.end();
  }
}

function tooMany(name: string): ProblemError {
  const detail = `${name} follows ${MOST_OF_ONE} event streams already: end one of them.`;
  return new ProblemError(429, 'TooManyRequests', detail, undefined, { 'retry-after': '10' });
}
