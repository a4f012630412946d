import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { visible } from '../access/principal.js';
import { temporalUnreachable } from '../client/unreachable.js';
import { FederatorError, type FederatorErrorType } from '../contract/errors.js';

export const PROBLEM_TYPE = 'application/problem+json';

/** RFC 9457. `type` is a path of this project's runbook, stable per kind of problem. */
export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    instance: z.string(),
    /** Where the request is at fault, all of it at once. */
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'What went wrong (RFC 9457).' });
export type Problem = z.infer<typeof problemSchema>;

/** What is wrong with a request, or with what it needs. */
export class ProblemError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    message: string,
    readonly errors?: Problem['errors'],
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
  }
}

/** A body with faults: all of them, each where it is. */
export function invalidBody({ issues }: z.ZodError): ProblemError {
  const errors = issues.map(({ path, message }) => ({
    // "~" and "/" have a meaning of their own there (RFC 6901).
    pointer: ['#/body', ...path.map((step) => String(step).replaceAll('~', '~0').replaceAll('/', '~1'))].join('/'),
    detail: message,
  }));
  const detail = errors.map(({ pointer, detail: what }) => `${pointer}: ${what}`).join('; ');
  return new ProblemError(400, 'InvalidInput', detail, errors);
}

/**
 * How an error of the engine is told over HTTP. 424: a cluster that the request needs does not play its part, while the
 * API and what it stands on are well; 503: one of these is not. A type that is not here is a bug's.
 */
const STATUS: Partial<Record<string, number>> = {
  InvalidInput: 400,
  InvalidKubeconfig: 400,
  UnknownCluster: 404,
  NotFound: 404,
  ForeignObject: 409,
  Conflict: 409,
  ChangeInProgress: 409,
  Cancelled: 409,
  PreflightFailed: 422,
  VerifyFailed: 422,
  ClusterUnreachable: 424,
  Unauthorized: 424,
  Forbidden: 424,
  InvalidObject: 424,
  KubernetesUnavailable: 424,
  ExecFailed: 424,
  SpireUnavailable: 424,
  SpireFailed: 424,
  ServerConfUnreadable: 424,
  ServerConfChanged: 424,
  BundleUnreadable: 424,
  BundleMismatch: 424,
  BundleElsewhere: 424,
  EndpointUnreachable: 424,
  EndpointNotAuthentic: 424,
  NotReady: 424,
  TimedOut: 424,
  ProbeFailed: 424,
  WebhookUnreachable: 424,
  WebhookRefused: 424,
  UndoFailed: 424,
  TemporalUnreachable: 503,
  PayloadUnreadable: 503,
  NoWorker: 503,
  StoreUnavailable: 503,
  IssuerUnavailable: 503,
  InvalidInventory: 503,
  Internal: 500,
} satisfies Record<FederatorErrorType, number>;

/** @param mayKnowAll whether it is for somebody with a role in all federations */
export function toProblem(
  error: unknown,
  instance: string,
  mayKnowAll = true,
): Problem & { headers: Record<string, string> } {
  if (error instanceof ProblemError) {
    const { status, title, message, errors, headers } = error;
    return { ...problem(status, title, message, instance), ...(errors === undefined ? {} : { errors }), headers };
  }
  // What the engine's own schema refuses in a request that its route's schema let in.
  if (error instanceof z.ZodError) return toProblem(invalidBody(error), instance);
  const known = error instanceof FederatorError ? error : temporalUnreachable(error);
  if (known !== undefined) {
    const detail = (mayKnowAll ? undefined : known.withoutOthers) ?? known.message;
    return { ...problem(STATUS[known.type] ?? 500, known.type, detail, instance), headers: {} };
  }
  const fastify = error as FastifyError;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const where = String(fastify.validationContext ?? 'body');
    const errors = error.validation.map(({ instancePath, message = '' }) => ({
      // The whole of it has a pointer without a slash at its end (RFC 6901).
      pointer: `#/${where}${instancePath === '/' ? '' : instancePath}`,
      detail: message,
    }));
    const detail = errors.map(({ pointer, detail: what }) => `${pointer}: ${what}`).join('; ');
    return { ...problem(400, 'InvalidInput', detail, instance), errors, headers: {} };
  }
  // What Fastify itself refuses: malformed JSON, a body too large, an unknown media type, too many requests.
  if (fastify.statusCode !== undefined && fastify.statusCode >= 400 && fastify.statusCode < 500) {
    return { ...problem(fastify.statusCode, fastify.code ?? 'BadRequest', fastify.message, instance), headers: {} };
  }
  return {
    ...problem(500, 'Internal', 'The engine failed unexpectedly; its log has the details.', instance),
    headers: {},
  };
}

/** Whether a caller may be told of what is of no federation that they name. */
export function mayKnowAll({ principal }: FastifyRequest): boolean {
  return principal !== undefined && visible(principal) === undefined;
}

export function problem(status: number, title: string, detail: string, instance: string): Problem {
  return { type: `urn:spire-federator:problem:${title}`, title, status, detail, instance };
}

export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { headers, ...body } = toProblem(error, request.id, mayKnowAll(request));
  if (body.status >= 500) request.log.error({ err: error }, 'request failed');
  // The content is checked above; the serializer of the route's success would refuse it.
  return reply
    .code(body.status)
    .headers(headers)
    .header('cache-control', 'no-store')
    .type(PROBLEM_TYPE)
    .serializer((payload: unknown) => JSON.stringify(payload))
    .send(body);
}
