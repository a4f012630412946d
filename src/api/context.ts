import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ChangeHandle, FederatorClient } from '../client.js';
import type { EncryptionCodec } from '../encryption/payloadCodec.js';
import type { ClusterStore } from '../store/clusterStore.js';
import { readInventory, type FullInventory } from '../store/inventory.js';
import type { InventoryFile } from '../store/inventoryFile.js';
import type { AuditLog, AuditRecord } from './audit.js';
import type { IdempotencyKeys } from './idempotency.js';
import type { OidcTokens } from '../access/oidc.js';
import { may, type Permission, type Principal } from '../access/principal.js';
import { ProblemError, toProblem } from './problem.js';
import type { TokenFile } from '../access/tokens.js';

/** What the routes work with. */
export interface ApiContext {
  client: FederatorClient;
  store?: ClusterStore | undefined;
  inventoryFile?: InventoryFile | undefined;
  tokens?: TokenFile | undefined;
  oidc?: OidcTokens | undefined;
  audit: AuditLog;
  /** Reads what Temporal keeps encrypted, for the Web UI. */
  codec: EncryptionCodec;
  /** Address of the Temporal Web UI. */
  webUi: string;
  idempotency: IdempotencyKeys;
  /** Requests of one caller within a second; more are refused. */
  requestsPerSecond: number;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; undefined on the few routes that anybody may use. */
    principal: Principal | undefined;
  }
  interface FastifyContextConfig {
    /** What the caller must be allowed to do; absent: anybody may use the route. */
    permission?: Permission;
    /** It takes the permission in all federations: what the route is about belongs to none. */
    everywhere?: true;
  }
}

export function principalOf({ principal }: FastifyRequest): Principal {
  if (principal === undefined) throw new Error('a route without a permission asked who is there');
  return principal;
}

/** @throws ProblemError 403 */
export function requirePermission(request: FastifyRequest, permission: Permission, federation?: string): void {
  const principal = principalOf(request);
  if (may(principal, permission, federation)) return;
  throw new ProblemError(
    403,
    'Forbidden',
    `${principal.name} may not ${permission}${federation === undefined ? ' across federations' : ` federation ${federation}`}.`,
  );
}

/** What is about one federation must not name another. @throws ProblemError 400 */
export function requireSameFederation(path: string, body: string | undefined): void {
  if (body === undefined || body === path) return;
  throw new ProblemError(400, 'InvalidInput', `The body is of federation ${body}, the path of ${path}.`, [
    { pointer: '#/body/federation', detail: `must be ${path}` },
  ]);
}

/** @throws FederatorError InvalidInventory, StoreUnavailable */
export function inventoryOf({ inventoryFile, store }: ApiContext): Promise<FullInventory> {
  return readInventory(inventoryFile, store);
}

/** What a request changes, for the audit record; credentials are not in it. */
export interface Mutation {
  action: string;
  federation?: string | undefined;
  cluster?: string | undefined;
  input: unknown;
  /** What makes it the same request as another one, where that is more than `input`. */
  identity?: unknown;
}

export interface Outcome {
  status: number;
  body: unknown;
  handle?: ChangeHandle;
}

/** Does what a request asks for, once per Idempotency-Key, and records who asked before, and what came of it after. */
export async function mutate(
  { audit, idempotency }: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  mutation: Mutation,
  work: (requestedBy: string) => Promise<Outcome>,
): Promise<FastifyReply> {
  const { name } = principalOf(request);
  const { action, federation, cluster, input, identity } = mutation;
  const about = {
    who: name,
    action,
    ...(federation === undefined ? {} : { federation }),
    ...(cluster === undefined ? {} : { cluster }),
    input,
  };
  const answer = await idempotency.once(
    { who: name, key: idempotencyKey(request), request: [action, federation, cluster, input, identity] },
    async () => {
      // What cannot be put on record is not done; what was done is not denied when its outcome cannot be.
      const asked = await audit.add(about);
      const note = (outcome: Pick<AuditRecord, 'status' | 'workflowId' | 'runId' | 'link' | 'detail'>) =>
        audit.add({ ...about, asked, ...outcome }).catch((error: unknown) => {
          request.log.error({ err: error, asked, ...outcome }, 'what came of a request is not on record');
        });
      try {
        const { status, body, handle } = await work(name);
        const { workflowId, runId, link } = handle ?? {};
        await note({ status, ...(handle === undefined ? {} : { workflowId, runId, link }) });
        return { status, body };
      } catch (error) {
        const { status, detail } = toProblem(error, request.id);
        await note({ status, detail });
        throw error;
      }
    },
  );
  return reply.code(answer.status).send(answer.body);
}

function idempotencyKey({ headers }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && /^[\x21-\x7e]{1,255}$/.test(key)) return key;
  throw new ProblemError(400, 'InvalidInput', 'Idempotency-Key must be 1 to 255 printable characters without spaces.');
}
