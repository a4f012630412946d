import net from 'node:net';

/** A free TCP port of this machine: the first from `wanted` on, or any when that is 0. */
export async function freePort(wanted = 0): Promise<number> {
  for (let port = wanted; ; port++) {
    const free = await listenOnce(port);
    if (free !== undefined) return free;
  }
}

/** Whether something listens on a port of this machine. */
export function connects(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ port, host, timeout: 1_000 });
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done(true));
    socket.once('timeout', () => done(false));
    socket.once('error', () => done(false));
  });
}

function listenOnce(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const { port: listening } = server.address() as net.AddressInfo;
      server.close(() => resolve(listening));
    });
  });
}
