import { randomUUID } from 'node:crypto';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { candidateName } from '../../contract/names.js';
import { onboardInputSchema, type ConnectionReport } from '../../contract/onboarding.js';
import { accepted, requireIdle, requireKnown, requireOwn, started, storeOf, submitted } from '../clusterGuards.js';
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

/** How clusters are reached: tested, and given other credentials. */
export function clusterCredentialRoutes(context: ApiContext): FastifyPluginAsyncZod {
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
        return mutate(context, request, reply, { action: 'testConnection', cluster, input }, async (by) => {
          const store = storeOf(context);
          const checked = await submitted(store, { kubeconfig, secretRef, context: selected });
          // The worker has it from the store, as credentials are in no workflow; under a name of its own, so that it is
          // in nobody's way. The workflow takes it away, whatever comes of the test.
          const name = `test-${randomUUID()}`;
          await store.propose({ entry: { ...entry, name }, kubeconfig: checked, by });
          const report = await started(store, name, () => context.client.testCandidate(name));
          return { status: 200, body: renamed(report, name, cluster) };
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
        const { kubeconfig, secretRef } = request.body;
        const mutation = {
          action: 'rotateCredentials',
          cluster,
          input: { cluster, ...(secretRef === undefined ? {} : { secretRef }) },
          identity: kubeconfig,
        };
        return mutate(context, request, reply, mutation, async (by) => {
          const store = storeOf(context);
          const checked = await submitted(store, request.body);
          const { entry } = await requireOwn(context, cluster);
          await requireIdle(context, cluster);
          await store.propose({ entry, kubeconfig: checked, by });
          const input = onboardInputSchema.parse({ cluster, replaces: true });
          return accepted(cluster, await started(store, cluster, () => context.client.onboardCluster(input, by)));
        });
      },
    );
  };
}

/** What was told of a cluster under another name. */
function renamed(report: ConnectionReport, from: string, to: string): ConnectionReport {
  const named = (text: string) => text.replaceAll(candidateName(from), to).replaceAll(from, to);
  const problems = report.problems.map(({ type, message }) => ({ cluster: to, type, message: named(message) }));
  return { ...report, cluster: to, problems };
}
