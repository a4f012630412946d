import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { Authority } from '../../sandbox/authority.js';

interface Kubeconfig {
  clusters: { cluster: { server: string; 'certificate-authority-data': string } }[];
}

/** A cluster's API server as one whose clock is wrong: everything passes, and the `Date` of its answers is another one. */
export class ShiftedApi {
  private readonly sockets = new Set<Duplex>();

  private constructor(
    private readonly server: https.Server,
    private readonly upstream: { url: URL; ca: string },
    private readonly shiftMs: number,
  ) {
    server.on('secureConnection', (socket: Duplex) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
    });
    server.on('request', (request, response) => this.pass(request, response));
    server.on('upgrade', (request, socket, head) => this.upgrade(request, socket, head));
  }

  /**
   * @param kubeconfig with a token, which is passed on
   * @param target where the kubeconfig of the shifted API server is written to
   */
  static async start(kubeconfig: string, target: string, shiftMs: number): Promise<ShiftedApi> {
    const config = JSON.parse(readFileSync(kubeconfig, 'utf8')) as Kubeconfig;
    const [{ cluster } = { cluster: undefined }] = config.clusters;
    if (cluster === undefined) throw new Error(`${kubeconfig} has no cluster`);
    const upstream = {
      url: new URL(cluster.server),
      ca: Buffer.from(cluster['certificate-authority-data'], 'base64').toString(),
    };
    const authority = await Authority.create('API server with a clock of its own');
    const { key, certificate } = await authority.issue({ subject: 'CN=shifted', addresses: ['127.0.0.1'] });
    const server = https.createServer({ key, cert: certificate });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cluster.server = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    cluster['certificate-authority-data'] = Buffer.from((await authority.pem()).certificate).toString('base64');
    writeFileSync(target, JSON.stringify(config), { mode: 0o600 });
    return new ShiftedApi(server, upstream, shiftMs);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await ended;
  }

  private ask({ method, url, headers }: IncomingMessage) {
    const { url: upstream, ca } = this.upstream;
    const { host: _host, ...passed } = headers;
    return https.request(new URL(url ?? '/', upstream), {
      ...(method === undefined ? {} : { method }),
      headers: passed,
      ca,
      agent: false,
    });
  }

  private pass(request: IncomingMessage, response: ServerResponse): void {
    const asked = this.ask(request);
    asked.once('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, this.shifted(answer));
      // Of a watch, the first event may be long in coming.
      response.flushHeaders();
      answer.pipe(response);
    });
    asked.once('error', () => response.destroy());
    response.once('close', () => asked.destroy());
    request.pipe(asked);
  }

  /** Commands in pods. */
  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const asked = this.ask(request);
    asked.once('upgrade', (answer, upstream, first) => {
      const headers = Object.entries(answer.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`);
      socket.write(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n${headers.join('')}\r\n`);
      socket.write(first);
      upstream.write(head);
      socket.pipe(upstream).pipe(socket);
      for (const each of [socket, upstream]) each.on('error', () => [socket, upstream].forEach((end) => end.destroy()));
    });
    asked.once('response', (answer) => {
      socket.write(`HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\nconnection: close\r\n\r\n`);
      answer.pipe(socket);
    });
    asked.once('error', () => socket.destroy());
    asked.end();
  }

  private shifted({ headers }: IncomingMessage): IncomingMessage['headers'] {
    const { date, ...rest } = headers;
    return date === undefined ? rest : { ...rest, date: new Date(Date.parse(date) + this.shiftMs).toUTCString() };
  }
}
