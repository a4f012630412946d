import http from 'node:http';
import net, { type Socket } from 'node:net';
import tls, { type PeerCertificate } from 'node:tls';

/** What a server says of itself. Nothing vouches for it: it is for messages, and decides nothing. */
export interface PresentedCertificate {
  uris: string[];
  /** DNS names and IP addresses. */
  hosts: string[];
  issuer: string;
  /** As in the certificate, e.g. "Nov 24 22:51:08 2026 GMT". */
  validTo: string;
}

/**
 * Looks at the certificate that a server presents, in order to say what is wrong with it.
 * @param proxy URL of the proxy; empty to go straight
 * @returns undefined when the server presents none, or cannot be reached any more
 */
export async function presentedCertificate(
  url: string,
  proxy: string,
  timeoutMs: number,
): Promise<PresentedCertificate | undefined> {
  const { hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, '');
  const signal = AbortSignal.timeout(timeoutMs);
  let socket: Socket | undefined;
  try {
    socket = await (proxy === '' ? direct(host, Number(port || 443)) : tunnel(proxy, `${hostname}:${port || 443}`));
    return describe(await handshake(socket, host, signal));
  } catch (error) {
    if (error instanceof Error) return undefined;
    throw error;
  } finally {
    socket?.destroy();
  }
}

function direct(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

function tunnel(proxy: string, authority: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(proxy);
    const request = http.request({ host: hostname, port, method: 'CONNECT', path: authority, agent: false });
    request.once('connect', ({ statusCode }, socket: Socket) => {
      if (statusCode === 200) resolve(socket);
      else reject(new Error(`CONNECT was answered with ${statusCode}`));
    });
    request.once('error', reject);
    request.end();
  });
}

function handshake(socket: Socket, host: string, signal: AbortSignal): Promise<PeerCertificate> {
  return new Promise((resolve, reject) => {
    const secure = tls.connect({
      socket,
      ...(net.isIP(host) === 0 ? { servername: host } : {}),
      // Nothing is asked of it and nothing of it is believed.
      rejectUnauthorized: false,
    });
    secure.once('secureConnect', () => {
      resolve(secure.getPeerCertificate());
      secure.destroy();
    });
    secure.once('error', reject);
    signal.addEventListener('abort', () => secure.destroy(new Error('no answer')), { once: true });
  });
}

function describe({ subjectaltname = '', issuer, valid_to: validTo }: PeerCertificate): PresentedCertificate {
  const names = subjectaltname.split(', ').map((name) => /^(URI|DNS|IP Address):(.*)$/.exec(name) ?? []);
  const of = (...kinds: string[]) =>
    names.flatMap(([, kind = '', value = '']) => (kinds.includes(kind) ? [value] : []));
  const named = issuer as Record<string, string | undefined> | undefined;
  return {
    uris: of('URI'),
    hosts: of('DNS', 'IP Address'),
    issuer: named?.['CN'] ?? named?.['O'] ?? 'an authority without a name',
    validTo,
  };
}
