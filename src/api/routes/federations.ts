import { createHash } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import {
  applyOptionsSchema,
  federationFileSchema,
  teardownInputSchema,
  timeouts,
  verifyInputSchema,
  type ApplyInput,
  type FederationFile,
} from '../../contract/change.js';
import type { ChangeDescription } from '../../client.js';
import { FederatorError } from '../../contract/errors.js';
import {
  inventoryOf,
  mutate,
  principalOf,
  requirePermission,
  requireSameFederation,
  type ApiContext,
} from '../context.js';
import { page } from '../page.js';
import { visible } from '../../access/principal.js';
import { invalidBody, ProblemError } from '../problem.js';
import { changeSchema, acceptedSchema, federationParams, idempotencyHeaders, pageQuery, problems } from '../schemas.js';
import { acceptedChange } from './changes.js';

/** What clusters say of themselves is good for so long: asking all of them takes a moment. */
const MEMBERS_MS = 5_000;

const federationSchema = z.object({ name: z.string(), members: z.array(z.string()) }).meta({ id: 'Federation' });
const federationDetailSchema = federationSchema
  .extend({
    /** Whether a monitor watches over it. */
    monitored: z.boolean(),
    verdict: z.string().optional(),
    lastChange: changeSchema.optional(),
  })
  .meta({ id: 'FederationDetail' });
const applySchema = z
  .strictObject({ ...federationFileSchema.shape, probe: z.boolean().optional(), monitor: z.boolean().optional() })
  .meta({ id: 'FederationFile', description: 'The file that `federator apply -f` takes, as JSON.' });
/** Where the path names the federation, the file need not. */
const applyOneSchema = applySchema
  .partial({ federation: true })
  .meta({ id: 'FederationFileOfOne', description: 'The same; the path has the name.' });

/** Federations: made, planned and changed by their file, looked at, and torn down. */
export function federationRoutes(context: ApiContext): FastifyPluginAsyncZod {
  const { client } = context;
  const members = new Members(context);
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
              unknown: z.array(z.object({ cluster: z.string(), message: z.string() })),
            }),
            ...problems,
          },
        },
      },
      async (request) => {
        const [newest] = await client.listChanges({ limit: 1 });
        const { federations, unknown } = await members.all('', newest);
        const seen = visible(principalOf(request));
        const items = Object.entries(federations)
          .filter(([name]) => seen === undefined || seen.has(name))
          .map(([name, list]) => ({ name, members: list }));
        return {
          ...page(items, ({ name }) => name, request.query),
          unknown: unknown.map(({ cluster, message }) => ({ cluster, message })),
        };
      },
    );

    app.post(
      '/federations',
      {
        schema: {
          tags: ['federations'],
          summary: 'Make or change a federation so that it is as its file says',
          headers: idempotencyHeaders,
          body: applySchema,
          response: { 202: acceptedSchema, ...problems },
        },
        config: { permission: 'view' },
      },
      async (request, reply) => {
        const input = applyInput(request.body, false);
        requirePermission(request, 'change', input.federation);
        return mutate(context, request, reply, { action: 'apply', federation: input.federation, input }, async (by) => {
          await requireClusters(context, input);
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
        const detail = await federationDetail(context, members, federation);
        const tag = etag(detail);
        reply.header('etag', tag).header('cache-control', 'no-cache');
        if (request.headers['if-none-match'] === tag) return reply.code(304).send(null);
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
          headers: idempotencyHeaders.extend({ 'if-match': z.string().optional() }),
          body: applyOneSchema,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        const input = applyInput(request.body, false, federation);
        const mutation = { action: 'apply', federation, input };
        return mutate(context, request, reply, mutation, async (by) => {
          await requireUnchanged(context, members, federation, request.headers['if-match']);
          await requireClusters(context, input);
          return acceptedChange(await client.startChange('applyFederation', input, by));
        });
      },
    );

    app.post(
      '/federations/:federation/plan',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['federations'],
          summary: 'What an apply of this file would do; nothing is changed',
          params: federationParams,
          body: applyOneSchema,
          response: {
            200: z.looseObject({ federation: z.string(), changed: z.boolean(), steps: z.array(z.looseObject({})) }),
            ...problems,
          },
        },
      },
      async (request) => {
        const { federation } = request.params;
        const input = applyInput(request.body, true, federation);
        await requireClusters(context, input);
        const result = await client.result(
          await client.startChange('applyFederation', input, principalOf(request).name),
        );
        return { ...result, steps: result.steps.map((step) => ({ ...step })) };
      },
    );

    app.delete(
      '/federations/:federation',
      {
        config: { permission: 'change' },
        schema: {
          tags: ['federations'],
          summary: 'Tear a federation down: its clusters are as they were before it',
          params: federationParams,
          headers: idempotencyHeaders,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        const input = teardownInputSchema.parse({ federation });
        return mutate(context, request, reply, { action: 'teardown', federation, input }, async (by) =>
          acceptedChange(await client.startChange('teardown', input, by)),
        );
      },
    );

    app.post(
      '/federations/:federation/verify',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['federations'],
          summary: 'Every check of every cluster and edge, with evidence and remedy; nothing is changed',
          params: federationParams,
          response: {
            200: z.looseObject({ federation: z.string(), verdict: z.string(), checks: z.array(z.looseObject({})) }),
            ...problems,
          },
        },
      },
      async ({ params }) => {
        const result = await client.verify(verifyInputSchema.parse(params));
        return { ...result, checks: result.checks.map((check) => ({ ...check })) };
      },
    );

    app.post(
      '/federations/:federation/diagnose',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['federations'],
          summary: 'What is wrong, why, and what would be done about it; nothing is changed',
          params: federationParams,
          response: { 200: z.looseObject({ federation: z.string() }), ...problems },
        },
      },
      async ({ params }) => ({ ...(await client.diagnose({ ...params, clusters: [], readings: true })) }),
    );

    app.post(
      '/federations/:federation/probe',
      {
        config: { permission: 'change' },
        schema: {
          tags: ['federations'],
          summary: 'Prove the federation by mTLS between test workloads of all members',
          params: federationParams,
          headers: idempotencyHeaders,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { federation } = request.params;
        const input = { federation, clusters: [], timeouts: timeouts.parse({}) };
        return mutate(context, request, reply, { action: 'probe', federation, input }, async (by) =>
          acceptedChange(await client.startChange('probe', input, by)),
        );
      },
    );
  };
}

/** Checks a federation file for what its fields must be to each other: all faults at once, each where it is. */
function applyInput(body: z.infer<typeof applyOneSchema>, planOnly: boolean, path?: string): ApplyInput {
  const { probe, monitor, ...file } = body;
  if (path !== undefined) requireSameFederation(path, file.federation);
  const parsed = federationFileSchema.safeParse({ federation: path, ...file });
  if (!parsed.success) throw invalidBody(parsed.error);
  const federation: FederationFile = parsed.data;
  return {
    ...federation,
    ...applyOptionsSchema.parse({ federation: federation.federation, planOnly, probe, monitor }),
  };
}

async function requireClusters(context: ApiContext, { clusters }: ApplyInput): Promise<void> {
  const known = (await inventoryOf(context)).clusters.map(({ name }) => name);
  const unknown = clusters.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new ProblemError(
    422,
    'UnknownCluster',
    `There is no cluster ${unknown.join(', ')} in the inventory. It has: ${known.join(', ') || 'none'}.`,
  );
}

async function requireUnchanged(
  context: ApiContext,
  members: Members,
  federation: string,
  wanted: string | undefined,
): Promise<void> {
  if (wanted === undefined || wanted === '*') return;
  members.forget();
  const tag = etag(await federationDetail(context, members, federation));
  if (tag === wanted) return;
  throw new ProblemError(
    412,
    'Changed',
    `Federation ${federation} has changed since it was read. Read it again, and then say what it is to be.`,
    undefined,
    { etag: tag },
  );
}

async function federationDetail(
  { client }: ApiContext,
  members: Members,
  federation: string,
): Promise<z.infer<typeof federationDetailSchema>> {
  const [[lastChange], health] = await Promise.all([
    client.listChanges({ federation, limit: 1 }),
    client.health(federation).catch((error: unknown) => {
      if (error instanceof FederatorError && error.type === 'NotFound') return undefined;
      throw error;
    }),
  ]);
  const found = await members.all(federation, lastChange);
  const list = Object.hasOwn(found.federations, federation) ? found.federations[federation] : undefined;
  if (list === undefined && health === undefined && lastChange === undefined) {
    throw new FederatorError('NotFound', `There is no federation ${federation}. List them: GET /v1/federations`);
  }
  return {
    name: federation,
    members: [...(list ?? [])].sort(),
    monitored: health !== undefined,
    ...(health === undefined ? {} : { verdict: health.verdict }),
    ...(lastChange === undefined ? {} : { lastChange }),
  };
}

function etag({ name, members, lastChange }: z.infer<typeof federationDetailSchema>): string {
  const { runId, status } = lastChange ?? {};
  const digest = createHash('sha256')
    .update(JSON.stringify([name, members, runId, status]))
    .digest('base64url');
  return `"${digest.slice(0, 22)}"`;
}

/**
 * Who is a member of what, asked of the clusters once for all who want to know at the same time, and again as soon as a
 * change began or ended.
 */
class Members {
  private asked: { at: number; found: ReturnType<ApiContext['client']['federations']> } | undefined;
  private readonly changes = new Map<string, string>();

  constructor(private readonly context: ApiContext) {}

  /** @param newest newest change of a federation, or with an empty name of all */
  all(federation: string, newest: ChangeDescription | undefined): ReturnType<ApiContext['client']['federations']> {
    if (newest !== undefined) {
      const change = `${newest.runId} ${newest.status}`;
      if (this.changes.get(federation) !== change) this.forget();
      this.changes.set(federation, change);
    }
    if (this.asked === undefined || Date.now() - this.asked.at > MEMBERS_MS) {
      const found = this.context.client.federations();
      this.asked = { at: Date.now(), found };
      found.catch(() => this.forget());
    }
    return this.asked.found;
  }

  forget(): void {
    this.asked = undefined;
  }
}
