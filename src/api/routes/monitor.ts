import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { FederationHealth } from '../../contract/health.js';
import { pauseSchema } from '../../contract/monitorSettings.js';
import { mutate, type ApiContext } from '../context.js';
import { streamEvents } from '../eventStream.js';
import { requireFederation } from '../federationDetail.js';
import { followFederation } from '../federationFeed.js';
import type { Reads } from '../reads.js';
import { federationParams, idempotencyHeaders, problems } from '../schemas.js';

const healthSchema = z
  .looseObject({
    federation: z.string(),
    verdict: z.string(),
    clusters: z.array(z.looseObject({ cluster: z.string() })),
    edges: z.array(z.looseObject({ trusting: z.string(), trusted: z.string(), verdict: z.string() })),
    findings: z.array(z.looseObject({ id: z.string(), check: z.string(), scope: z.string(), state: z.string() })),
  })
  .meta({ id: 'Health' });

/** What the monitor of a federation knows, and what people tell it. */
export function monitorRoutes(context: ApiContext, reads: Reads): FastifyPluginAsyncZod {
  const { client } = context;
  const route = (summary: string, permission: 'view' | 'change' | 'approve') => ({
    config: { permission },
    schema: { tags: ['health'], summary, params: federationParams, response: { 200: healthSchema, ...problems } },
  });
  return async (app) => {
    app.get(
      '/federations/:federation/health',
      route('What the monitor knows now: clusters, edges, findings and repairs', 'view'),
      async ({ params: { federation } }) => plain(await reads.health(federation)),
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
          response: problems,
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        await requireFederation(reads, federation);
        return streamEvents(request, reply, (stream) => followFederation(reads, federation, stream));
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
            200: z.object({
              counts: z.record(z.string(), z.number()),
              items: z.array(z.looseObject({ trusting: z.string(), trusted: z.string(), verdict: z.string() })),
            }),
            ...problems,
          },
        },
      },
      async ({ params: { federation } }) => {
        const { edges, counts } = await reads.health(federation);
        return { counts, items: edges.map((edge) => ({ ...edge })) };
      },
    );

    app.post(
      '/federations/:federation/monitor/check',
      route('Have everything read now, and tell what is known then', 'view'),
      async ({ params: { federation } }) => plain(await client.checkNow(federation)),
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
            body: plain(await client.pauseMonitor(federation, request.body)),
          }),
        );
      },
    );

    app.post('/federations/:federation/monitor/resume', route('End a pause', 'change'), async (request, reply) => {
      const { federation } = request.params;
      return mutate(context, request, reply, { action: 'resumeMonitor', federation, input: {} }, async () => ({
        status: 200,
        body: plain(await client.resumeMonitor(federation)),
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
          body: plain(await client.approve(federation, findingId)),
        }));
      },
    );
  };
}

/** The same, in the loose form of the answer's schema. */
function plain(health: FederationHealth) {
  return {
    ...health,
    clusters: health.clusters.map((each) => ({ ...each })),
    edges: health.edges.map((each) => ({ ...each })),
    findings: health.findings.map((each) => ({ ...each })),
  };
}
