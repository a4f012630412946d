import { WebSocketServer } from 'ws';
import { defaultPayloadConverter } from '@temporalio/common';
import {
  readTraceHeaders,
  subjectOf,
  traceHeaders,
  type TracePosition,
  type WorkflowSpan,
} from '../../src/contract/traces.js';
import type { ClusterConnection } from '../../src/kubernetes/connect.js';
import { execInPod } from '../../src/kubernetes/exec.js';
import { readObject } from '../../src/kubernetes/objects.js';
import { requestText } from '../../src/kubernetes/request.js';
import { WatchedObjects } from '../../src/kubernetes/watch.js';
import { inSpan } from '../../src/tracing/span.js';
import { startTracing, type Tracing } from '../../src/tracing/tracing.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';
import { ERROR, OtlpReceiver, type ReceivedSpan } from '../support/otlpReceiver.js';

const POSITION: TracePosition = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: 'b7ad6b7169203331',
  sampled: true,
};

describe('headers of Temporal', () => {
  test.each([true, false, 'undecided'] as const)('carry a position that is sampled: %s', (sampled) => {
    expect(readTraceHeaders(traceHeaders({ ...POSITION, sampled }))).toEqual({ ...POSITION, sampled });
  });

  test.each([
    [undefined],
    [{}],
    ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331'],
    ['00-00000000000000000000000000000000-b7ad6b7169203331-01'],
    ['00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01'],
    ['00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01'],
    ['ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
  ])('that say %j carry none', (traceparent) => {
    const payload = defaultPayloadConverter.toPayload(traceparent);
    expect(readTraceHeaders(payload === undefined ? {} : { traceparent: payload })).toBeUndefined();
  });

  test('in an encoding of somebody else carry none', () => {
    const metadata = { encoding: Buffer.from('binary/other') };
    expect(readTraceHeaders({ traceparent: { metadata, data: Buffer.from('x') } })).toBeUndefined();
  });
});

test.each<[unknown[], string | undefined, object]>([
  [[{ federation: 'f', cluster: 'c' }], undefined, { federation: 'f', cluster: 'c' }],
  [[{ federation: '', cluster: 'c' }], 'federation/f/change', { federation: 'f', cluster: 'c' }],
  [[], 'federation/f/monitor', { federation: 'f' }],
  [[], 'plan/f/1', { federation: 'f' }],
  [['text'], 'cluster/c/change', {}],
  [[{ federation: { deep: 1 }, cluster: 2 }], undefined, {}],
])('what %j of workflow %s is about', (args, workflowId, subject) => {
  expect(subjectOf(args, workflowId)).toEqual(subject);
});

describe('spans', () => {
  let receiver: OtlpReceiver;
  let api: FakeKubernetesApi;
  let connection: ClusterConnection;
  let tracing: Tracing;
  const saved = { ...process.env };

  const begin = async (settings: Record<string, string> = {}) => {
    process.env = { ...saved, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...settings };
    const started = await startTracing('test', (message) => console.error(message));
    if (started === undefined) throw new Error('nothing is traced');
    tracing = started;
  };
  /** What came of something that is done in an activity. */
  const traced = async (work: () => Promise<unknown>): Promise<ReceivedSpan[]> => {
    await begin();
    await inSpan('activity', {}, work).catch(() => undefined);
    await tracing.shutdown();
    return receiver.spans.filter(({ name }) => name !== 'activity');
  };

  beforeAll(async () => {
    receiver = await OtlpReceiver.start();
    api = await FakeKubernetesApi.start();
    api.server.on('request', (request, response) => {
      const [path] = (request.url ?? '').split('?');
      const status = path === '/version' || path?.endsWith('/pods') ? 200 : 404;
      response.writeHead(status, { 'content-type': 'application/json' });
      if (request.url?.includes('watch=1')) response.flushHeaders();
      else response.end(status === 200 ? '{"items":[],"metadata":{"resourceVersion":"1"}}' : '{"message":"not found"}');
    });
    api.server.on('upgrade', (request, socket, head) => {
      const server = new WebSocketServer({ noServer: true, handleProtocols: () => 'v4.channel.k8s.io' });
      server.handleUpgrade(request, socket, head, (open) => {
        const details = { causes: [{ reason: 'ExitCode', message: '3' }] };
        const status = JSON.stringify({ status: 'Failure', reason: 'NonZeroExitCode', details });
        open.send(Buffer.concat([Buffer.from([3]), Buffer.from(status)]));
      });
    });
    connection = await api.connect();
  });
  afterAll(async () => {
    process.env = saved;
    await api.stop();
    await receiver.stop();
  });
  beforeEach(() => receiver.forget());

  test('a request says what it asks of which cluster, and what was answered', async () => {
    const reference = {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'spire-server', namespace: 'spire' },
    };
    expect(await traced(() => readObject(connection, reference))).toMatchObject([
      {
        name: 'get statefulsets',
        service: 'test',
        attributes: {
          'spire_federator.cluster': 'fake',
          'http.request.method': 'GET',
          'http.response.status_code': '404',
          'kubernetes.verb': 'get',
          'kubernetes.group': 'apps',
          'kubernetes.resource': 'statefulsets',
          'kubernetes.name': 'spire-server',
          'k8s.namespace.name': 'spire',
          'error.type': 'NotFound',
        },
        status: { code: ERROR, message: 'fake: cannot read StatefulSet spire-server: not found.' },
      },
    ]);
  });

  test.each([
    ['GET', '/version', 'get /version', {}],
    ['GET', '/api/v1/namespaces/spire', 'get namespaces', { 'kubernetes.name': 'spire' }],
    ['GET', '/api/v1/namespaces/spire/pods', 'list pods', { 'k8s.namespace.name': 'spire' }],
    ['GET', '/api/v1/namespaces/spire/pods/a/log', 'get pods/log', { 'kubernetes.name': 'a' }],
    [
      'POST',
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      'create selfsubjectaccessreviews',
      { 'kubernetes.group': 'authorization.k8s.io' },
    ],
    [
      'PATCH',
      '/apis/spire.spiffe.io/v1alpha1/clusterspiffeids/a',
      'patch clusterspiffeids',
      { 'kubernetes.name': 'a' },
    ],
    ['DELETE', '/api/v1/namespaces/spire/configmaps/a', 'delete configmaps', { 'kubernetes.verb': 'delete' }],
  ] as const)('%s %s is "%s"', async (method, path, name, attributes) => {
    const query = { fieldSelector: 'of-the-query' };
    const spans = await traced(() => requestText(connection, { method, path, query, attempt: 'try' }));
    expect(spans).toMatchObject([{ name, attributes }]);
    expect(Buffer.concat(receiver.bodies).toString('latin1')).not.toMatch(/of-the-query|127\.0\.0\.1|Bearer/);
  });

  test('a command in a pod says its first words and its exit code, and no argument', async () => {
    const target = { namespace: 'spire', pod: 'spire-server-0', container: 'spire-server' };
    const command = ['./spire-server', 'bundle', 'set', '-id', 'an-argument'];
    expect(await traced(() => execInPod(connection, target, command))).toMatchObject([
      {
        name: 'create pods/exec',
        attributes: {
          'spire_federator.cluster': 'fake',
          'spire_federator.command': './spire-server bundle set',
          'k8s.namespace.name': 'spire',
          'k8s.container.name': 'spire-server',
          'kubernetes.name': 'spire-server-0',
          'process.exit.code': '3',
        },
        status: { code: 0 },
      },
    ]);
    expect(Buffer.concat(receiver.bodies).toString('latin1')).not.toContain('an-argument');
  });

  test('a watch that goes on is in no span of whoever looked first', async () => {
    const watched = new WatchedObjects(connection, { apiVersion: 'v1', kind: 'Pod', namespace: 'spire' });
    const spans = await traced(() => watched.read());
    watched.close();
    expect(spans.map(({ name }) => name)).toEqual(['list pods']);
  });

  test('a workflow has the IDs that it chose, also below a trace that a workflow began', async () => {
    await begin();
    const parent: TracePosition = { ...POSITION, sampled: 'undecided' };
    const ended: WorkflowSpan = {
      name: 'RunWorkflow:diagnose',
      position: { ...parent, spanId: '1111111111111111' },
      parent,
      startMs: Date.UTC(2026, 0, 1),
      endMs: Date.UTC(2026, 0, 2),
      outcome: { status: 'failed', type: 'Internal', message: 'refused with password=planted-secret' },
      subject: { federation: 'f' },
    };
    tracing.workflowEnded(ended, { workflowId: 'w', runId: 'r' });
    await tracing.shutdown();
    expect(receiver.spans).toMatchObject([
      {
        traceId: POSITION.traceId,
        spanId: '1111111111111111',
        parentSpanId: POSITION.spanId,
        startNanos: BigInt(Date.UTC(2026, 0, 1)) * 1_000_000n,
        endNanos: BigInt(Date.UTC(2026, 0, 2)) * 1_000_000n,
        attributes: { temporalWorkflowID: 'w', temporalRunID: 'r', 'spire_federator.federation': 'f' },
        status: { code: ERROR, message: 'refused with password=<redacted>' },
      },
    ]);
  });

  test.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'user:secret@collector', /OTLP_ENDPOINT is no http or https URL/],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', /OTLP_PROTOCOL is grpc; traces are sent as http\/protobuf only/],
  ])('%s=%s is refused', async (name, value, says) => {
    await expect(begin({ [name]: value })).rejects.toThrow(says);
  });
});
