import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { timeouts, verifyInputSchema } from '../../contract/change.js';
import { diagnosisSchema, planSchema, verifySchema } from '../answers.js';
import { mutate, principalOf, type ApiContext } from '../context.js';
import { knownFederation } from '../federationDetail.js';
import { applyInput, applyOneSchema, planned } from '../federationFile.js';
import type { Reads } from '../reads.js';
import { acceptedSchema, federationParams, idempotencyHeaders, problems } from '../schemas.js';
import { toldLook, type Look } from '../unknownClusters.js';
import { acceptedChange } from './changes.js';

/** Looks at a federation: planned, verified, diagnosed, probed. */
export function federationCheckRoutes(context: ApiContext, reads: Reads): FastifyPluginAsyncZod {
  const { client } = context;
  /** What the caller may be told of a look. @throws FederatorError NotFound */
  const told = async <T extends Look>(request: FastifyRequest, federation: string, look: Promise<T>): Promise<T> => {
    const [{ list, health }, seen] = await Promise.all([knownFederation(reads, federation), look]);
    const watched = health?.clusters.map(({ cluster }) => cluster) ?? [];
    return toldLook(principalOf(request), seen, [...list, ...watched]);
  };
  return async (app) => {
    app.post(
      '/federations/:federation/plan',
      {
        config: { permission: 'view' },
        schema: {
          tags: ['federations'],
          summary: 'What an apply of this file would do; nothing is changed',
          params: federationParams,
          body: applyOneSchema,
          response: { 200: planSchema, ...problems },
        },
      },
      async (request) => planned(context, request, applyInput(request.body, request.params.federation)),
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
            200: verifySchema,
            ...problems,
          },
        },
      },
      async (request) => {
        const { params } = request;
        return told(request, params.federation, client.verify(verifyInputSchema.parse(params)));
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
          response: { 200: diagnosisSchema, ...problems },
        },
      },
      async (request) => {
        const { params } = request;
        return told(request, params.federation, client.diagnose({ ...params, clusters: [], readings: true }));
      },
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
