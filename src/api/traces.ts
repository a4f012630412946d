import { context, propagation, ROOT_CONTEXT, SpanKind, trace, type Span } from '@opentelemetry/api';
import type { FastifyInstance } from 'fastify';
import { markFailed, tracer } from '../tracing/span.js';
import { subjectAttributes } from '../tracing/attributes.js';
import { subjectOf } from '../contract/traces.js';
import { toProblem } from './problem.js';

declare module 'fastify' {
  interface FastifyRequest {
    span: Span | undefined;
  }
}

/**
 * Makes a span of every request to the routes of `app`, which goes on with the trace of a caller that sends a
 * traceparent. It is named by the route: what is in the URL itself is nobody's business.
 */
export function traceRequests(app: FastifyInstance): void {
  app.decorateRequest('span', undefined);
  app.addHook('onRequest', async (request) => {
    const { method, routeOptions, params } = request;
    const route = routeOptions.url ?? '';
    const attributes = {
      'http.request.method': method,
      'http.route': route,
      ...subjectAttributes(subjectOf([params])),
    };
    const parent = propagation.extract(ROOT_CONTEXT, request.headers);
    request.span = tracer().startSpan(`${method} ${route}`, { kind: SpanKind.SERVER, attributes }, parent);
  });
  // Reading the body would lose the context: what follows is the route itself.
  app.addHook('preHandler', ({ span }, _reply, done) => {
    if (span === undefined) done();
    else context.with(trace.setSpan(context.active(), span), done);
  });
  app.addHook('onError', async ({ span, id }, _reply, error) => {
    const { status, title: type, detail } = toProblem(error, id);
    if (status < 500) span?.setAttribute('error.type', type);
    else if (span !== undefined) markFailed(span, type, detail);
  });
  app.addHook('onResponse', async ({ span }, { statusCode }) => {
    span?.setAttribute('http.response.status_code', statusCode).end();
  });
}
