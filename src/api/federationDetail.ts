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
): Promise<{ list: string[]; health: FederationHealth | undefined; recent: ChangeDescription[] }> {
  const [recent, health] = await Promise.all([reads.recentChanges(federation), reads.knownHealth(federation)]);
  const list = await reads.members.of(federation, recent);
  if (list === undefined && health === undefined && recent.length === 0) throw unknownFederation(federation);
  return { list: [...(list ?? [])].sort(), health, recent };
}

/** The same without asking the clusters where that is not needed. @throws FederatorError NotFound */
export async function requireFederation(reads: Reads, federation: string): Promise<void> {
  const [recent, health] = await Promise.all([reads.recentChanges(federation), reads.knownHealth(federation)]);
  if (recent.length > 0 || health !== undefined) return;
  if ((await reads.members.of(federation, [])) === undefined) throw unknownFederation(federation);
}

/** The resource that an ETag is of. @throws FederatorError NotFound */
export async function federationDetail(
  reads: Reads,
  federation: string,
): Promise<z.infer<typeof federationDetailSchema>> {
  const { list, health, recent } = await knownFederation(reads, federation);
  const [lastChange] = recent;
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
