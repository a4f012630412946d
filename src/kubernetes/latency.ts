import { Histogram } from 'prom-client';
import { FederatorError } from '../contract/errors.js';

/** From a read that an API server answers from memory to the longest that a request may take, in seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20];

/** Requests to clusters' APIs, in the process's registry. The outcome is `ok` or the type of the FederatorError. */
export const kubernetesRequestSeconds = new Histogram({
  name: 'spire_federator_kubernetes_request_seconds',
  help: 'Time that requests to the Kubernetes API of a cluster took',
  labelNames: ['cluster', 'method', 'outcome'] as const,
  buckets: BUCKETS,
});

/** Commands run in pods, from the request to the command's end. Outcomes as above: a command that fails has ended well. */
export const execSeconds = new Histogram({
  name: 'spire_federator_exec_seconds',
  help: 'Time that commands in pods of a cluster took',
  labelNames: ['cluster', 'outcome'] as const,
  buckets: BUCKETS,
});

/** Runs and observes how long it took, and how it ended. */
export async function observed<T, L extends string>(
  histogram: Histogram<L | 'outcome'>,
  labels: Readonly<Record<L, string>>,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  const observe = (outcome: string) =>
    histogram.observe({ ...labels, outcome } as Record<L | 'outcome', string>, (performance.now() - startedAt) / 1000);
  try {
    const result = await work();
    observe('ok');
    return result;
  } catch (error) {
    observe(error instanceof FederatorError ? error.type : 'Cancelled');
    throw error;
  }
}
