import { randomUUID } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { candidateName } from '../../contract/names.js';
import { onboardInputSchema, type ConnectionReport } from '../../contract/onboarding.js';
import { accepted, requireIdle, requireKnown, requireOwn, started, storeOf, submitted } from '../clusterGuards.js';
import type { ClusterStore } from '../../store/clusterStore.js';
import { mutate, type ApiContext } from '../context.js';
import {
  acceptedSchema,
  candidateSchema,
  clusterParams,
  credentialsSchema,
  idempotencyHeaders,
  problems,
  reportSchema,
} from '../schemas.js';
import type { Turns } from '../turns.js';

/** What the names of candidates begin with that are only tested. */
const TESTED = 'test-';
/** No test takes so long. */
const LEFT_AFTER_MS = 3_600_000;

/**
 * How clusters are reached: tested, and given other credentials.
 * @param turns of changes of one cluster, as `clusterRoutes` takes them
 */
export function clusterCredentialRoutes(context: ApiContext, turns: Turns): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      '/clusters/:cluster/test',
      {
        config: { permission: 'view', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'Test the connection: everything that would stand in the way of a change, at once',
          params: clusterParams,
          response: { 200: reportSchema, ...problems },
        },
      },
      async ({ params: { cluster } }) => {
        await requireKnown(context, cluster);
        return { ...(await context.client.testCluster(cluster)) };
      },
    );

    app.post(
      '/clusters/test',
      {
        config: { permission: 'administer', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'Test a connection before a cluster is onboarded; nothing is kept',
          headers: idempotencyHeaders,
          body: candidateSchema,
          response: { 200: reportSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { kubeconfig, secretRef, context: selected, ...entry } = request.body;
        const { name: cluster } = entry;
        const input = { ...entry, ...(secretRef === undefined ? {} : { secretRef }) };
        const mutation = { action: 'testConnection', cluster, input, identity: [kubeconfig, selected] };
        return mutate(context, request, reply, mutation, async (by) => {
          const store = storeOf(context);
          const checked = await submitted(store, { kubeconfig, secretRef, context: selected });
          await forgetOldTests(store);
          // The worker has it from the store, as credentials are in no workflow; under a name of its own, so that it is
          // in nobody's way. Whatever comes of the test, the workflow takes it away, and so does this.
          const name = `${TESTED}${randomUUID()}`;
          try {
            await store.propose({ entry: { ...entry, name }, kubeconfig: checked, by });
            const report = await context.client.testCandidate(name);
            return { status: 200, body: renamed(report, name, cluster) };
          } finally {
            await store.remove(name, true);
          }
        });
      },
    );

    app.put(
      '/clusters/:cluster/credentials',
      {
        config: { permission: 'administer', everywhere: true },
        schema: {
          tags: ['clusters'],
          summary: 'Give an onboarded cluster other credentials, once these are proven to work',
          params: clusterParams,
          headers: idempotencyHeaders,
          body: credentialsSchema,
          response: { 202: acceptedSchema, ...problems },
        },
      },
      async (request, reply) => {
        const { cluster } = request.params;
        const { kubeconfig, secretRef, context: selected } = request.body;
        const mutation = {
          action: 'rotateCredentials',
          cluster,
          input: { cluster, ...(secretRef === undefined ? {} : { secretRef }) },
          identity: [kubeconfig, selected],
        };
        return mutate(context, request, reply, mutation, async (by) => {
          const store = storeOf(context);
          const checked = await submitted(store, request.body);
          return turns.take(cluster, async () => {
            const { entry } = await requireOwn(context, cluster);
            await requireIdle(context, cluster);
            await store.propose({ entry, kubeconfig: checked, by });
            const input = onboardInputSchema.parse({ cluster, replaces: true });
            return accepted(cluster, await started(store, cluster, () => context.client.onboardCluster(input, by)));
          });
        });
      },
    );
  };
}

/** Takes away what tests left behind whose API and worker both died. */
async function forgetOldTests(store: ClusterStore): Promise<void> {
  const old = (await store.list()).filter(
    ({ candidate, entry, onboardedAt = '' }) =>
      candidate && entry.name.startsWith(TESTED) && Date.now() - Date.parse(onboardedAt) > LEFT_AFTER_MS,
  );
  await Promise.all(old.map(({ entry }) => store.remove(entry.name, true)));
}

/** What was told of a cluster under another name. */
function renamed(report: ConnectionReport, from: string, to: string): ConnectionReport {
  const named = (text: string) => text.replaceAll(candidateName(from), to).replaceAll(from, to);
  const problems = report.problems.map(({ type, message }) => ({ cluster: to, type, message: named(message) }));
  return { ...report, cluster: to, problems };
}
