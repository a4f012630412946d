import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { federationName } from '../../contract/change.js';
import { offboardInputSchema, onboardInputSchema } from '../../contract/onboarding.js';
import type { FullInventory } from '../../store/inventory.js';
import {
  accepted,
  requireIdle,
  requireNew,
  requireOwn,
  started,
  storeOf,
  submitted,
  unknownCluster,
} from '../clusterGuards.js';
import { inventoryOf, mutate, type ApiContext } from '../context.js';
import { page } from '../page.js';
import type { Reads } from '../reads.js';
import {
  acceptedSchema,
  clusterDetailSchema,
  clusterParams,
  clusterResourceSchema,
  idempotencyHeaders,
  onboardSchema,
  pageQuery,
  problems,
} from '../schemas.js';
import type { Turns } from '../turns.js';

const STATES = { onboardCluster: 'onboarding', offboardCluster: 'offboarding' } as const;

/**
 * The inventory: clusters are onboarded, listed and offboarded.
 * @param turns of changes of one cluster: between a look at what runs and a start, no other one may put its credentials there
 */
export function clusterRoutes(context: ApiContext, reads: Reads, turns: Turns): FastifyPluginAsyncZod {
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
        const { kubeconfig, secretRef, context: selected, joinFederation, probe, ...entry } = request.body;
        const { name: cluster } = entry;
        const input = onboardInputSchema.parse({ cluster, joinFederation, probe });
        const mutation = {
          action: 'onboardCluster',
          cluster,
          federation: joinFederation,
          input: { ...entry, ...input, ...(secretRef === undefined ? {} : { secretRef }) },
          identity: [kubeconfig, selected],
        };
        return mutate(context, request, reply, mutation, async (by) => {
          const store = storeOf(context);
          const checked = await submitted(store, { kubeconfig, secretRef, context: selected });
          return turns.take(cluster, async () => {
            await requireNew(context, cluster);
            await requireIdle(context, cluster);
            await store.propose({ entry, kubeconfig: checked, by });
            return accepted(cluster, await started(store, cluster, () => context.client.onboardCluster(input, by)));
          });
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
        const [inventory, change] = await Promise.all([inventoryOf(context), reads.clusterChange(cluster)]);
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
            federation: federationName.optional(),
          }),
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { cluster } = request.params;
        const input = offboardInputSchema.parse({ cluster, ...request.query });
        return mutate(context, request, reply, { action: 'offboardCluster', cluster, input }, (by) =>
          turns.take(cluster, async () => {
            await requireOwn(context, cluster);
            return accepted(cluster, await context.client.offboardCluster(input, by));
          }),
        );
      },
    );
  };
}

function resource({ clusters, stored }: FullInventory, name: string): z.infer<typeof clusterResourceSchema> {
  const cluster = clusters.find((each) => each.name === name);
  if (cluster === undefined) throw unknownCluster(name);
  const { namespace, server, region } = cluster;
  const common = { name, namespace, server, ...(region === undefined ? {} : { region }) };
  const onboarded = stored.get(name);
  if (onboarded === undefined) return { ...common, source: 'inventory' };
  const { onboardedAt, onboardedBy, foreign } = onboarded;
  return {
    ...common,
    source: 'store',
    ...(onboardedAt === undefined ? {} : { onboardedAt }),
    ...(onboardedBy === undefined ? {} : { onboardedBy }),
    ...(foreign ? { foreign } : {}),
  };
}
