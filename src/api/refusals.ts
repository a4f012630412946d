import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ProblemError } from './problem.js';

const WINDOW_MS = 1_000;

/** Counts a request that is refused before it is known who asks. @throws ProblemError 429 */
export type CountRefusal = (request: FastifyRequest) => Promise<void>;

/**
 * Refuses more than so many requests of one caller within a second. Whoever shows a good token is counted by name, so
 * that those behind one proxy do not use up each other's share; who does not, by address, and apart from these: nobody
 * keeps others out by trying tokens.
 */
export async function limitRates(app: FastifyInstance, requestsPerSecond: number): Promise<CountRefusal> {
  const tooMany = (ttlMs: number) =>
    new ProblemError(429, 'TooManyRequests', `More than ${requestsPerSecond} requests within a second.`, undefined, {
      'retry-after': String(Math.ceil(ttlMs / 1_000)),
    });
  await app.register(rateLimit, {
    max: requestsPerSecond,
    timeWindow: WINDOW_MS,
    // After who asks is known, and before anything is read or checked of what they send.
    hook: 'onRequest',
    keyGenerator: (request) => request.principal?.name ?? request.ip,
    errorResponseBuilder: (_request, { ttl }) => tooMany(ttl),
  });
  const count = app.createRateLimit({ keyGenerator: ({ ip }) => ip });
  return async (request) => {
    const counted = await count(request);
    if (!counted.isAllowed && counted.isExceeded) throw tooMany(counted.ttl);
  };
}

/** Notes the routes that follow. @returns what refuses all other methods of theirs, to be called when they are all there */
export function otherMethods(app: FastifyInstance, countRefusal: CountRefusal): () => void {
  const routes = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const methods = routes.get(url) ?? new Set();
    for (const each of [method].flat()) methods.add(each);
    routes.set(url, methods);
  });
  return () => {
    // What is registered here comes by the hook, too.
    const all = [...routes].map(([url, methods]) => ({ url, methods: [...methods] }));
    for (const { url } of all) {
      // A fixed path may be a value of another one's parameter, too.
      const methods = new Set(all.flatMap((each) => (covers(each.url, url) ? each.methods : [])));
      const allow = [...methods].sort().join(', ');
      app.route({
        url,
        method: app.supportedMethods.filter((method) => !methods.has(method)),
        schema: { hide: true },
        // Before a body is read that nobody wants.
        onRequest: async (request) => {
          await countRefusal(request);
          throw new ProblemError(405, 'MethodNotAllowed', `${url} has ${allow}, and no ${request.method}.`, undefined, {
            allow,
          });
        },
        handler: () => undefined,
      });
    }
  };
}

function covers(pattern: string, url: string): boolean {
  const [steps, given] = [pattern.split('/'), url.split('/')];
  return steps.length === given.length && steps.every((step, at) => step.startsWith(':') || step === given[at]);
}
