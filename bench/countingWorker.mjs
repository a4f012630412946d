/**
 * A worker that counts what it asks of the clusters: requests to their APIs, and commands run in their pods. On SIGUSR2
 * it prints both and begins again.
 */
import console from 'node:console';
import { subscribe } from 'node:diagnostics_channel';
import { URL } from 'node:url';
import { NativeConnection, DefaultLogger, Runtime } from '@temporalio/worker';
import { createWorker } from '../dist/src/worker.js';

const counts = { requests: 0, execs: 0 };
subscribe('undici:request:create', () => {
  counts.requests++;
});
subscribe('http.client.request.start', ({ request }) => {
  if (request.path.includes('/exec')) counts.execs++;
  else counts.requests++;
});
process.on('SIGUSR2', () => {
  console.log(`COUNTS ${JSON.stringify(counts)}`);
  Object.assign(counts, { requests: 0, execs: 0 });
});

Runtime.install({ logger: new DefaultLogger('ERROR') });
const worker = await createWorker({
  connection: await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS }),
  namespace: 'default',
  inventoryFile: process.env.SPIRE_FEDERATOR_INVENTORY,
  workflowBundle: new URL('../dist/workflow-bundle.js', import.meta.url).pathname,
});
console.log('Worker on task queue');
await worker.run();
