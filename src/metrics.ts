import { createServer } from 'node:http';
import { isIP, type AddressInfo } from 'node:net';
import type { TelemetryOptions } from '@temporalio/worker';
import type { Registry } from 'prom-client';
import { FederatorError } from './contract/errors.js';

/**
 * Serves a registry's metrics at /metrics until it is closed.
 * @param address `<host>:<port>`
 * @param variable where that comes from, for messages
 * @returns where it listens, and how to end it
 * @throws FederatorError InvalidInput when it cannot listen there
 */
export async function serveMetrics(
  address: string,
  variable: string,
  registry: Registry,
): Promise<{ url: string; close: () => void }> {
  const { host, port } = hostAndPort(address, variable);
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/metrics') {
      response.writeHead(404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { 'content-type': registry.contentType }).end(text),
      (error: Error) => response.writeHead(500).end(error.message),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', ({ code }: NodeJS.ErrnoException) =>
      reject(
        new FederatorError('InvalidInput', `Metrics cannot be served on ${address} (${code}). Change ${variable}.`),
      ),
    );
    server.listen(port, host, resolve);
  });
  const { port: actual } = server.address() as AddressInfo;
  return {
    url: `http://${host}:${actual}/metrics`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * What makes Temporal's SDK serve its own metrics at /metrics, named as Prometheus wants: workflows by type, outcome and
 * duration, activities, task slots, pollers, requests to Temporal.
 * @param address `<IP address>:<port>`
 * @param variable where that comes from, for messages
 * @throws FederatorError InvalidInput
 */
export function temporalMetrics(address: string, variable: string): TelemetryOptions {
  const { host } = hostAndPort(address, variable);
  if (isIP(host.replace(/^\[(.*)\]$/, '$1')) === 0) {
    throw new FederatorError('InvalidInput', `${variable} is ${address}; its host must be an IP address.`);
  }
  return {
    metrics: {
      prometheus: {
        bindAddress: address,
        countersTotalSuffix: true,
        unitSuffix: true,
        useSecondsForDurations: true,
      },
    },
  };
}

function hostAndPort(address: string, variable: string): { host: string; port: number } {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(address) ?? [];
  if (host !== undefined && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new FederatorError('InvalidInput', `${variable} is ${address}; it must be <host>:<port>, e.g. 127.0.0.1:9464.`);
}
