import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ChangeHandle } from '../../client.js';
import { FederatorError } from '../../contract/errors.js';
import { offboardInputSchema, onboardInputSchema } from '../../contract/onboarding.js';
import type { ClusterStore } from '../../store/clusterStore.js';
import type { FullInventory } from '../../store/inventory.js';
import { STORE } from '../../store/openStore.js';
import { submittedKubeconfig } from '../../store/submittedKubeconfig.js';
import { inventoryOf, mutate, type ApiContext, type Outcome } from '../context.js';
import { page } from '../page.js';
import {
  acceptedSchema,
  clusterDetailSchema,
  clusterParams,
  clusterResourceSchema,
  credentialsSchema,
  idempotencyHeaders,
  onboardSchema,
  pageQuery,
  problems,
  reportSchema,
} from '../schemas.js';

const STATES = { onboardCluster: 'onboarding', offboardCluster: 'offboarding' } as const;

/** The inventory: clusters are onboarded, tested, given other credentials, and offboarded. */
export function clusterRoutes(context: ApiContext): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/clusters',
      {
        config: { permission: 'view', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'Clusters of the inventory, by name',
          querystring: pageQuery,
          response: {
            200: z.object({ items: z.array(clusterResourceSchema), next: z.string().optional() }),
            ...problems,
          },
        },
      },
      async ({ query }) => {
        const inventory = await inventoryOf(context);
        const clusters = inventory.clusters.map(({ name }) => resource(inventory, name));
        return page(clusters, ({ name }) => name, query);
      },
    );

    app.post(
      '/clusters',
      {
        config: { permission: 'administer', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'Onboard a cluster: test its credentials, keep them, and bring it into a federation',
          headers: idempotencyHeaders,
          body: onboardSchema,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { kubeconfig, context: selected, joinFederation, probe, ...entry } = request.body;
        const { name: cluster } = entry;
        const input = onboardInputSchema.parse({ cluster, joinFederation, probe });
        const mutation = {
          action: 'onboardCluster',
          cluster,
          federation: joinFederation,
          input: { ...entry, ...input },
          identity: kubeconfig,
        };
        return mutate(context, request, reply, mutation, async (by) => {
          const store = storeOf(context);
          const checked = submittedKubeconfig(kubeconfig, selected);
          await requireNew(context, cluster);
          await requireIdle(context, cluster);
          await store.propose({ entry, kubeconfig: checked, by });
          return accepted(cluster, await started(store, cluster, () => context.client.onboardCluster(input, by)));
        });
      },
    );

    app.get(
      '/clusters/:cluster',
      {
        config: { permission: 'view', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'One cluster, and how its onboarding or offboarding goes',
          params: clusterParams,
          response: { 200: clusterDetailSchema, ...problems },
        },
      },
      async ({ params: { cluster } }) => {
        const [inventory, change] = await Promise.all([inventoryOf(context), context.client.clusterChange(cluster)]);
        const known = inventory.clusters.some(({ name }) => name === cluster);
        if (!known && change === undefined) throw unknownCluster(cluster);
        const running = change?.status === 'RUNNING' ? STATES[change.type as keyof typeof STATES] : undefined;
        if (!known && running === undefined && change?.error === undefined) throw unknownCluster(cluster);
        return {
          name: cluster,
          ...(known ? resource(inventory, cluster) : {}),
          state: running ?? (known ? ('ready' as const) : ('failed' as const)),
          ...(change === undefined ? {} : { change: { ...change } }),
        };
      },
    );

    app.post(
      '/clusters/:cluster/test',
      {
        config: { permission: 'view', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'Test the connection: everything that would stand in the way of a change, at once',
          params: clusterParams,
          response: { 200: reportSchema, ...problems },
        },
      },
      async ({ params: { cluster } }) => {
        await requireKnown(context, cluster);
        return { ...(await context.client.testCluster(cluster)) };
      },
    );

    app.put(
      '/clusters/:cluster/credentials',
      {
        config: { permission: 'administer', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'Give an onboarded cluster other credentials, once these are proven to work',
          params: clusterParams,
          headers: idempotencyHeaders,
          body: credentialsSchema,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { cluster } = request.params;
        const { kubeconfig, context: selected } = request.body;
        const mutation = { action: 'rotateCredentials', cluster, input: { cluster }, identity: kubeconfig };
        return mutate(context, request, reply, mutation, async (by) => {
          const store = storeOf(context);
          const checked = submittedKubeconfig(kubeconfig, selected);
          const { entry } = await requireOwn(context, cluster);
          await requireIdle(context, cluster);
          await store.propose({ entry, kubeconfig: checked, by });
          const input = onboardInputSchema.parse({ cluster, replaces: true });
          return accepted(cluster, await started(store, cluster, () => context.client.onboardCluster(input, by)));
        });
      },
    );

    app.delete(
      '/clusters/:cluster',
      {
        config: { permission: 'administer', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'Offboard a cluster; a member of a federation only if it may leave that first',
          params: clusterParams,
          headers: idempotencyHeaders,
          querystring: z.object({
            leave: z.stringbool().default(false),
            unreachable: z.stringbool().default(false),
            federation: z.string().min(1).optional(),
          }),
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { cluster } = request.params;
        const input = offboardInputSchema.parse({ cluster, ...request.query });
        return mutate(context, request, reply, { action: 'offboardCluster', cluster, input }, async (by) => {
          await requireOwn(context, cluster);
          return accepted(cluster, await context.client.offboardCluster(input, by));
        });
      },
    );
  };
}

function resource({ clusters, stored }: FullInventory, name: string): z.infer<typeof clusterResourceSchema> {
  const cluster = clusters.find((each) => each.name === name);
  if (cluster === undefined) throw unknownCluster(name);
  const { namespace, server } = cluster;
  const onboarded = stored.get(name);
  if (onboarded === undefined) return { name, source: 'inventory', namespace, server };
  const { onboardedAt, onboardedBy, foreign } = onboarded;
  return {
    name,
    source: 'store',
    namespace,
    server,
    ...(onboardedAt === undefined ? {} : { onboardedAt }),
    ...(onboardedBy === undefined ? {} : { onboardedBy }),
    ...(foreign ? { foreign } : {}),
  };
}

/** A candidate of which no workflow knows would stay for ever. */
async function started(
  store: ClusterStore,
  cluster: string,
  start: () => Promise<ChangeHandle>,
): Promise<ChangeHandle> {
  try {
    return await start();
  } catch (error) {
    // The candidate may be that of the onboarding that runs.
    if (!(error instanceof FederatorError && error.type === 'ChangeInProgress')) await store.remove(cluster, true);
    throw error;
  }
}

function accepted(cluster: string, handle: ChangeHandle): Outcome {
  const { workflowId, runId, link } = handle;
  return { status: 202, body: { workflowId, runId, link, location: `/v1/clusters/${cluster}` }, handle };
}

function storeOf({ store }: ApiContext): ClusterStore {
  if (store !== undefined) return store;
  throw new FederatorError(
    'StoreUnavailable',
    `Clusters cannot be onboarded: no cluster store is configured. Start the API and the worker with ${STORE} (docs/operators-guide.md).`,
  );
}

async function requireNew(context: ApiContext, cluster: string): Promise<void> {
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
async function requireIdle({ client }: ApiContext, cluster: string): Promise<void> {
  const change = await client.clusterChange(cluster);
  if (change?.status !== 'RUNNING') return;
  throw new FederatorError(
    'ChangeInProgress',
    `${change.type} of cluster ${cluster} is running. Wait for it, or cancel it there: ${change.link}`,
  );
}

async function requireKnown(context: ApiContext, cluster: string): Promise<void> {
  const { clusters } = await inventoryOf(context);
  if (!clusters.some(({ name }) => name === cluster)) throw unknownCluster(cluster);
}

async function requireOwn(context: ApiContext, cluster: string) {
  const inventory = await inventoryOf(context);
  const found = inventory.stored.get(cluster);
  if (found !== undefined && !found.foreign) return found;
  if (found === undefined && !inventory.clusters.some(({ name }) => name === cluster)) throw unknownCluster(cluster);
  throw new FederatorError(
    'ForeignObject',
    `Cluster ${cluster} was not onboarded by the API, but ${found === undefined ? 'is listed in the inventory file' : 'by somebody else'}: change it there.`,
  );
}

function unknownCluster(cluster: string): FederatorError {
  return new FederatorError('UnknownCluster', `There is no cluster ${cluster}. List them: GET /v1/clusters`);
}
