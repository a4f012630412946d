import { request, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import type { FuzzRequest } from './requests.js';

export interface FuzzAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  /** Of a stream that is followed, what came first. */
  text: string;
  elapsedMs: number;
}

/** Sends a request as it is, and waits so long for its answer. @throws when there is none */
export function send(
  url: string,
  { method, target, headers, body }: FuzzRequest,
  withinMs: number,
): Promise<FuzzAnswer> {
  const { hostname, port } = new URL(url);
  const from = Date.now();
  // Of a method that has no body by custom, Node would send one without its length.
  const all = body === undefined ? headers : { ...headers, 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: hostname, port, method, path: target, headers: all, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      const done = () => {
        clearTimeout(timer);
        const { statusCode: status = 0, headers: got } = response;
        const text = Buffer.concat(chunks).toString('utf8');
        resolve({ status, headers: got, text, elapsedMs: Date.now() - from });
        outgoing.destroy();
      };
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        if (response.headers['content-type'] === 'text/event-stream') done();
      });
      response.once('end', done);
      response.once('error', done);
    });
    const timer = setTimeout(() => outgoing.destroy(new Error(`no answer within ${withinMs} ms`)), withinMs);
    // A body that is too large is refused before all of it was sent: what counts is the answer.
    outgoing.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    outgoing.end(body);
  });
}

/** Sends bytes that need not be HTTP, and reads until the other side closes. */
export function sendRaw(url: string, bytes: string | Buffer, withinMs: number): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const timer = setTimeout(() => socket.destroy(new Error(`not closed within ${withinMs} ms: ${text}`)), withinMs);
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
}
