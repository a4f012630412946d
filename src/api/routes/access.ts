import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { permissionsOf } from '../../access/principal.js';
import { auditRecordSchema } from '../audit.js';
import { AuditOutcomes } from '../auditOutcomes.js';
import { principalOf, type ApiContext } from '../context.js';
import { problems } from '../schemas.js';

/** Who the caller is, and who asked for what. */
export function accessRoutes({ audit, client }: ApiContext): FastifyPluginAsyncZod {
  const outcomes = new AuditOutcomes(client, audit);
  return async (app) => {
    app.get(
      '/whoami',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['access'],
          summary: 'Who the caller is taken for, and what they may do',
          response: {
            200: z.object({
              name: z.string(),
              grants: z.array(z.object({ role: z.string(), federation: z.string(), permissions: z.array(z.string()) })),
            }),
            ...problems,
          },
        },
      },
      async (request) => {
        const { name, grants } = principalOf(request);
        return { name, grants: grants.map((grant) => ({ ...grant, permissions: [...permissionsOf(grant.role)] })) };
      },
    );

    app.get(
      '/audit',
      {
        config: { permission: 'administer', everywhere: true },
        schema: {
          tags: ['access'],
          summary: 'Who asked for what, and what came of it, the newest first',
          querystring: z.object({
            limit: z.coerce.number().int().min(1).max(1_000).default(100),
            /** `next` of the page before. */
            cursor: z.coerce.number().int().positive().optional(),
          }),
          response: {
            200: z.object({ items: z.array(auditRecordSchema), next: z.number().int().optional() }),
            ...problems,
          },
        },
      },
      async ({ query: { limit, cursor } }) => {
        const found = await audit.list({ before: cursor, limit: limit + 1 });
        const items = found.slice(0, limit);
        const last = items.at(-1)?.sequence;
        return {
          items: await outcomes.join(items),
          ...(found.length === items.length || last === undefined ? {} : { next: last }),
        };
      },
    );

    app.get(
      '/audit/export',
      {
        config: { permission: 'administer', everywhere: true },
        schema: {
          tags: ['access'],
          summary: 'All of it, a line of JSON each: what was asked for, and what came of it',
          produces: ['application/x-ndjson'],
          response: { 200: z.string(), ...problems },
        },
      },
      // A stream is sent as it is; the description knows its text only.
      async (_request, reply) => reply.type('application/x-ndjson').send((await audit.export()) as unknown as string),
    );
  };
}
