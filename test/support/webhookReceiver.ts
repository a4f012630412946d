import { createHmac } from 'node:crypto';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import type { NotificationBody } from '../../src/federation/notification.js';

/** A real receiver of notifications on loopback, which checks their signature. */
export class WebhookReceiver {
  readonly received: NotificationBody[] = [];
  /** How often it was called, whatever it answered. */
  calls = 0;
  /** HTTP status that it answers with; `hang`: it does not. */
  answer: number | 'hang' = 200;

  private constructor(
    private readonly server: http.Server,
    private readonly secret: string,
  ) {}

  static async start(secret: string): Promise<WebhookReceiver> {
    const server = http.createServer();
    const receiver = new WebhookReceiver(server, secret);
    server.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
      let text = '';
      request.on('data', (chunk) => (text += String(chunk)));
      request.on('end', () => receiver.take(String(request.headers['spire-federator-signature']), text, response));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/hook`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private take(signature: string, text: string, response: http.ServerResponse): void {
    this.calls++;
    if (this.answer === 'hang') return;
    const [, time = '', signed] = /^t=(\d+),v1=(\w+)$/.exec(signature) ?? [];
    const isSigned = signed === createHmac('sha256', this.secret).update(`${time}.${text}`).digest('hex');
    if (this.answer === 200 && isSigned) this.received.push(JSON.parse(text) as NotificationBody);
    response.writeHead(isSigned ? this.answer : 401).end();
  }
}
