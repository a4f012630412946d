import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { startRouteProxy, type LinkFault, type RouteProxy } from '../../sandbox/routeProxy.js';

const HOST = 'spire-server-federation.apps.server-1.sandbox.test';

describe('route proxy', () => {
  let echo: net.Server;
  let proxy: RouteProxy;
  let fault: LinkFault;
  let asked: string[];
  const open: net.Socket[] = [];

  beforeEach(async () => {
    fault = { kind: 'none' };
    asked = [];
    echo = net.createServer({ allowHalfOpen: true }, (socket) => {
      open.push(socket);
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    });
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const { port } = echo.address() as AddressInfo;
    proxy = await startRouteProxy({
      port: 0,
      source: 'client-1',
      resolve: async (host, wanted) => {
        asked.push(`${host}:${wanted}`);
        if (host === 'broken.test') throw new Error('API server is away');
        if (host === 'down.test') return { cluster: 'server-1', address: '127.0.0.1', port: await closedPort() };
        return host === HOST ? { cluster: 'server-1', address: '127.0.0.1', port } : undefined;
      },
      link: (from, to) => (from === 'client-1' && to === 'server-1' ? fault : { kind: 'none' }),
    });
  });

  afterEach(async () => {
    await proxy.close();
    for (const socket of open.splice(0)) socket.destroy();
    await new Promise((resolve) => echo.close(resolve));
  });

  it('tunnels to what is behind the Route', async () => {
    const socket = await tunnel();
    expect(asked).toEqual([`${HOST}:443`]);
    expect(await exchange(socket, 'hello')).toBe('hello');
  });

  it('passes a megabyte unchanged and the end of the stream in both directions', async () => {
    const socket = await tunnel();
    const sent = Buffer.alloc(3 << 20, 'abcdefg');
    const received: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.end(sent);
    await new Promise((resolve) => socket.once('end', resolve));
    expect(Buffer.concat(received).equals(sent)).toBe(true);
  });

  it.each([
    [`CONNECT nobody.test:443`, 502, 'nothing that is ready is exposed at nobody.test:443'],
    [`CONNECT down.test:443`, 502, 'ECONNREFUSED'],
    [`CONNECT broken.test:443`, 502, 'API server is away'],
    [`CONNECT ${HOST}`, 400, 'host:port'],
  ])('refuses %s with %d', async (request, status, text) => {
    const answer = await ask(`${request} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(answer.status).toBe(status);
    expect(answer.statusText).toContain(text);
    expect(answer.body).toContain(text);
  });

  it('answers anything but CONNECT with 405', async () => {
    const status = await new Promise((resolve, reject) => {
      const request = http.get({ host: '127.0.0.1', port: proxy.port, path: `http://${HOST}/` }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      request.on('error', reject);
    });
    expect(status).toBe(405);
  });

  it('refuses and resets connections over a cut link', async () => {
    const socket = await tunnel();
    const broken = new Promise<Error>((resolve) => socket.once('error', resolve));
    fault = { kind: 'cut' };
    proxy.linkChanged();
    expect((await broken).message).toContain('ECONNRESET');

    const refused = await ask(`CONNECT ${HOST}:443 HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(refused.status).toBe(503);
    expect(refused.body).toContain('the link from client-1 to server-1 is cut');

    fault = { kind: 'none' };
    proxy.linkChanged();
    expect(await exchange(await tunnel(), 'again')).toBe('again');
  });

  it('keeps connections over a hanging link open and silent, and goes on when it heals', async () => {
    const before = await tunnel();
    fault = { kind: 'hang' };
    proxy.linkChanged();
    const after = await tunnel();
    const answers = Promise.all([exchange(before, 'before'), exchange(after, 'after')]);
    const silent = await Promise.race([answers, pause(200, 'silent')]);
    expect(silent).toBe('silent');
    expect([before.destroyed, after.destroyed]).toEqual([false, false]);

    fault = { kind: 'none' };
    proxy.linkChanged();
    expect(await answers).toEqual(['before', 'after']);
  });

  it('delays each direction by the latency given, without loss of throughput or order', async () => {
    fault = { kind: 'delay', delayMs: 100 };
    const socket = await tunnel();
    const startMs = performance.now();
    const parts = Array.from({ length: 20 }, (_, index) => `part ${index};`);
    const answer = exchange(socket, parts.join(''));
    for (const part of parts) {
      socket.write(part);
      await pause(2);
    }
    expect(await answer).toBe(parts.join(''));
    const elapsedMs = performance.now() - startMs;
    expect(elapsedMs).toBeGreaterThanOrEqual(199);
    expect(elapsedMs).toBeLessThan(1_000);
  });

  it('ends open connections when it is closed', async () => {
    const socket = await tunnel();
    socket.on('error', () => socket.destroy());
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await proxy.close();
    await closed;
  });

  /** Opens a connection through the proxy. */
  async function tunnel(): Promise<net.Socket> {
    const request = http.request({
      host: '127.0.0.1',
      port: proxy.port,
      method: 'CONNECT',
      path: `${HOST}:443`,
      agent: false,
    });
    const socket = await new Promise<net.Socket>((resolve, reject) => {
      request.once('connect', (response, connected: net.Socket) => {
        if (response.statusCode === 200) resolve(connected);
        else reject(new Error(`CONNECT answered with ${response.statusCode}`));
      });
      request.once('error', reject);
      request.end();
    });
    open.push(socket);
    return socket;
  }

  /** Sends a raw request and reads the whole answer. */
  async function ask(request: string): Promise<{ status: number; statusText: string; body: string }> {
    const socket = net.connect(proxy.port, '127.0.0.1');
    open.push(socket);
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    socket.write(request);
    await new Promise((resolve) => socket.once('end', resolve));
    const [, status, statusText = ''] = /^HTTP\/1\.1 (\d{3}) (.*)\r\n/.exec(text) ?? [];
    return { status: Number(status), statusText, body: text.slice(text.indexOf('\r\n\r\n') + 4) };
  }
});

/** Sends a text unless it is sent by the caller, and waits for as much to come back. */
function exchange(socket: net.Socket, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    socket.once('error', reject);
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      received += chunk;
      if (received.length >= text.length) resolve(received);
    });
    if (!text.startsWith('part')) socket.write(text);
  });
}

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
