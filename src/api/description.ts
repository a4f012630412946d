import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { PROBLEM_TYPE } from './problem.js';

const withSchemas = createJsonSchemaTransformObject({});

/** Has the API describe itself: OpenAPI of the routes that follow, made of their schemas, and a page to read it. */
export async function describeRoutes(app: FastifyInstance): Promise<void> {
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
    transformObject: (document) => withProblemType(withSchemas(document)),
  });
  await app.register(swaggerUi, { routePrefix: '/docs' });
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger());
}

/** The part of an OpenAPI document that says what is answered. */
interface Answers {
  paths?: Record<string, Record<string, { responses?: Record<string, { content?: Record<string, unknown> }> }>>;
}

/** What goes wrong is told as problem details, whatever the media type of a route's success. */
function withProblemType<T extends object>(document: T): T {
  const { paths = {} }: Answers = document;
  const operations = Object.values(paths).flatMap((path) => Object.values(path));
  for (const [status, response] of operations.flatMap(({ responses = {} }) => Object.entries(responses))) {
    const [content] = Object.values(response.content ?? {});
    if (/^[45]/.test(status) && content !== undefined) response.content = { [PROBLEM_TYPE]: content };
  }
  return document;
}
