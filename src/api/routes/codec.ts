import type { Payload } from '@temporalio/common';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { FederatorError } from '../../contract/errors.js';
import type { ApiContext } from '../context.js';
import { ProblemError } from '../problem.js';
import { problems } from '../schemas.js';

/** Temporal takes messages of 4 MiB; in base64 they are a third longer. */
const BODY_LIMIT_BYTES = 6 * 1024 * 1024;
const MOST_PAYLOADS = 1_000;
/** For so long a browser need not ask again whether it may ask. */
const PREFLIGHT_SECONDS = 600;

/** A payload as Temporal's codec servers tell it: protobuf's JSON, where bytes are base64. */
const payloadSchema = z
  .object({ metadata: z.record(z.string(), z.base64()).optional(), data: z.base64().optional() })
  .meta({ id: 'Payload' });
const payloadsSchema = z.object({ payloads: z.array(payloadSchema).max(MOST_PAYLOADS) });

/** A codec server for the Temporal Web UI, which only reads: nobody needs what is not a workflow's to be encrypted. */
export function codecRoutes({ codec, webUi }: ApiContext): FastifyPluginAsyncZod {
  const { origin } = new URL(webUi);
  return async (app) => {
    // Also on refusals: without these the browser does not let the Web UI see why.
    app.addHook('onSend', async ({ headers }, reply) => {
      reply.header('vary', 'Origin');
      if (headers.origin === origin) reply.header('access-control-allow-origin', origin);
    });

    // A browser asks beforehand, without a token; others need not be told anything.
    app.options('/codec/decode', { schema: { hide: true } }, async ({ headers }, reply) => {
      if (headers.origin === origin)
        reply.headers({
          'access-control-allow-methods': 'POST',
          'access-control-allow-headers': 'Authorization, Content-Type, X-Namespace',
          'access-control-max-age': PREFLIGHT_SECONDS,
        });
      return reply.code(204).send();
    });

    app.post(
      '/codec/decode',
      {
        // A payload does not say which federation it is of.
        config: { permission: 'change', everywhere: true },
        bodyLimit: BODY_LIMIT_BYTES,
        schema: {
          tags: ['access'],
          summary: 'Decrypt payloads for the Temporal Web UI, which calls this as its codec server',
          body: payloadsSchema,
          response: { 200: payloadsSchema, ...problems },
        },
      },
      async ({ body: { payloads } }, reply) => {
        reply.header('cache-control', 'no-store');
        try {
          return { payloads: (await codec.decode(payloads.map(fromJson))).map(toJson) };
        } catch (error) {
          // What cannot be read is what was sent, whatever keys are here.
          throw error instanceof FederatorError ? new ProblemError(422, error.type, error.message) : error;
        }
      },
    );
  };
}

type PayloadJson = z.infer<typeof payloadSchema>;

function fromJson({ metadata = {}, data }: PayloadJson): Payload {
  return {
    metadata: Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, bytes(value)])),
    ...(data === undefined ? {} : { data: bytes(data) }),
  };
}

function toJson({ metadata, data }: Payload): PayloadJson {
  return {
    metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name, base64(value)])),
    ...(data == null ? {} : { data: base64(data) }),
  };
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text, 'base64');
}

function base64(value: Uint8Array): string {
  return Buffer.from(value).toString('base64');
}
