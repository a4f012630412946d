import helmet from '@fastify/helmet';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { LogLevel } from '../config.js';
import { answerConnectionError, refuseExpectation } from './connectionErrors.js';
import { requirePermission, type ApiContext } from './context.js';
import { describeRoutes } from './description.js';
import { EventStreams } from './eventStream.js';
import { federationMetrics } from './metrics.js';
import type { Principal } from '../access/principal.js';
import { ProblemError, sendProblem } from './problem.js';
import { Reads } from './reads.js';
import { limitRates, otherMethods } from './refusals.js';
import { accessRoutes } from './routes/access.js';
import { changeRoutes } from './routes/changes.js';
import { codecRoutes } from './routes/codec.js';
import { clusterChangeRoutes } from './routes/clusterChanges.js';
import { clusterCredentialRoutes } from './routes/clusterCredentials.js';
import { clusterRoutes } from './routes/clusters.js';
import { consoleRoutes } from './routes/console.js';
import { federationCheckRoutes } from './routes/federationChecks.js';
import { federationMemberRoutes } from './routes/federationMembers.js';
import { federationRoutes } from './routes/federations.js';
import { monitorRoutes } from './routes/monitor.js';
import { traceRequests } from './traces.js';
import { Turns } from './turns.js';

/** A kubeconfig with its certificates has some KiB. */
const BODY_LIMIT_BYTES = 512 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 65_000;

interface ServerOptions {
  level?: LogLevel | 'silent';
  /** For a request to arrive; an answer may take as long as the look at the clusters that it needs. */
  requestTimeoutMs?: number;
  /** Requests are traced. */
  traces?: boolean;
}

/** The HTTP API, ready to listen. */
export async function buildServer(
  context: ApiContext,
  { level = 'info', requestTimeoutMs = REQUEST_TIMEOUT_MS, traces = false }: ServerOptions = {},
): Promise<FastifyInstance> {
  const app = Fastify({
    logger: { level, redact: ['req.headers.authorization', 'req.headers.cookie'] },
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: requestTimeoutMs,
    // Node lets the header take longer than the whole, and then swaps the two; and it looks for late ones so often.
    http: {
      headersTimeout: requestTimeoutMs,
      connectionsCheckingInterval: requestTimeoutMs / 4,
      // Refused below, as anything else is.
      requireHostHeader: false,
    },
    clientErrorHandler: answerConnectionError,
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply),
    keepAliveTimeout: KEEP_ALIVE_MS,
    // An ID of the caller's own would let it write what it likes into the log.
    genReqId: () => randomUUID(),
    // What runs is answered; `closeWithin` says for how long.
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 256 },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(sendProblem);
  app.server.on('checkExpectation', refuseExpectation);
  const streams = new EventStreams();
  let isClosing = false;
  app.addHook('preClose', async () => {
    isClosing = true;
    streams.close();
  });
  app.addHook('onSend', async (_request, reply) => {
    // A connection that is kept would keep the process.
    if (isClosing) reply.header('connection', 'close');
  });
  const countRefusal = await limitRates(app, context.requestsPerSecond);
  app.setNotFoundHandler(async (request) => {
    await countRefusal(request);
    throw new ProblemError(404, 'NotFound', `There is no ${request.method} ${request.url.split('?')[0]}. See /docs.`);
  });
  await app.register(helmet, {
    contentSecurityPolicy: { directives: { upgradeInsecureRequests: null } },
    // TLS is whoever's who terminates it.
    strictTransportSecurity: false,
  });
  await describeRoutes(app);
  const refuseOtherMethods = otherMethods(app, countRefusal);
  app.addHook('onRequest', async ({ raw: { httpVersion, headers } }) => {
    if (httpVersion === '1.1' && headers.host === undefined)
      throw new ProblemError(400, 'BadRequest', 'The request has no Host field (RFC 9112).');
  });
  app.decorateRequest('principal', undefined);
  app.addHook('onRequest', async (request) => {
    if (request.routeOptions.config.permission === undefined) return;
    try {
      request.principal = await authenticate(context, request);
    } catch (error) {
      await countRefusal(request);
      throw error;
    }
    if (request.principal === undefined) {
      await countRefusal(request);
      throw unauthorized(request);
    }
    // Whoever an issuer knows is not thereby somebody here.
    if (request.principal.grants.length === 0) throw noRole(request.principal);
  });
  app.addHook('preHandler', async (request) => {
    const { permission, everywhere } = request.routeOptions.config;
    const { federation } = (request.params ?? {}) as { federation?: string };
    // A route with neither asks for the federation in its body itself, or shows what may be seen.
    if (permission !== undefined && (everywhere === true || federation !== undefined))
      requirePermission(request, permission, federation);
  });
  app.get(
    '/metrics',
    { config: { permission: 'view', everywhere: true }, schema: { hide: true } },
    async (_request, reply) => {
      const { text, contentType } = await federationMetrics(context.client);
      return reply.type(contentType).send(text);
    },
  );
  app.get('/healthz', { schema: { hide: true } }, () => ({ status: 'ok' }));
  app.get('/readyz', { schema: { hide: true, response: { 200: z.object({ status: z.string() }) } } }, async () => {
    await context.client.ready();
    return { status: 'ok' };
  });
  await app.register(consoleRoutes);
  const reads = new Reads(context.client);
  await app.register(
    async (v1) => {
      if (traces) traceRequests(v1);
      // Whoever changed something, or had it looked at, reads it as it is then.
      v1.addHook('onSend', async ({ method }, { statusCode }) => {
        if (method !== 'GET' && method !== 'HEAD' && statusCode < 400) reads.forget();
      });
      const turns = new Turns();
      await v1.register(clusterRoutes(context, reads, turns));
      await v1.register(clusterCredentialRoutes(context, turns));
      await v1.register(clusterChangeRoutes(reads));
      await v1.register(federationRoutes(context, reads));
      await v1.register(federationMemberRoutes(context, reads));
      await v1.register(federationCheckRoutes(context, reads));
      await v1.register(changeRoutes(context, reads, streams));
      await v1.register(monitorRoutes(context, reads, streams));
      await v1.register(accessRoutes(context));
      await v1.register(codecRoutes(context));
    },
    { prefix: '/v1' },
  );
  refuseOtherMethods();
  return app;
}

/** Lets what runs be answered, for so long, and then cuts it off. */
export async function closeWithin(app: FastifyInstance, patienceMs: number): Promise<void> {
  const late = setTimeout(() => app.server.closeAllConnections(), patienceMs);
  try {
    await app.close();
  } finally {
    clearTimeout(late);
  }
}

/** Whose token it is; undefined for none, and for one that is not good. */
async function authenticate({ tokens, oidc }: ApiContext, { headers }: FastifyRequest): Promise<Principal | undefined> {
  const token = bearerToken(headers);
  return token === undefined ? undefined : ((await tokens?.principal(token)) ?? (await oidc?.principal(token)));
}

function bearerToken({ authorization = '' }: FastifyRequest['headers']): string | undefined {
  return /^Bearer ([\w.~+/=-]{1,8192})$/i.exec(authorization)?.[1];
}

function noRole({ name }: Principal): ProblemError {
  return new ProblemError(403, 'Forbidden', `${name} has no role here: their token names none that is known.`);
}

/** What is wrong with a token is nobody's business but its owner's. */
function unauthorized({ headers }: FastifyRequest): ProblemError {
  return new ProblemError(
    401,
    'Unauthorized',
    bearerToken(headers) === undefined
      ? 'Send a token: Authorization: Bearer …'
      : 'The token is unknown, not valid, or has expired.',
    undefined,
    { 'www-authenticate': 'Bearer realm="spire-federator"' },
  );
}
