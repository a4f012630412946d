import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import {
  createJsonSchemaTransform,
  createJsonSchemaTransformObject,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod';
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { LogLevel } from '../config.js';
import { requirePermission, type ApiContext } from './context.js';
import { federationMetrics } from './metrics.js';
import type { Principal } from '../access/principal.js';
import { ProblemError, sendProblem } from './problem.js';
import { accessRoutes } from './routes/access.js';
import { changeRoutes } from './routes/changes.js';
import { codecRoutes } from './routes/codec.js';
import { clusterRoutes } from './routes/clusters.js';
import { consoleRoutes } from './routes/console.js';
import { federationRoutes } from './routes/federations.js';
import { monitorRoutes } from './routes/monitor.js';

/** A kubeconfig with its certificates has some KiB. */
const BODY_LIMIT_BYTES = 512 * 1024;
/** For a request to arrive; an answer may take as long as the look at the clusters that it needs. */
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 65_000;

/** The HTTP API, ready to listen. */
export async function buildServer(
  context: ApiContext,
  { level = 'info' }: { level?: LogLevel | 'silent' } = {},
): Promise<FastifyInstance> {
  const app = Fastify({
    logger: { level, redact: ['req.headers.authorization', 'req.headers.cookie'] },
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // An ID of the caller's own would let it write what it likes into the log.
    genReqId: () => randomUUID(),
    // A stream that is followed must not keep the process from ending.
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 256 },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(sendProblem);
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      new ProblemError(404, 'NotFound', `There is no ${request.method} ${request.url.split('?')[0]}. See /docs.`),
      request,
      reply,
    ),
  );
  await app.register(helmet, {
    contentSecurityPolicy: { directives: { upgradeInsecureRequests: null } },
    // TLS is whoever's who terminates it.
    strictTransportSecurity: false,
  });
  await describe(app);
  app.decorateRequest('principal', undefined);
  app.addHook('onRequest', async (request) => {
    if (request.routeOptions.config.permission !== undefined) request.principal = await authenticate(context, request);
  });
  await app.register(rateLimit, {
    max: context.requestsPerSecond,
    timeWindow: 1_000,
    // After the caller is known, so that those behind one proxy do not use up each other's share.
    hook: 'preHandler',
    keyGenerator: (request) => request.principal?.name ?? request.ip,
    errorResponseBuilder: (_request, { ttl }) =>
      new ProblemError(
        429,
        'TooManyRequests',
        `More than ${context.requestsPerSecond} requests within a second.`,
        undefined,
        {
          'retry-after': String(Math.ceil(ttl / 1_000)),
        },
      ),
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
  await app.register(
    async (v1) => {
      await v1.register(clusterRoutes(context));
      await v1.register(federationRoutes(context));
      await v1.register(changeRoutes(context));
      await v1.register(monitorRoutes(context));
      await v1.register(accessRoutes(context));
      await v1.register(codecRoutes(context));
    },
    { prefix: '/v1' },
  );
  return app;
}

async function describe(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'SPIRE Federator',
        version: '1',
        description: 'Federates SPIRE servers across Kubernetes clusters and keeps them federated.',
      },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
      security: [{ bearer: [] }],
    },
    transform: createJsonSchemaTransform({}),
    transformObject: createJsonSchemaTransformObject({}),
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
}

/** @throws ProblemError 401; what is wrong with a token is nobody's business but its owner's */
async function authenticate({ tokens, oidc }: ApiContext, request: FastifyRequest): Promise<Principal> {
  const [, token] = /^Bearer ([\w.~+/=-]{1,8192})$/i.exec(request.headers.authorization ?? '') ?? [];
  const principal =
    token === undefined ? undefined : ((await tokens?.principal(token)) ?? (await oidc?.principal(token)));
  if (principal !== undefined) return principal;
  throw new ProblemError(
    401,
    'Unauthorized',
    token === undefined ? 'Send a token: Authorization: Bearer …' : 'The token is unknown, not valid, or has expired.',
    undefined,
    { 'www-authenticate': 'Bearer realm="spire-federator"' },
  );
}
