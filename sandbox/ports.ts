import net from 'node:net';

export { connects } from '../src/cli/connects.js';

/** A free TCP port of this machine: the first from `wanted` on, or any when that is 0. */
export async function freePort(wanted = 0): Promise<number> {
  for (let port = wanted; ; port++) {
    const free = await listenOnce(port);
    if (free !== undefined) return free;
  }
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
