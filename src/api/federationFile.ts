import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { visible } from '../access/principal.js';
import { applyOptionsSchema, federationFileSchema, type ApplyInput, type FederationFile } from '../contract/change.js';
import type { Plan } from './answers.js';
import { inventoryOf, principalOf, requireSameFederation, type ApiContext } from './context.js';
import { invalidBody, ProblemError } from './problem.js';

export const applySchema = z
  .strictObject({
    ...federationFileSchema.shape,
    probe: z.boolean().optional(),
    monitor: z.boolean().optional(),
    /** Only the plan: nothing is changed. */
    planOnly: z.boolean().default(false),
  })
  .meta({ id: 'FederationFile', description: 'The file that `federator apply -f` takes, as JSON.' });
/** Where the path names the federation, the file need not. */
export const applyOneSchema = applySchema
  .partial({ federation: true })
  .meta({ id: 'FederationFileOfOne', description: 'The same; the path has the name.' });

/** Checks a federation file for what its fields must be to each other: all faults at once, each where it is. */
export function applyInput(body: z.infer<typeof applyOneSchema>, path?: string): ApplyInput {
  const { probe, monitor, planOnly, ...file } = body;
  if (path !== undefined) requireSameFederation(path, file.federation);
  const parsed = federationFileSchema.safeParse({ federation: path, ...file });
  if (!parsed.success) throw invalidBody(parsed.error);
  const federation: FederationFile = parsed.data;
  return {
    ...federation,
    ...applyOptionsSchema.parse({ federation: federation.federation, planOnly, probe, monitor }),
  };
}

/** Plans instead of doing: nothing is changed, so nothing is on record, and whoever may look may ask. */
export async function planned(context: ApiContext, request: FastifyRequest, input: ApplyInput): Promise<Plan> {
  await requireClusters(context, request, input.clusters);
  const { client } = context;
  const change = await client.startChange('applyFederation', { ...input, planOnly: true }, principalOf(request).name);
  return client.result(change);
}

/**
 * Only who has a role in all federations is told what there is instead.
 * @throws ProblemError 422 for clusters that the inventory does not have
 */
export async function requireClusters(
  context: ApiContext,
  request: FastifyRequest,
  clusters: readonly string[],
): Promise<void> {
  const known = (await inventoryOf(context)).clusters.map(({ name }) => name);
  const unknown = clusters.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  const instead = visible(principalOf(request)) === undefined ? ` It has: ${known.join(', ') || 'none'}.` : '';
  throw new ProblemError(
    422,
    'UnknownCluster',
    `There is no cluster ${unknown.join(', ')} in the inventory.${instead}`,
  );
}
