import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { teardownInputSchema } from '../../contract/change.js';
import { visible } from '../../access/principal.js';
import { matchesWeakly, tagCondition } from '../entityTags.js';
import { mutate, principalOf, requirePermission, type ApiContext } from '../context.js';
import {
  etag,
  federationDetail,
  federationDetailSchema,
  federationSchema,
  requireUnchanged,
} from '../federationDetail.js';
import { applyInput, applyOneSchema, applySchema, planned, requireClusters } from '../federationFile.js';
import { planSchema } from '../answers.js';
import { page } from '../page.js';
import type { Reads } from '../reads.js';
import { acceptedSchema, changingHeaders, federationParams, pageQuery, problems } from '../schemas.js';
import { toldUnknown, unknownFields } from '../unknownClusters.js';
import { acceptedChange } from './changes.js';

/** Federations: made and changed by their file, read, and torn down. */
export function federationRoutes(context: ApiContext, reads: Reads): FastifyPluginAsyncZod {
  const { client } = context;
  return async (app) => {
    app.get(
      '/federations',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['federations'],
          summary: 'Federations and their members, as the clusters have it; clusters that could not be asked',
          querystring: pageQuery,
          response: {
            200: z.object({
              items: z.array(federationSchema),
              next: z.string().optional(),
              ...unknownFields,
            }),
            ...problems,
          },
        },
      },
      async (request) => {
        const { federations, unknown } = await reads.members.all('', await reads.recentChanges());
        const principal = principalOf(request);
        const seen = visible(principal);
        const watched = await Promise.all([...(seen ?? [])].map((name) => reads.knownHealth(name)));
        const known = watched.flatMap((health) => health?.clusters.map(({ cluster }) => cluster) ?? []);
        const items = Object.entries(federations)
          .filter(([name]) => seen === undefined || seen.has(name))
          .map(([name, list]) => ({ name, members: list }));
        return {
          ...page(items, ({ name }) => name, request.query),
          ...toldUnknown(principal, unknown, known),
        };
      },
    );

    app.post(
      '/federations',
      {
        schema: {
          tags: ['federations'],
          summary: 'Make or change a federation so that it is as its file says',
          headers: changingHeaders,
          body: applySchema,
          response: { 200: planSchema, 202: acceptedSchema, ...problems },
        },
        config: { permission: 'view' },
      },
      async (request, reply) => {
        const input = applyInput(request.body);
        requirePermission(request, input.planOnly ? 'view' : 'change', input.federation);
        if (input.planOnly) return planned(context, request, input);
        return mutate(context, request, reply, { action: 'apply', federation: input.federation, input }, async (by) => {
          await requireUnchanged(reads, input.federation, request.headers['if-match']);
          await requireClusters(context, request, input.clusters);
          return acceptedChange(await client.startChange('applyFederation', input, by));
        });
      },
    );

    app.get(
      '/federations/:federation',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['federations'],
          summary: 'One federation; its ETag changes with its members and its changes',
          params: federationParams,
          headers: z.object({ 'if-none-match': z.string().optional() }),
          response: { 200: federationDetailSchema, 304: z.null(), ...problems },
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        const detail = await federationDetail(reads, federation);
        const tag = etag(detail);
        reply.header('etag', tag).header('cache-control', 'no-cache');
        const ifNoneMatch = request.headers['if-none-match'];
        if (ifNoneMatch !== undefined && matchesWeakly(tagCondition('If-None-Match', ifNoneMatch), tag))
          return reply.code(304).send(null);
        return detail;
      },
    );

    app.put(
      '/federations/:federation',
      {
        config: { permission: 'change' },
        schema: {
          tags: ['federations'],
          summary: 'Change a federation so that it is as its file says, if it is still as it was seen',
          params: federationParams,
          headers: changingHeaders,
          body: applyOneSchema,
          response: { 200: planSchema, 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        const input = applyInput(request.body, federation);
        if (input.planOnly) return planned(context, request, input);
        const mutation = { action: 'apply', federation, input };
        return mutate(context, request, reply, mutation, async (by) => {
          await requireUnchanged(reads, federation, request.headers['if-match']);
          await requireClusters(context, request, input.clusters);
          return acceptedChange(await client.startChange('applyFederation', input, by));
        });
      },
    );

    app.delete(
      '/federations/:federation',
      {
        config: { permission: 'change' },
        schema: {
          tags: ['federations'],
          summary: 'Tear a federation down, if it is still as it was seen: its clusters are as they were before it',
          params: federationParams,
          headers: changingHeaders,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        const input = teardownInputSchema.parse({ federation });
        return mutate(context, request, reply, { action: 'teardown', federation, input }, async (by) => {
          await requireUnchanged(reads, federation, request.headers['if-match']);
          return acceptedChange(await client.startChange('teardown', input, by));
        });
      },
    );
  };
}
