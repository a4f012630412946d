import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { LinkDirection, type LinkFault } from './linkFault.js';

export type { LinkFault } from './linkFault.js';

/** Where what is exposed under a host and a port really is. */
export interface RouteTarget {
  cluster: string;
  address: string;
  port: number;
}

export interface RouteProxyOptions {
  /** Port on 127.0.0.1; 0 for a free one. */
  port: number;
  /** Who connects through this proxy: a cluster's name, or `engine`. */
  source: string;
  /** Finds what is behind a host (or address) and port; undefined when nothing is exposed there. */
  resolve: (host: string, port: number) => Promise<RouteTarget | undefined>;
  /** The state of the network between two clusters; asked at each CONNECT and whenever something could be delivered. */
  link: (from: string, to: string) => LinkFault;
}

export interface RouteProxy {
  port: number;
  /** To be called after `link` gives other answers: open connections are reset, held, delayed or let go on. */
  linkChanged: () => void;
  /** Ends all connections and the listener. */
  close: () => Promise<void>;
}

interface Tunnel {
  cluster: string;
  client: Duplex;
  upstream: net.Socket;
  directions: LinkDirection[];
}

/**
 * Stands for the network between the clusters: an HTTP proxy on 127.0.0.1 that knows CONNECT only. TLS passes through
 * untouched, as it does through a passthrough Route or Ingress, a load balancer and a node port.
 *
 * A refused CONNECT is answered with 400 (no host:port), 502 (nothing is exposed there, or nobody listens) or 503 (the link is
 * cut); the reason stands in the status line too, since that is all that Go's clients report.
 */
export async function startRouteProxy(options: RouteProxyOptions): Promise<RouteProxy> {
  const { source, link } = options;
  const tunnels = new Set<Tunnel>();
  const clients = new Set<Duplex>();
  const server = http.createServer((_request, response) => {
    response.writeHead(405, { 'content-type': 'text/plain', allow: 'CONNECT', connection: 'close' });
    response.end('This proxy knows CONNECT only.\n');
  });

  server.on('connect', (request, client, head) => {
    clients.add(client);
    client.once('close', () => clients.delete(client));
    // A client that goes away while its CONNECT is being answered is no trouble of the proxy's.
    client.on('error', () => client.destroy());
    connect(options, request.url ?? '').then(
      ({ cluster, upstream }) => {
        if (client.destroyed) {
          upstream.destroy();
          return;
        }
        if (link(source, cluster).kind === 'cut') {
          upstream.destroy();
          refuse(client, cutLink(source, cluster));
          return;
        }
        client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
        if (head.length > 0) client.unshift(head);
        tunnels.add(join(cluster, client, upstream, () => link(source, cluster)));
      },
      (error: unknown) => refuse(client, error),
    );
  });

  const join = (cluster: string, client: Duplex, upstream: net.Socket, fault: () => LinkFault): Tunnel => {
    const forth = new LinkDirection(fault);
    const back = new LinkDirection(fault);
    const tunnel = { cluster, client, upstream, directions: [forth, back] };
    const ends = [client, upstream];
    for (const end of ends) {
      end.on('error', () => destroy(tunnel));
      end.once('close', () => {
        if (ends.every(({ destroyed }) => destroyed)) tunnels.delete(tunnel);
      });
    }
    client.pipe(forth).pipe(upstream);
    upstream.pipe(back).pipe(client);
    return tunnel;
  };

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });

  return {
    port: (server.address() as AddressInfo).port,
    linkChanged: () => {
      for (const tunnel of tunnels) {
        if (link(source, tunnel.cluster).kind === 'cut') destroy(tunnel);
        else for (const direction of tunnel.directions) direction.deliver();
      }
    },
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      for (const tunnel of tunnels) destroy(tunnel);
      for (const client of clients) client.destroy();
      await closed;
    },
  };
}

/** Why a CONNECT is not granted. */
class Refusal extends Error {
  constructor(
    readonly status: 400 | 502 | 503,
    message: string,
  ) {
    super(message);
  }
}

async function connect(
  { source, resolve, link }: RouteProxyOptions,
  authority: string,
): Promise<{ cluster: string; upstream: net.Socket }> {
  const [, host, port] = /^\[?([\w.:-]+?)\]?:(\d{1,5})$/.exec(authority) ?? [];
  if (host === undefined || port === undefined) throw new Refusal(400, 'CONNECT wants host:port');
  const target = await resolve(host, Number(port));
  if (target === undefined) throw new Refusal(502, `nothing that is ready is exposed at ${host}:${port}`);
  const { cluster } = target;
  if (link(source, cluster).kind === 'cut') throw cutLink(source, cluster);
  const upstream = net.connect({ host: target.address, port: target.port, allowHalfOpen: true, noDelay: true });
  await new Promise<void>((connected, reject) => {
    upstream.once('connect', () => {
      upstream.off('error', reject);
      connected();
    });
    upstream.once('error', reject);
  });
  return { cluster, upstream };
}

function cutLink(from: string, to: string): Refusal {
  return new Refusal(503, `the link from ${from} to ${to} is cut`);
}

function refuse(client: Duplex, error: unknown): void {
  if (client.destroyed) return;
  const { message } = error as Error;
  const status = error instanceof Refusal ? error.status : 502;
  const reason = `${http.STATUS_CODES[status]}: ${message.replace(/[^\x20-\x7e]+/g, ' ')}`;
  const body = `${message}\n`;
  const headers = `content-type: text/plain\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close`;
  client.end(`HTTP/1.1 ${status} ${reason}\r\n${headers}\r\n\r\n${body}`, () => client.destroy());
}

/** Ends a connection as a network does that went away under it: by a reset. */
function destroy({ client, upstream, directions }: Tunnel): void {
  for (const direction of directions) direction.destroy();
  for (const end of [client, upstream]) {
    if (end instanceof net.Socket && !end.destroyed) end.resetAndDestroy();
    else end.destroy();
  }
}
