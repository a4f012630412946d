import { setTimeout as delay } from 'node:timers/promises';
import {
  context,
  diag,
  DiagLogLevel,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
  TraceFlags,
  type Context,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  RandomIdGenerator,
  type IdGenerator,
} from '@opentelemetry/sdk-trace-base';
import type { WorkflowInfo } from '@temporalio/workflow';
import type { TracePosition, WorkflowSpan } from '../contract/traces.js';
import { executionAttributes, subjectAttributes } from './attributes.js';
import { markFailed, tracer } from './span.js';
import type { Tracing } from './tracing.js';

/** Longest that one export may take where OTEL_EXPORTER_OTLP_TIMEOUT says nothing else, and that a process waits at its end. */
const EXPORT_MS = 3_000;
const TIMEOUTS = ['OTEL_EXPORTER_OTLP_TRACES_TIMEOUT', 'OTEL_EXPORTER_OTLP_TIMEOUT'];
/** Of exports that fail one after the other, the log tells so often. */
const WARN_EVERY_MS = 60_000;

/** Tasks that are done again are so within seconds. */
const REMEMBERED = 1_000;

/** OpenTelemetry's SDK, as the one that this process's spans go to. The only module that loads it. */
export class OpenTelemetry implements Tracing {
  private readonly ids = new ChosenIds();
  private readonly provider: BasicTracerProvider;
  private warnedAt = -Infinity;
  /** The last spans that workflows told of. */
  private readonly told = new Set<string>();

  constructor(
    service: string,
    readonly destination: string,
    private readonly warn: (message: string) => void,
  ) {
    const note = (...said: unknown[]) => this.tell(`OpenTelemetry: ${said.map(String).join(' ')}`);
    const quiet = () => undefined;
    diag.setLogger(
      { error: note, warn: note, info: quiet, debug: quiet, verbose: quiet },
      { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
    );
    setGlobalErrorHandler((error) => this.tellFailed(error));
    const timeout = TIMEOUTS.some((each) => process.env[each]) ? {} : { timeoutMillis: EXPORT_MS };
    this.provider = new BasicTracerProvider({
      resource: resourceFromAttributes({ 'service.name': service }).merge(
        detectResources({ detectors: [envDetector] }),
      ),
      idGenerator: this.ids,
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(timeout))],
    });
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    trace.setGlobalTracerProvider(this.provider);
  }

  contextOf(position: TracePosition | undefined): Context {
    if (position === undefined) return ROOT_CONTEXT;
    const { traceId, spanId, sampled } = position;
    const isSampled = sampled === 'undecided' ? this.samples(traceId) : sampled;
    const traceFlags = isSampled ? TraceFlags.SAMPLED : TraceFlags.NONE;
    return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
  }

  workflowEnded(span: WorkflowSpan, { workflowId, runId }: Pick<WorkflowInfo, 'workflowId' | 'runId'>): void {
    const { name, position, parent, startMs, endMs, outcome, subject } = span;
    if (this.isTold(position.spanId)) return;
    const attributes = {
      ...executionAttributes(workflowId, runId),
      ...subjectAttributes(subject),
      'spire_federator.outcome': outcome.status,
    };
    const options = { kind: SpanKind.SERVER, attributes, startTime: startMs };
    const below = this.contextOf(parent);
    const made = this.ids.choose(position, () => tracer().startSpan(name, options, below));
    if ('message' in outcome) markFailed(made, outcome.type, outcome.message);
    made.end(endMs);
  }

  async shutdown(): Promise<void> {
    const timeUp = new AbortController();
    const flushed = this.provider.shutdown().catch((error: unknown) => this.tellFailed(error));
    // What is still under way then ends by its own timeout.
    const late = delay(EXPORT_MS, undefined, { signal: timeUp.signal }).then(
      () => this.tellFailed('not all of them in time'),
      () => undefined,
    );
    await Promise.race([flushed, late]);
    timeUp.abort();
    trace.disable();
    propagation.disable();
    context.disable();
    diag.disable();
  }

  /** What the sampler says of a trace: of the same one always the same. */
  private samples(traceId: string): boolean {
    const spanId = this.ids.generateSpanId();
    const root = this.ids.choose({ traceId, spanId }, () => tracer().startSpan('sampled', {}, ROOT_CONTEXT));
    return (root.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0;
  }

  /** A task whose outcome Temporal did not take is done again, and tells again. */
  private isTold(spanId: string): boolean {
    if (this.told.has(spanId)) return true;
    this.told.add(spanId);
    const [oldest] = this.told;
    if (this.told.size > REMEMBERED && oldest !== undefined) this.told.delete(oldest);
    return false;
  }

  private tellFailed(reason: unknown): void {
    const why = reason instanceof Error ? reason.message : String(reason);
    this.tell(`Traces cannot be sent to ${this.destination} (${why}). Nothing else depends on them.`);
  }

  private tell(message: string): void {
    const now = performance.now();
    if (now - this.warnedAt < WARN_EVERY_MS) return;
    this.warnedAt = now;
    this.warn(message);
  }
}

/** Random IDs, but for a span that its workflow gave others. */
class ChosenIds implements IdGenerator {
  private readonly random = new RandomIdGenerator();
  private chosen: Pick<TracePosition, 'traceId' | 'spanId'> | undefined;

  choose<T>(ids: Pick<TracePosition, 'traceId' | 'spanId'>, start: () => T): T {
    this.chosen = ids;
    try {
      return start();
    } finally {
      this.chosen = undefined;
    }
  }

  generateTraceId(): string {
    return this.chosen?.traceId ?? this.random.generateTraceId();
  }

  generateSpanId(): string {
    return this.chosen?.spanId ?? this.random.generateSpanId();
  }
}
