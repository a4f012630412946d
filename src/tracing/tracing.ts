import type { Context } from '@opentelemetry/api';
import type { WorkflowInfo } from '@temporalio/workflow';
import { FederatorError } from '../contract/errors.js';
import type { TracePosition, WorkflowSpan } from '../contract/traces.js';

/** What of a process is traced, until it is shut down. */
export interface Tracing {
  /** Where spans are sent, without credentials. */
  destination: string;
  /** The context for spans below a position that another process told of; none: they begin a trace. */
  contextOf(position: TracePosition | undefined): Context;
  /** Makes a span of what happened in a workflow. */
  workflowEnded(span: WorkflowSpan, info: Pick<WorkflowInfo, 'workflowId' | 'runId'>): void;
  /** Sends what is not sent yet, for as long as that takes but for three seconds at most. */
  shutdown(): Promise<void>;
}

const ENDPOINT = 'OTEL_EXPORTER_OTLP_ENDPOINT';
const TRACES_ENDPOINT = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
const PROTOCOLS = ['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', 'OTEL_EXPORTER_OTLP_PROTOCOL'] as const;
const PROTOCOL = 'http/protobuf';

/**
 * Traces this process where OpenTelemetry's own variables name an OTLP endpoint; else nothing of its SDK is even loaded.
 * @param service name of this process, where OTEL_SERVICE_NAME gives no other
 * @param warn told, now and then, that spans could not be sent; nothing else comes of it
 * @throws FederatorError InvalidInput when the endpoint cannot be used
 */
export async function startTracing(service: string, warn: (message: string) => void): Promise<Tracing | undefined> {
  const { env: environment } = process;
  const variable = [TRACES_ENDPOINT, ENDPOINT].find((each) => environment[each]);
  const endpoint = variable === undefined ? undefined : environment[variable];
  if (variable === undefined || endpoint === undefined) return undefined;
  if (environment['OTEL_SDK_DISABLED']?.toLowerCase() === 'true' || environment['OTEL_TRACES_EXPORTER'] === 'none')
    return undefined;
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw new FederatorError('InvalidInput', `${variable} is no http or https URL. Set it as http://127.0.0.1:4318.`);
  }
  const spoken = PROTOCOLS.find((each) => environment[each]);
  if (spoken !== undefined && environment[spoken] !== PROTOCOL) {
    throw new FederatorError(
      'InvalidInput',
      `${spoken} is ${environment[spoken]}; traces are sent as ${PROTOCOL} only. Unset it, and name the endpoint for that (port 4318, mostly).`,
    );
  }
  const { OpenTelemetry } = await import('./openTelemetry.js');
  return new OpenTelemetry(service, new URL(endpoint).host, warn);
}
