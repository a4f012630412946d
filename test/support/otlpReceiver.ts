import http from 'node:http';
import type { AddressInfo } from 'node:net';
import protobuf from 'protobufjs';

/** What of OTLP the tests read (opentelemetry-proto: opentelemetry/proto/trace/v1/trace.proto). */
const SCHEMA = `
syntax = "proto3";
message Request { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { repeated Span spans = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; Status status = 15;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
`;
const requestType = protobuf.parse(SCHEMA).root.lookupType('Request');

/** STATUS_CODE_ERROR of OTLP. */
export const ERROR = 2;

export interface ReceivedSpan {
  traceId: string;
  spanId: string;
  /** Empty: it begins the trace. */
  parentSpanId: string;
  name: string;
  /** `service.name` of the process that made it. */
  service: string;
  startNanos: bigint;
  endNanos: bigint;
  attributes: Record<string, unknown>;
  status: { code: number; message: string };
}

interface Decoded {
  resourceSpans: { resource: { attributes: KeyValue[] }; scopeSpans: { spans: DecodedSpan[] }[] }[];
}
type KeyValue = { key: string; value: Record<string, unknown> };
type DecodedSpan = Record<'traceId' | 'spanId' | 'parentSpanId', Uint8Array> &
  Record<'startTimeUnixNano' | 'endTimeUnixNano', string> & {
    name: string;
    attributes: KeyValue[];
    status: { code: number; message: string } | null;
  };

/** A real receiver of traces by OTLP over HTTP, on loopback. */
export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  /** Every request, as it came. */
  readonly heads: string[] = [];
  readonly bodies: Buffer[] = [];
  /** How often it was called, whatever it answered. */
  calls = 0;
  /** HTTP status that it answers with; `hang`: it does not. */
  answer: number | 'hang' = 200;

  private constructor(private readonly server: http.Server) {}

  static async start(): Promise<OtlpReceiver> {
    const server = http.createServer();
    const receiver = new OtlpReceiver(server);
    server.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
      void request.toArray().then((chunks) => receiver.take(request, Buffer.concat(chunks as Buffer[]), response));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** The spans of a name, as they came. */
  named(name: string): ReceivedSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  /** A span with those that it is below, from the first of them that came. */
  pathTo(span: ReceivedSpan): ReceivedSpan[] {
    const parent = this.spans.find(({ spanId }) => spanId === span.parentSpanId);
    return parent === undefined ? [span] : [...this.pathTo(parent), span];
  }

  forget(): void {
    this.spans.length = 0;
    this.heads.length = 0;
    this.bodies.length = 0;
    this.calls = 0;
  }

  private take(request: http.IncomingMessage, body: Buffer, response: http.ServerResponse): void {
    this.calls++;
    this.heads.push([request.method, request.url, ...request.rawHeaders].join(' '));
    this.bodies.push(body);
    if (this.answer === 'hang') return;
    if (this.answer === 200) this.spans.push(...decode(body));
    response.writeHead(this.answer, { 'content-type': 'application/x-protobuf' }).end();
  }
}

function decode(body: Buffer): ReceivedSpan[] {
  const options = { longs: String, defaults: true };
  const { resourceSpans } = requestType.toObject(requestType.decode(body), options) as Decoded;
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(record(resource.attributes)['service.name']);
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => received(service, span)));
  });
}

function received(service: string, { name, status, attributes, ...span }: DecodedSpan): ReceivedSpan {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  return {
    traceId: hex(span.traceId),
    spanId: hex(span.spanId),
    parentSpanId: hex(span.parentSpanId),
    name,
    service,
    startNanos: BigInt(span.startTimeUnixNano),
    endNanos: BigInt(span.endTimeUnixNano),
    attributes: record(attributes),
    status: { code: status?.code ?? 0, message: status?.message ?? '' },
  };
}

function record(attributes: KeyValue[]): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, Object.values(value).find((each) => each !== null)]),
  );
}
