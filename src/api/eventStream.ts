import type { FastifyReply, FastifyRequest } from 'fastify';
import { toProblem } from './problem.js';

/** A comment now and then keeps proxies from closing a stream on which nothing happens. */
const KEEP_ALIVE_MS = 15_000;
/** Many times what a large federation's health takes. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;

export interface EventStream {
  send: (event: string, data: unknown) => void;
  /** Aborted when nobody reads any more. */
  signal: AbortSignal;
}

/** Answers with server-sent events for as long as `work` has some; what fails it is the last one, `failure`. */
export async function streamEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  work: (stream: EventStream) => Promise<void>,
): Promise<void> {
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  });
  raw.flushHeaders();
  const gone = new AbortController();
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
    const { headers: _headers, ...problem } = toProblem(error, request.id);
    send('failure', problem);
  } finally {
    clearInterval(keepAlive);
    raw.end();
  }
}
