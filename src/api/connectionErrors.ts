import { randomUUID } from 'node:crypto';
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { problem, PROBLEM_TYPE } from './problem.js';

/** Codes of Node's HTTP parser and server; what else it cannot read is a 400. */
const STATUS: Partial<Record<string, { status: number; detail: string }>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, detail: 'The request did not arrive in time.' },
  HPE_HEADER_OVERFLOW: { status: 431, detail: 'The header fields are too large.' },
};
const MALFORMED = { status: 400, detail: 'This is not HTTP.' };

/** Answers what never became a request: too slow, too large, or not HTTP. */
export function answerConnectionError({ code }: NodeJS.ErrnoException, socket: Socket): void {
  if (code === 'ECONNRESET' || socket.destroyed) return;
  // An answer that is under way cannot be followed by another one.
  if (!socket.writable || isAnswering(socket)) {
    socket.destroy();
    return;
  }
  const { status, detail } = STATUS[code ?? ''] ?? MALFORMED;
  const title = STATUS_CODES[status] ?? '';
  const body = bodyOf(status, detail);
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    `content-type: ${PROBLEM_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    'cache-control: no-store',
    'connection: close',
  ];
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`);
  // Not only its own half: a peer that never ends would hold the connection for good.
  socket.destroySoon();
}

/** Refuses what a request expects and nobody does; Node would do so without a word. */
export function refuseExpectation({ headers: { expect = '' } }: IncomingMessage, response: ServerResponse): void {
  const status = 417;
  const detail = `Nothing here does what is expected: ${expect.slice(0, 100)}. Expect 100-continue, or nothing.`;
  const body = bodyOf(status, detail);
  const headers = {
    'content-type': PROBLEM_TYPE,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    connection: 'close',
  };
  response.writeHead(status, headers).end(body);
}

function bodyOf(status: number, detail: string): string {
  const title = STATUS_CODES[status] ?? '';
  return JSON.stringify(problem(status, title.replaceAll(' ', ''), detail, randomUUID()));
}

/** By what Node's HTTP server keeps on the socket (node: lib/_http_server.js). */
function isAnswering(socket: Socket): boolean {
  const { _httpMessage: message } = socket as Socket & { _httpMessage?: { headersSent?: boolean } | null };
  return message?.headersSent === true;
}
