import type { FastifyBaseLogger } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { inventoryOf, principalOf, type ApiContext } from '../context.js';
import { knownFederation } from '../federationDetail.js';
import type { Reads } from '../reads.js';
import { federationParams, problems } from '../schemas.js';
import { toldUnknown, unknownFields } from '../unknownClusters.js';

const memberSchema = z
  .object({
    cluster: z.string(),
    trustDomain: z.string().optional(),
    /** By the inventory. */
    region: z.string().optional(),
    /** What the monitor last saw; `unknown` where nobody watches. */
    server: z.enum(['up', 'down', 'unknown']),
    endpoint: z.enum(['ok', 'failed', 'unknown']),
    agents: z.number().int().optional(),
  })
  .meta({ id: 'Member' });

const policySchema = z
  .object({
    name: z.string(),
    /** As the federation file has it. */
    policy: z.looseObject({ type: z.string() }),
    /** The members that have it, with what SPIRE controller manager says of it. */
    members: z.array(
      z.object({
        cluster: z.string(),
        podsSelected: z.number().int().optional(),
        entriesToSet: z.number().int().optional(),
      }),
    ),
  })
  .meta({ id: 'Policy' });

/** Who is in a federation, and which of their workloads federate. */
export function federationMemberRoutes(context: ApiContext, reads: Reads): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/federations/:federation/members',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['federations'],
          summary: 'Its members by name, as the clusters have it, with what the monitor last saw of them',
          params: federationParams,
          response: {
            200: z.object({ items: z.array(memberSchema), ...unknownFields }),
            ...problems,
          },
        },
      },
      async (request) => {
        const {
          params: { federation },
          log,
        } = request;
        const { recent, health, list } = await knownFederation(reads, federation);
        const seen = new Map(health?.clusters.map((each) => [each.cluster, each]));
        const [{ unknown }, regions] = await Promise.all([
          reads.members.all(federation, recent),
          regionsOf(context, log),
        ]);
        return {
          items: list.map((cluster) => {
            const { trustDomain, server = 'unknown', endpoint = 'unknown', agents } = seen.get(cluster) ?? {};
            return {
              cluster,
              server,
              endpoint,
              ...(regions.has(cluster) ? { region: regions.get(cluster) } : {}),
              ...(trustDomain === undefined ? {} : { trustDomain }),
              ...(agents === undefined ? {} : { agents }),
            };
          }),
          ...toldUnknown(principalOf(request), unknown, seen.keys()),
        };
      },
    );

    app.get(
      '/federations/:federation/policies',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['federations'],
          summary: 'Which workloads federate: its policies, as its members have them',
          params: federationParams,
          response: {
            200: z.object({ items: z.array(policySchema), ...unknownFields }),
            ...problems,
          },
        },
      },
      async (request) => {
        const { federation } = request.params;
        const { recent, health } = await knownFederation(reads, federation);
        const { policies, unknown } = await reads.members.policies(federation, recent);
        return {
          items: policies.map(({ policy, ...each }) => ({ ...each, policy: { ...policy } })),
          ...toldUnknown(principalOf(request), unknown, health?.clusters.map(({ cluster }) => cluster) ?? []),
        };
      },
    );
  };
}

/** Regions of the clusters that have one. Members are the clusters' to name: an inventory that is amiss hides none. */
async function regionsOf(context: ApiContext, log: FastifyBaseLogger): Promise<ReadonlyMap<string, string>> {
  try {
    const { clusters } = await inventoryOf(context);
    return new Map(clusters.flatMap(({ name, region }) => (region === undefined ? [] : [[name, region] as const])));
  } catch (error) {
    log.warn({ err: error }, 'regions are not known');
    return new Map();
  }
}
