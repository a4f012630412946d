import http from 'node:http';
import type { Socket } from 'node:net';
import tls from 'node:tls';

/**
 * One TLS handshake through a proxy of the sandbox. Whom to trust is not asked: what counts is who answers.
 * @returns the URI or the DNS names in the certificate
 */
export async function handshake(proxyUrl: string, host: string, port: number): Promise<string> {
  const proxy = new URL(proxyUrl);
  const tunnel = await new Promise<Socket>((resolve, reject) => {
    const request = http.request({
      host: proxy.hostname,
      port: proxy.port,
      method: 'CONNECT',
      path: `${host}:${port}`,
      agent: false,
    });
    request.once('connect', ({ statusCode, statusMessage }, socket: Socket) => {
      if (statusCode === 200) resolve(socket);
      else reject(new Error(statusMessage));
    });
    request.once('error', reject);
    request.end();
  });
  const secure = tls.connect({ socket: tunnel, rejectUnauthorized: false });
  try {
    await new Promise<void>((resolve, reject) => {
      secure.once('secureConnect', resolve);
      secure.once('error', reject);
    });
    return (secure.getPeerCertificate().subjectaltname ?? '').replaceAll('URI:', '');
  } finally {
    secure.destroy();
  }
}
