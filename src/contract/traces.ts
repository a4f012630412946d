import { defaultPayloadConverter, type Headers, type Payload } from '@temporalio/common';
import { federationOf } from './names.js';

/**
 * Headers of workflows, activities and updates by which a trace goes on, as W3C Trace Context has them (level 1). Temporal
 * keeps headers readable, payload encryption or not.
 */
const TRACEPARENT = 'traceparent';
const TRACESTATE = 'tracestate';

/**
 * State of a trace that a workflow began: no sampler could be asked there, so each span's maker asks its own, which says
 * the same of the same trace.
 */
const UNDECIDED = 'spire-federator=undecided';

/** A place in a trace that spans can be made below. */
export interface TracePosition {
  /** 32 hexadecimal digits. */
  traceId: string;
  /** 16 hexadecimal digits. */
  spanId: string;
  sampled: boolean | 'undecided';
}

/** What of a workflow becomes a span, once it is over: it happened there, and is told of by the worker. */
export interface WorkflowSpan {
  name: string;
  position: TracePosition;
  /** Absent: the trace begins here. */
  parent?: TracePosition;
  /** Milliseconds since 1970, by the workflow's clock. */
  startMs: number;
  endMs: number;
  outcome: WorkflowOutcome;
  subject: Subject;
}

/** How spans get out of a workflow: the worker takes them when they happen, and not again when it replays. */
export type TraceSinks = { traces: { ended(span: WorkflowSpan): void } };

export type WorkflowOutcome =
  { status: 'completed' | 'continuedAsNew' } | { status: 'cancelled' | 'failed'; type: string; message: string };

/** What a workflow or an activity is about. */
export interface Subject {
  federation?: string;
  cluster?: string;
}

/** Reads it from what it was started with; a federation's own workflows have its name in their ID too. */
export function subjectOf(args: readonly unknown[], workflowId = ''): Subject {
  const { federation, cluster } = (args[0] ?? {}) as { federation?: unknown; cluster?: unknown };
  const known = Object.entries({ federation: federation || federationOf(workflowId), cluster });
  return Object.fromEntries(known.filter(([, value]) => typeof value === 'string'));
}

/** Headers that tell of a position. */
export function traceHeaders({ traceId, spanId, sampled }: TracePosition): Headers {
  const toPayload = (value: string) => defaultPayloadConverter.toPayload(value);
  return {
    [TRACEPARENT]: toPayload(`00-${traceId}-${spanId}-${sampled === true ? '01' : '00'}`),
    ...(sampled === 'undecided' ? { [TRACESTATE]: toPayload(UNDECIDED) } : {}),
  };
}

/** The position that headers tell of; undefined where they tell of none: whoever sent them, nothing fails by them. */
export function readTraceHeaders(headers: Headers): TracePosition | undefined {
  const traceparent = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/;
  const [, traceId, spanId, flags] = traceparent.exec(text(headers[TRACEPARENT])) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  const undecided = text(headers[TRACESTATE]) === UNDECIDED;
  return { traceId, spanId, sampled: undecided ? 'undecided' : (parseInt(flags, 16) & 1) === 1 };
}

function text(payload: Payload | undefined): string {
  if (payload === undefined) return '';
  try {
    return String(defaultPayloadConverter.fromPayload<unknown>(payload));
  } catch {
    // In an encoding that is not this engine's.
    return '';
  }
}
