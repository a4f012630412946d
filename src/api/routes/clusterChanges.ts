import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { FederatorError } from '../../contract/errors.js';
import type { Reads } from '../reads.js';
import { clusterChangeSchema, clusterRunParams, problems } from '../schemas.js';

/** Onboardings and offboardings, by their run: there is one to follow also of a cluster that is gone. */
export function clusterChangeRoutes(reads: Reads): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/clusters/:cluster/changes/:runId',
      {
        config: { permission: 'view', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'One onboarding or offboarding: where it stands, and what came of it or failed it',
          params: clusterRunParams,
          response: { 200: clusterChangeSchema, ...problems },
        },
      },
      async ({ params: { cluster, runId } }) => {
        const change = await reads.clusterChange(cluster, runId);
        if (change !== undefined) return { ...change };
        throw new FederatorError('NotFound', `Cluster ${cluster} has no change ${runId} on this Temporal server.`);
      },
    );
  };
}
