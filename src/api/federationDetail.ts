import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ChangeDescription } from '../client.js';
import { FederatorError } from '../contract/errors.js';
import type { FederationHealth } from '../contract/health.js';
import { matchesStrongly, tagCondition } from './entityTags.js';
import { ProblemError } from './problem.js';
import type { Reads } from './reads.js';
import { changeSchema } from './schemas.js';

export const federationSchema = z.object({ name: z.string(), members: z.array(z.string()) }).meta({ id: 'Federation' });
export const federationDetailSchema = federationSchema
  .extend({
    /** Whether a monitor watches over it. */
    monitored: z.boolean(),
    verdict: z.string().optional(),
    lastChange: changeSchema.optional(),
  })
  .meta({ id: 'FederationDetail' });

/**
 * That nothing of a federation has changed for who saw it with an ETag that an If-Match lists; `*`: that there is one.
 * @param ifMatch absent: nothing is asked for
 * @throws ProblemError 412 with the ETag that it has now, 400
 */
export async function requireUnchanged(reads: Reads, federation: string, ifMatch: string | undefined): Promise<void> {
  if (ifMatch === undefined) return;
  const condition = tagCondition('If-Match', ifMatch);
  reads.forget();
  reads.members.forget();
  const tag = await currentTag(reads, federation);
  if (tag !== undefined && matchesStrongly(condition, tag)) return;
  throw new ProblemError(
    412,
    'Changed',
    tag === undefined
      ? `There is no federation ${federation}, so nothing of it is as it was seen. To make it, leave out If-Match.`
      : `Federation ${federation} has changed since it was read. Read it again, and then say what it is to be.`,
    undefined,
    tag === undefined ? {} : { etag: tag },
  );
}

/** Undefined where nobody knows of the federation. */
async function currentTag(reads: Reads, federation: string): Promise<string | undefined> {
  try {
    return etag(await federationDetail(reads, federation));
  } catch (error) {
    if (error instanceof FederatorError && error.type === 'NotFound') return undefined;
    throw error;
  }
}

/** What is known of a federation. @throws FederatorError NotFound where no cluster, no monitor and no change knows of it */
export async function knownFederation(
  reads: Reads,
  federation: string,
): Promise<{ list: string[]; health: FederationHealth | undefined; lastChange: ChangeDescription | undefined }> {
  const [lastChange, health] = await Promise.all([reads.lastChange(federation), reads.knownHealth(federation)]);
  const list = await reads.members.of(federation, lastChange);
  if (list === undefined && health === undefined && lastChange === undefined) throw unknownFederation(federation);
  return { list: [...(list ?? [])].sort(), health, lastChange };
}

/** The same without asking the clusters where that is not needed. @throws FederatorError NotFound */
export async function requireFederation(reads: Reads, federation: string): Promise<void> {
  const [lastChange, health] = await Promise.all([reads.lastChange(federation), reads.knownHealth(federation)]);
  if (lastChange !== undefined || health !== undefined) return;
  if ((await reads.members.of(federation, undefined)) === undefined) throw unknownFederation(federation);
}

/** The resource that an ETag is of. @throws FederatorError NotFound */
export async function federationDetail(
  reads: Reads,
  federation: string,
): Promise<z.infer<typeof federationDetailSchema>> {
  const { list, health, lastChange } = await knownFederation(reads, federation);
  return {
    name: federation,
    members: list,
    monitored: health !== undefined,
    ...(health === undefined ? {} : { verdict: health.verdict }),
    ...(lastChange === undefined ? {} : { lastChange }),
  };
}

/** Another one when members or the newest change are: what the monitor sees makes no difference. */
export function etag({ name, members, lastChange }: z.infer<typeof federationDetailSchema>): string {
  const { runId, status } = lastChange ?? {};
  const digest = createHash('sha256')
    .update(JSON.stringify([name, members, runId, status]))
    .digest('base64url');
  return `"${digest.slice(0, 22)}"`;
}

function unknownFederation(federation: string): FederatorError {
  return new FederatorError('NotFound', `There is no federation ${federation}. List them: GET /v1/federations`);
}
