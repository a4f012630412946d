import type { ChangeHandle } from '../client.js';
import { FederatorError } from '../contract/errors.js';
import type { ClusterStore } from '../store/clusterStore.js';
import { submittedKubeconfig } from '../store/submittedKubeconfig.js';
import { STORE } from '../store/openStore.js';
import type { Credentials } from './schemas.js';
import { inventoryOf, type ApiContext, type Outcome } from './context.js';

/** A candidate of which no workflow knows would stay for ever. */
export async function started<T>(store: ClusterStore, cluster: string, start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    // The candidate may be that of the onboarding that runs.
    if (!(error instanceof FederatorError && error.type === 'ChangeInProgress')) await store.remove(cluster, true);
    throw error;
  }
}

/** What was started, and where it is followed: there it is also when the cluster is gone. */
export function accepted(cluster: string, handle: ChangeHandle): Outcome {
  const { workflowId, runId, link } = handle;
  return {
    status: 202,
    body: { workflowId, runId, link, location: `/v1/clusters/${cluster}/changes/${runId}` },
    handle,
  };
}

/** What a cluster is to be reached by. @throws FederatorError InvalidKubeconfig, InvalidInput */
export async function submitted(store: ClusterStore, { kubeconfig, secretRef, context }: Credentials): Promise<string> {
  const text = secretRef === undefined ? kubeconfig : await store.secret(secretRef);
  return submittedKubeconfig(text ?? '', context);
}

export function storeOf({ store }: ApiContext): ClusterStore {
  if (store !== undefined) return store;
  throw new FederatorError(
    'StoreUnavailable',
    `Clusters cannot be onboarded: no cluster store is configured. Start the API and the worker with ${STORE} (docs/operators-guide.md).`,
  );
}

export async function requireNew(context: ApiContext, cluster: string): Promise<void> {
  const { clusters, stored } = await inventoryOf(context);
  if (!clusters.some(({ name }) => name === cluster)) return;
  throw new FederatorError(
    'Conflict',
    stored.has(cluster)
      ? `Cluster ${cluster} is onboarded already. To give it other credentials: PUT /v1/clusters/${cluster}/credentials`
      : `Cluster ${cluster} is in the inventory file already.`,
  );
}

/** Credentials that are being proven must not be replaced meanwhile. */
export async function requireIdle({ client }: ApiContext, cluster: string): Promise<void> {
  const change = await client.clusterChange(cluster);
  if (change?.status !== 'RUNNING') return;
  throw new FederatorError(
    'ChangeInProgress',
    `${change.type} of cluster ${cluster} is running. Wait for it, or cancel it there: ${change.link}`,
  );
}

export async function requireKnown(context: ApiContext, cluster: string): Promise<void> {
  const { clusters } = await inventoryOf(context);
  if (!clusters.some(({ name }) => name === cluster)) throw unknownCluster(cluster);
}

export async function requireOwn(context: ApiContext, cluster: string) {
  const inventory = await inventoryOf(context);
  const found = inventory.stored.get(cluster);
  if (found !== undefined && !found.foreign) return found;
  if (found === undefined && !inventory.clusters.some(({ name }) => name === cluster)) throw unknownCluster(cluster);
  throw new FederatorError(
    'ForeignObject',
    `Cluster ${cluster} was not onboarded by the API, but ${found === undefined ? 'is listed in the inventory file' : 'by somebody else'}: change it there.`,
  );
}

export function unknownCluster(cluster: string): FederatorError {
  return new FederatorError('UnknownCluster', `There is no cluster ${cluster}. List them: GET /v1/clusters`);
}
