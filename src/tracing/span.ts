import { context, SpanStatusCode, trace, type Context, type Span, type SpanOptions } from '@opentelemetry/api';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { FederatorError } from '../contract/errors.js';
import { redactText } from '../federation/redaction.js';

/** Longest message that a span carries: a change that fails may have one line for each of a hundred clusters. */
const MESSAGE_CHARACTERS = 2_000;

/** What the engine knows spans by. While nothing is traced, its spans are none and cost nothing. */
export function tracer() {
  return trace.getTracer('spire-federator');
}

/** Does something as a span, below the one in whose course it is called unless told another parent. */
export async function inSpan<T>(
  name: string,
  options: SpanOptions,
  work: (span: Span) => Promise<T>,
  parent: Context = context.active(),
): Promise<T> {
  const span = tracer().startSpan(name, options, parent);
  try {
    return await context.with(trace.setSpan(parent, span), () => work(span));
  } catch (error) {
    markFailed(span, errorType(error), error instanceof Error ? error.message : String(error));
    throw error;
  } finally {
    span.end();
  }
}

/** The same where it is part of a span; what happens on its own, as a watch that is opened again, is no trace. */
export async function inChildSpan<T>(name: string, options: SpanOptions, work: () => Promise<T>): Promise<T> {
  return trace.getActiveSpan() === undefined ? work() : inSpan(name, options, work);
}

/** Does something in the course of no span, though it is called in the course of one: it outlives that. */
export function outsideOfSpans<T>(work: () => T): T {
  return context.with(trace.deleteSpan(context.active()), work);
}

/** @param type of a FederatorError; what somebody cancelled has not failed */
export function markFailed(span: Span, type: string, message: string): void {
  span.setAttribute('error.type', type);
  if (type === 'Cancelled') return;
  span.setStatus({ code: SpanStatusCode.ERROR, message: redactText(message).slice(0, MESSAGE_CHARACTERS) });
}

function errorType(error: unknown): string {
  if (error instanceof FederatorError) return error.type;
  if (error instanceof ApplicationFailure) return error.type ?? 'Internal';
  const cancelled = error instanceof CancelledFailure || (error instanceof Error && error.name === 'AbortError');
  return cancelled ? 'Cancelled' : 'Internal';
}
