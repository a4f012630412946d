import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { pauseSchema } from '../../contract/monitorSettings.js';
import { countsSchema, edgeSchema, healthSchema } from '../answers.js';
import { mutate, type ApiContext } from '../context.js';
import type { EventStreams } from '../eventStream.js';
import { requireFederation } from '../federationDetail.js';
import { followFederation } from '../federationFeed.js';
import type { Reads } from '../reads.js';
import { federationParams, idempotencyHeaders, problems } from '../schemas.js';

/** What the monitor of a federation knows, and what people tell it. */
export function monitorRoutes(context: ApiContext, reads: Reads, streams: EventStreams): FastifyPluginAsyncZod {
  const { client } = context;
  const route = (summary: string, permission: 'view' | 'change' | 'approve') => ({
    config: { permission },
    schema: { tags: ['health'], summary, params: federationParams, response: { 200: healthSchema, ...problems } },
  });
  return async (app) => {
    app.get(
      '/federations/:federation/health',
      route('What the monitor knows now: clusters, edges, findings and repairs', 'view'),
      async ({ params: { federation } }) => reads.health(federation),
    );

    app.get(
      '/federations/:federation/health/events',
      {
        exposeHeadRoute: false,
        config: { permission: 'view' },
        schema: {
          tags: ['health'],
          summary: 'Follow it: server-sent events `health`, null while nobody watches, and `changes`, the newest ones',
          produces: ['text/event-stream'],
          params: federationParams,
          response: { 200: z.string(), ...problems },
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        await requireFederation(reads, federation);
        return streams.answer(request, reply, (stream) => followFederation(reads, federation, stream));
      },
    );

    app.get(
      '/federations/:federation/edges',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['health'],
          summary: 'Edges with their verdicts; where there are many, those that are not fresh, and how many are',
          params: federationParams,
          response: {
            200: z.object({ counts: countsSchema, items: z.array(edgeSchema) }),
            ...problems,
          },
        },
      },
      async ({ params: { federation } }) => {
        const { edges, counts } = await reads.health(federation);
        return { counts, items: edges };
      },
    );

    app.post(
      '/federations/:federation/monitor/check',
      route('Have everything read now, and tell what is known then', 'view'),
      async ({ params: { federation } }) => client.checkNow(federation),
    );

    app.post(
      '/federations/:federation/monitor/pause',
      {
        ...route('Let the monitor rest, for a reason and for a time', 'change'),
        schema: {
          ...route('Let the monitor rest, for a reason and for a time', 'change').schema,
          headers: idempotencyHeaders,
          body: pauseSchema,
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        return mutate(
          context,
          request,
          reply,
          { action: 'pauseMonitor', federation, input: request.body },
          async () => ({
            status: 200,
            body: await client.pauseMonitor(federation, request.body),
          }),
        );
      },
    );

    app.post('/federations/:federation/monitor/resume', route('End a pause', 'change'), async (request, reply) => {
      const { federation } = request.params;
      return mutate(context, request, reply, { action: 'resumeMonitor', federation, input: {} }, async () => ({
        status: 200,
        body: await client.resumeMonitor(federation),
      }));
    });

    app.post(
      '/federations/:federation/approvals',
      {
        ...route('Approve the repair of a finding that waits for somebody', 'approve'),
        schema: {
          ...route('Approve the repair of a finding that waits for somebody', 'approve').schema,
          headers: idempotencyHeaders,
          body: z.strictObject({ findingId: z.string().min(1).max(500) }),
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        const { findingId } = request.body;
        return mutate(context, request, reply, { action: 'approve', federation, input: { findingId } }, async () => ({
          status: 200,
          body: await client.approve(federation, findingId),
        }));
      },
    );
  };
}
