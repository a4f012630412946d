import { setTimeout as delay } from 'node:timers/promises';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ChangeHandle } from '../../client.js';
import {
  addClusterInputSchema,
  adoptInputSchema,
  federationName,
  removeClusterInputSchema,
  setupMeshInputSchema,
  setupPairInputSchema,
} from '../../contract/change.js';
import { planOf } from '../../contract/names.js';
import { changeResultSchema, progressSchema } from '../answers.js';
import { mutate, requireSameFederation, type ApiContext, type Outcome } from '../context.js';
import type { EventStream, EventStreams } from '../eventStream.js';
import { requireClusters } from '../federationFile.js';
import { invalidBody, mayKnowAll, ProblemError } from '../problem.js';
import type { Reads } from '../reads.js';
import { acceptedSchema, changeSchema, federationParams, idempotencyHeaders, problems, runParams } from '../schemas.js';

const POLL_MS = 500;

const STARTABLE = {
  setupPair: setupPairInputSchema,
  setupMesh: setupMeshInputSchema,
  addCluster: addClusterInputSchema,
  removeCluster: removeClusterInputSchema,
  adopt: adoptInputSchema,
} as const;

const startSchema = z
  .discriminatedUnion('type', [
    startOf('setupPair'),
    startOf('setupMesh'),
    startOf('addCluster'),
    startOf('removeCluster'),
    startOf('adopt'),
  ])
  .meta({ id: 'StartChange', description: 'The type of a change, and its input as `start-workflow` takes it.' });

/** Changes of a federation: started, listed, followed and cancelled. */
export function changeRoutes(context: ApiContext, reads: Reads, streams: EventStreams): FastifyPluginAsyncZod {
  const { client } = context;
  return async (app) => {
    app.get(
      '/federations/:federation/changes',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['changes'],
          summary: 'Changes of a federation, the newest first, as far back as Temporal keeps them',
          params: federationParams,
          querystring: z.object({ limit: z.coerce.number().int().min(1).max(200).default(50) }),
          response: { 200: z.object({ items: z.array(changeSchema) }), ...problems },
        },
      },
      async ({ params: { federation }, query: { limit } }) => ({
        items: await reads.changes(federation, limit),
      }),
    );

    app.post(
      '/federations/:federation/changes',
      {
        config: { permission: 'change' },
        schema: {
          tags: ['changes'],
          summary: 'Start a change',
          params: federationParams,
          headers: idempotencyHeaders,
          body: startSchema,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        const { type, ...given } = request.body;
        requireSameFederation(federation, given.federation);
        const input = checkedInput(type, { ...given, federation });
        return mutate(context, request, reply, { action: type, federation, input }, async (by) => {
          const named = await withClusters(request, type, input);
          // A cluster that is gone from the inventory may still have to leave a federation.
          if (type !== 'removeCluster') await requireClusters(context, request, namedClusters(named));
          // Each type's input was checked by its own schema.
          return acceptedChange(await client.startChange(type, named as never, by));
        });
      },
    );

    app.get(
      '/federations/:federation/changes/:runId',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['changes'],
          summary: 'One change: where it stands, step by step, and its result or what failed it',
          params: runParams,
          response: {
            200: changeSchema.extend({
              progress: progressSchema.optional(),
              result: changeResultSchema.optional(),
              error: z.object({ type: z.string(), message: z.string() }).optional(),
            }),
            ...problems,
          },
        },
      },
      async (request) => {
        const { federation, runId } = request.params;
        const { error, ...change } = await reads.change(federation, runId);
        if (error === undefined) return change;
        const message = (mayKnowAll(request) ? undefined : error.withoutOthers) ?? error.message;
        return { ...change, error: { type: error.type, message } };
      },
    );

    app.get(
      '/federations/:federation/changes/:runId/events',
      {
        exposeHeadRoute: false,
        config: { permission: 'view' },
        schema: {
          tags: ['changes'],
          summary: 'Follow a change: server-sent events `progress`, and at its end `result` or `failure`',
          produces: ['text/event-stream'],
          params: runParams,
          response: { 200: z.string(), ...problems },
        },
      },
      async (request, reply) => {
        const { federation, runId } = request.params;
        const change = await client.describeChange(federation, runId);
        return streams.answer(request, reply, (stream) => follow(change, stream));
      },
    );

    app.post(
      '/federations/:federation/changes/:runId/cancel',
      {
        config: { permission: 'change' },
        schema: {
          tags: ['changes'],
          summary: 'Ask a running change to stop; a setup undoes what it did',
          params: runParams,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { federation, runId } = request.params;
        return mutate(context, request, reply, { action: 'cancel', federation, input: { runId } }, async () => {
          const change = await client.describeChange(federation, runId);
          await client.cancel(change);
          const { status, body } = acceptedChange(change);
          // What comes of the change is on record with who began it.
          return { status, body };
        });
      },
    );
  };

  /**
   * What takes whatever the inventory has would tell of, and work on, what is of others: for who may not know of these,
   * a setup is one of the members that there are.
   * @throws ProblemError 403
   */
  async function withClusters<T extends { federation: string }>(
    request: FastifyRequest,
    type: string,
    input: T,
  ): Promise<T> {
    if (namedClusters(input).length > 0 || mayKnowAll(request)) return input;
    if (type !== 'setupMesh') throw unnamed(type);
    const { federation } = input;
    const clusters = (await reads.members.of(federation, await reads.recentChanges(federation))) ?? [];
    // Of fewer, others may be away: what is missing would be looked for in the whole inventory.
    if (clusters.length < 2) throw unnamed(type);
    return { ...input, clusters };
  }

  async function follow(change: ChangeHandle, { send, signal }: EventStream): Promise<void> {
    let said = '';
    for (let isDone = false; !isDone && !signal.aborted;) {
      const { status, progress } = await reads.standing(change);
      const text = JSON.stringify(progress);
      if (progress !== undefined && text !== said) {
        send('progress', progress);
        said = text;
      }
      isDone = status !== 'RUNNING';
      // Aborted: nobody reads any more.
      if (!isDone) await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
    if (signal.aborted) return;
    // Whoever has followed it to its end finds it ended wherever it is listed.
    reads.forget(change.federation);
    send('result', await client.result(change));
  }
}

/** What was started, and where it is followed. */
export function acceptedChange(handle: ChangeHandle): Outcome {
  const { federation, workflowId, runId, link } = handle;
  const location = `/v1/federations/${federation}/changes/${planOf(workflowId) ?? runId}`;
  return { status: 202, body: { workflowId, runId, link, location }, handle };
}

/** The fields of one type; the path has the name of the federation. */
function startOf<T extends keyof typeof STARTABLE>(type: T) {
  return z.strictObject({ ...STARTABLE[type].shape, type: z.literal(type), federation: federationName.optional() });
}

function unnamed(type: string): ProblemError {
  const detail = `Say which clusters are meant: only who has a role in all federations may have ${type} look for them in the whole inventory.`;
  return new ProblemError(403, 'Forbidden', detail);
}

/** What a change says of the clusters that it is about. */
function namedClusters(given: object): string[] {
  const { clusters = [], cluster } = given as { clusters?: readonly string[]; cluster?: string };
  return [...clusters, ...(cluster === undefined ? [] : [cluster])];
}

/** Checks a change for what its fields must be to each other. */
function checkedInput(type: keyof typeof STARTABLE, given: unknown): { federation: string } {
  const parsed = STARTABLE[type].safeParse(given);
  if (parsed.success) return parsed.data;
  throw invalidBody(parsed.error);
}
