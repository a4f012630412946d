import { DefaultLogger, NativeConnection, Runtime } from '@temporalio/worker';
import { execSeconds, kubernetesRequestSeconds } from '../src/kubernetes/latency.js';
import { createWorker } from '../src/worker.js';

/** What a worker has asked of the clusters since it started. */
export interface Calls {
  /** Requests to the clusters' APIs. */
  requests: number;
  /** Commands run in pods. */
  execs: number;
}

/** The engine's worker, which tells whoever started it what it asked of the clusters, by its own metrics. */
async function main(): Promise<void> {
  process.on('message', () => {
    void counts().then((calls) => process.send?.(calls));
  });
  Runtime.install({ logger: new DefaultLogger('WARN') });
  const worker = await createWorker({
    connection: await NativeConnection.connect({ address: process.env['TEMPORAL_ADDRESS'] ?? '' }),
    namespace: 'default',
    inventoryFile: process.env['SPIRE_FEDERATOR_INVENTORY'] ?? '',
  });
  console.log('Worker on task queue');
  await worker.run();
  // Whoever may still ask, and watches that are open, keep nothing alive any more.
  process.exit();
}

async function counts(): Promise<Calls> {
  const [requests, execs] = await Promise.all([kubernetesRequestSeconds.get(), execSeconds.get()]);
  return { requests: observations(requests.values), execs: observations(execs.values) };
}

/** A histogram's samples that count its observations. */
function observations(values: readonly { metricName?: string; value: number }[]): number {
  return values
    .filter(({ metricName = '' }) => metricName.endsWith('_count'))
    .reduce((sum, { value }) => sum + value, 0);
}

await main();
