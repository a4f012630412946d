import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { stringify } from 'yaml';
import { newToken } from '../../src/access/tokens.js';
import { payloadEncryption } from '../../src/encryption/payloadEncryption.js';
import { setupPairInputSchema } from '../../src/contract/change.js';
import { CHECK_UPDATE, STOP_SIGNAL, type MonitorSettings } from '../../src/contract/monitor.js';
import { inSpan } from '../../src/tracing/span.js';
import { startTracing, type Tracing } from '../../src/tracing/tracing.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';
import { ERROR, OtlpReceiver, type ReceivedSpan } from '../support/otlpReceiver.js';
import { federate, RecordedActivities } from '../support/recordedActivities.js';
import { eventually } from '../support/spireTrustDomain.js';
import { Testbed } from '../support/testbed.js';
import { WorkflowEnvironment } from '../support/workflowEnvironment.js';

const MINUTE = 60_000;
const KEYS = payloadEncryption({ SPIRE_FEDERATOR_PAYLOAD_KEYS: `test:${Buffer.alloc(32, 7).toString('base64')}` });
/** What a process waits for its spans to be sent, and what it needs besides. */
const ENDS_WITHIN_MS = 10_000;

let receiver: OtlpReceiver;
beforeAll(async () => {
  receiver = await OtlpReceiver.start();
});
afterAll(async () => receiver.stop());

const childrenOf = (parent: ReceivedSpan | undefined) =>
  receiver.spans.filter(({ parentSpanId }) => parentSpanId === parent?.spanId);

/** Waits until a span has come, and all that came before it. */
const arrived = (name: string) =>
  eventually(async () => {
    const [span] = receiver.named(name);
    expect(span).toBeDefined();
    return span;
  }, MINUTE);

describe('worker, API and command line', () => {
  const CALLER = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' };
  const CREDENTIAL = 'kubernetes-credential-of-the-engine';
  const HEADER_SECRET = 'key-of-the-collector';
  const token = newToken();
  let testbed: Testbed;
  let kubernetes: FakeKubernetesApi;
  let api: string;
  /** Until then Kubernetes answers as an API server does that has just started. */
  let isReady = true;

  const environmentOf = (endpoint: string) => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    OTEL_EXPORTER_OTLP_HEADERS: `x-collector-key=${HEADER_SECRET}`,
    OTEL_BSP_SCHEDULE_DELAY: '200',
  });
  const testCluster = (headers: Record<string, string> = {}) =>
    fetch(`${api}/v1/clusters/fake/test?token=in-the-query`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token.token}`, ...headers },
    });

  beforeAll(async () => {
    kubernetes = await FakeKubernetesApi.start();
    kubernetes.server.on('request', (request, response) => {
      const [ready, message] = request.url === '/version' ? [200, ''] : [403, 'no'];
      const [status, said] = isReady ? [ready, message] : [503, 'etcd is not ready'];
      request.resume().once('end', () => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ message: said }));
      });
    });
    const { kubeconfig } = (await kubernetes.connect({ user: { token: CREDENTIAL } })).cluster;
    testbed = await Testbed.start({ clusters: 0 });
    const inventory = path.join(testbed.folder, 'inventory.yaml');
    writeFileSync(inventory, stringify({ clusters: [{ name: 'fake', namespace: 'spire', kubeconfig }] }));
    const tokens = path.join(testbed.folder, 'tokens.yaml');
    const grants = [{ role: 'admin', federation: '*' }];
    writeFileSync(tokens, stringify({ tokens: [{ name: 'admin', sha256: token.sha256, grants }] }));
    Object.assign(testbed.environment, {
      SPIRE_FEDERATOR_INVENTORY: inventory,
      SPIRE_FEDERATOR_API_TOKENS: tokens,
      ...environmentOf(receiver.url),
    });
    await testbed.startWorker();
    api = await testbed.startApi({});
  });
  afterAll(async () => {
    await testbed.stop();
    await kubernetes.stop();
  });

  test('one trace leads from the call of the API to every request to Kubernetes, attempt by attempt', async () => {
    isReady = false;
    const calling = testCluster({ traceparent: `00-${CALLER.traceId}-${CALLER.spanId}-01` });
    await arrived('RunActivity:readFacts');
    isReady = true;
    const answer = await calling;
    expect(await answer.json()).toMatchObject({ cluster: 'fake', ok: false });
    const workflow = await arrived('RunWorkflow:testCluster');
    const [request] = await eventually(async () => {
      const found = receiver.named('POST /v1/clusters/:cluster/test');
      expect(found).toHaveLength(1);
      return found;
    }, MINUTE);

    expect(new Set(receiver.spans.map(({ traceId }) => traceId))).toEqual(new Set([CALLER.traceId]));
    expect(request).toMatchObject({
      parentSpanId: CALLER.spanId,
      service: 'spire-federator-api',
      attributes: {
        'http.request.method': 'POST',
        'http.response.status_code': '200',
        'spire_federator.cluster': 'fake',
      },
      status: { code: 0 },
    });
    const [start] = childrenOf(request);
    expect(start).toMatchObject({ name: 'StartWorkflow:testCluster', service: 'spire-federator-api' });
    expect(childrenOf(start)).toEqual([workflow]);
    expect(workflow).toMatchObject({
      service: 'spire-federator-worker',
      attributes: {
        temporalWorkflowID: 'cluster/fake/test',
        temporalRunID: start?.attributes['temporalRunID'],
        'spire_federator.cluster': 'fake',
        'spire_federator.outcome': 'completed',
      },
    });
    const [regions, ...attempts] = childrenOf(workflow);
    expect(regions?.name).toBe('RunActivity:readRegions');
    expect(attempts.map(({ name, attributes }) => [name, attributes['spire_federator.attempt']])).toEqual([
      ['RunActivity:readFacts', '1'],
      ['RunActivity:readFacts', '2'],
    ]);
    const [failed, succeeded] = attempts;
    expect(failed).toMatchObject({
      attributes: {
        temporalWorkflowID: 'cluster/fake/test',
        temporalActivityID: 'readFacts/fake',
        'spire_federator.activity': 'readFacts',
        'spire_federator.cluster': 'fake',
        'error.type': 'KubernetesUnavailable',
      },
      status: { code: ERROR, message: expect.stringMatching(/^fake: cannot .*etcd is not ready/) as string },
    });
    expect(succeeded?.status.code).toBe(0);
    for (const attempt of attempts) {
      const requests = childrenOf(attempt);
      expect(requests.length).toBeGreaterThan(0);
      for (const each of requests) {
        expect(each.attributes).toMatchObject({ 'spire_federator.cluster': 'fake' });
        expect(each.startNanos).toBeGreaterThanOrEqual(attempt.startNanos);
      }
    }
    expect(childrenOf(failed).map(({ attributes }) => attributes['http.response.status_code'])).toContain('503');
    // Requests that nothing waits for any more end when they do.
    const set = await eventually(async () => {
      const found = childrenOf(succeeded).find(({ name }) => name === 'get statefulsets');
      expect(found).toBeDefined();
      return found;
    }, MINUTE);
    expect(set).toMatchObject({
      attributes: {
        'kubernetes.verb': 'get',
        'kubernetes.group': 'apps',
        'kubernetes.resource': 'statefulsets',
        'kubernetes.name': 'spire-server',
        'k8s.namespace.name': 'spire',
        'http.response.status_code': '403',
        'error.type': 'Forbidden',
      },
      status: { code: ERROR },
    });
  });

  test('a trace begins with a command too', async () => {
    receiver.forget();
    const { code } = await testbed.federator('clusters', 'test', 'fake');
    expect(code).toBe(1);
    const [command] = receiver.named('federator clusters test');
    expect(command).toMatchObject({ parentSpanId: '', service: 'spire-federator-cli' });
    expect(childrenOf(command).map(({ name }) => name)).toEqual(['StartWorkflow:testCluster']);
    const workflow = await arrived('RunWorkflow:testCluster');
    expect(workflow?.traceId).toBe(command?.traceId);
  });

  test('no secret leaves with the spans', async () => {
    expect(receiver.heads.join()).toContain(HEADER_SECRET);
    const spans = Buffer.concat(receiver.bodies).toString('latin1');
    expect(spans).toContain('readFacts');
    for (const secret of [CREDENTIAL, HEADER_SECRET, token.token, 'in-the-query', kubernetes.url, 'Bearer']) {
      expect(spans).not.toContain(secret);
    }
  });

  test.each([
    ['is not there', async () => 'http://127.0.0.1:9'],
    [
      'never answers',
      async () => {
        receiver.answer = 'hang';
        return receiver.url;
      },
    ],
    [
      'refuses',
      async () => {
        receiver.answer = 500;
        return receiver.url;
      },
    ],
  ])('a collector that %s disturbs nothing', async (_what, endpoint) => {
    const url = await endpoint();
    const startedAt = performance.now();
    const { code, stdout, stderr } = await testbed.federatorWith(
      environmentOf(url),
      'clusters',
      'test',
      'fake',
      '--output',
      'json',
    );
    expect({ code, reports: JSON.parse(stdout) as unknown }).toMatchObject({ code: 1, reports: [{ cluster: 'fake' }] });
    expect(stderr).toMatch(/Traces cannot be sent to 127\.0\.0\.1:\d+ \(.+\)\. Nothing else depends on them\./);
    expect(performance.now() - startedAt).toBeLessThan(ENDS_WITHIN_MS + 5_000);
  });

  test('nor does it keep a worker from ending', async () => {
    receiver.answer = 'hang';
    const worker = await testbed.startWorker();
    await testbed.federator('clusters', 'test', 'fake');
    const startedAt = performance.now();
    await testbed.stopWorker(worker);
    expect(performance.now() - startedAt).toBeLessThan(ENDS_WITHIN_MS);
    receiver.answer = 200;
  });

  test.each([
    ['nothing names a collector', { OTEL_EXPORTER_OTLP_ENDPOINT: '' }, 0],
    ['it is switched off', { OTEL_SDK_DISABLED: 'true' }, 0],
    ['it is on, for comparison', {}, 1],
  ])('what is sent, and whether the SDK is loaded, where %s', async (_where, settings, sent) => {
    const preload = path.join(testbed.folder, 'loaded.cjs');
    writeFileSync(preload, "process.on('exit', () => console.error(Object.keys(require.cache).join('\\n')));");
    receiver.forget();
    const environment = { ...settings, NODE_OPTIONS: `--require ${preload}` };
    const { stderr } = await testbed.federatorWith(environment, 'clusters', '--help');
    expect(receiver.calls).toBe(sent);
    expect(stderr.includes('@opentelemetry/sdk-trace')).toBe(sent > 0);
    expect(stderr.includes('@opentelemetry/exporter')).toBe(sent > 0);
  });

  test('what cannot be used is said at once', async () => {
    const { code, stderr } = await testbed.federatorWith(
      { OTEL_EXPORTER_OTLP_ENDPOINT: 'user:secret@collector' },
      'clusters',
      'list',
    );
    expect(code).toBe(1);
    expect(stderr).toBe('OTEL_EXPORTER_OTLP_ENDPOINT is no http or https URL. Set it as http://127.0.0.1:4318.\n');
  });
});

describe('workflows', () => {
  const FEDERATION = 'traced';
  const SETUP = setupPairInputSchema.parse({ federation: FEDERATION, clusters: ['a', 'b'], timeouts: { attempts: 3 } });
  let environment: WorkflowEnvironment;
  let tracing: Tracing;

  const begin = async (settings: Record<string, string> = {}) => {
    Object.assign(process.env, { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...settings });
    const started = await startTracing('test', (message) => console.error(message));
    if (started === undefined) throw new Error('nothing is traced');
    tracing = started;
  };
  /** Sends what there is to be sent. */
  const flush = async () => {
    await tracing.shutdown();
    await begin();
  };
  const setup = (recorded: RecordedActivities, options: object = {}) =>
    inSpan('asked', {}, () =>
      environment.run(recorded, 'setupPair', SETUP, (handle) => handle.result(), { tracing, ...options }),
    );

  beforeAll(async () => {
    environment = await WorkflowEnvironment.start();
    await begin();
  });
  afterAll(async () => {
    await tracing.shutdown();
    delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
    await environment.stop();
  });
  beforeEach(() => receiver.forget());

  test.each([
    ['kept in memory', {}],
    ['read anew with every task', { maxCachedWorkflows: 0 }],
    ['with encrypted payloads', { encryption: KEYS }],
  ])('a change is one span, and below it each attempt of each step: %s', async (_how, options) => {
    const recorded = new RecordedActivities('a', 'b');
    recorded.interfere = ({ id, attempt }) => {
      if (id === 'rolloutServer/b' && attempt < 3) throw new Error('it is not ready');
    };
    await setup(recorded, options);
    await flush();
    const [asked] = receiver.named('asked');
    const [start, ...others] = childrenOf(asked);
    expect(start).toMatchObject({
      name: 'StartWorkflow:setupPair',
      attributes: { 'spire_federator.federation': FEDERATION },
    });
    expect(others).toEqual([]);
    const workflows = receiver.named('RunWorkflow:setupPair');
    expect(workflows).toEqual(childrenOf(start));
    expect(workflows).toHaveLength(1);
    const all = childrenOf(workflows[0]);
    const steps = all.filter(({ name }) => name !== 'RunActivity:readRegions');
    expect(all).toHaveLength(steps.length + 1);
    // Those that failed are not among the calls.
    expect(steps).toHaveLength(recorded.calls.length + 2);
    const rollout = steps.filter(({ attributes }) => attributes['temporalActivityID'] === 'rolloutServer/b');
    expect(
      rollout.map(({ attributes, status }) => [attributes['spire_federator.attempt'], status.code, status.message]),
    ).toEqual([
      ['1', ERROR, 'it is not ready'],
      ['2', ERROR, 'it is not ready'],
      ['3', 0, ''],
    ]);
    for (const { attributes } of steps)
      expect(attributes).toMatchObject({
        temporalWorkflowID: workflows[0]?.attributes['temporalWorkflowID'],
        temporalRunID: workflows[0]?.attributes['temporalRunID'],
        'spire_federator.federation': FEDERATION,
      });
    expect(new Set(receiver.spans.map(({ traceId }) => traceId)).size).toBe(1);
  });

  test('what fails a change is on its span, and no secret that it quotes', async () => {
    const recorded = new RecordedActivities('a', 'b');
    recorded.interfere = ({ id }) => {
      if (id === 'rolloutServer/b')
        throw ApplicationFailure.nonRetryable('b: refused, with password=planted-secret', 'Forbidden');
    };
    await expect(setup(recorded)).rejects.toThrow();
    await flush();
    expect(receiver.named('RunWorkflow:setupPair')).toMatchObject([
      {
        attributes: { 'spire_federator.outcome': 'failed', 'error.type': 'Forbidden' },
        status: {
          code: ERROR,
          message: expect.stringMatching(/^b: refused, with password=<redacted>\nEvery cluster is as it was/) as string,
        },
      },
    ]);
    expect(Buffer.concat(receiver.bodies).toString('latin1')).not.toContain('planted-secret');
  });

  test('every round of a monitor is a trace of its own, and an update goes on with that of its caller', async () => {
    const recorded = new RecordedActivities('a', 'b');
    federate(recorded, FEDERATION, 'a', 'b');
    await inSpan('asked', {}, () => watch(recorded, (handle) => handle.executeUpdate(CHECK_UPDATE)));
    await flush();
    const [asked] = receiver.named('asked');
    const update = receiver.named(`UpdateWorkflow:${CHECK_UPDATE}`)[0];
    expect(update?.parentSpanId).toBe(asked?.spanId);
    expect(childrenOf(update)).toMatchObject([{ name: `HandleUpdate:${CHECK_UPDATE}`, status: { code: 0 } }]);
    const rounds = receiver.named('MonitorRound');
    expect(rounds.length).toBeGreaterThan(1);
    expect(new Set(rounds.map(({ traceId }) => traceId)).size).toBe(rounds.length);
    for (const round of rounds) {
      expect(round).toMatchObject({ parentSpanId: '', attributes: { 'spire_federator.outcome': 'completed' } });
      expect(round.traceId).not.toBe(asked?.traceId);
    }
    expect(childrenOf(rounds[0]).map(({ name }) => name)).toEqual(
      expect.arrayContaining(['RunActivity:readCluster', 'RunActivity:engineState']),
    );
    expect(receiver.named('RunWorkflow:monitor')[0]?.traceId).toBe(asked?.traceId);
  });

  test('what begins in a workflow is sampled as the worker is told', async () => {
    await tracing.shutdown();
    await begin({ OTEL_TRACES_SAMPLER: 'parentbased_always_off' });
    const recorded = new RecordedActivities('a', 'b');
    federate(recorded, FEDERATION, 'a', 'b');
    await watch(recorded, (handle) => handle.executeUpdate(CHECK_UPDATE));
    delete process.env['OTEL_TRACES_SAMPLER'];
    await flush();
    expect(recorded.names).toContain('readCluster');
    expect(receiver.spans).toEqual([]);
  });

  test('histories replay with traces and without, whichever they were made with, and make no span', async () => {
    await environment.run(new RecordedActivities('a', 'b'), 'setupPair', SETUP, (handle) => handle.result());
    const replayed = await environment.replayAll();
    expect(await environment.replayAll({ tracing })).toBe(replayed);
    expect(replayed).toBeGreaterThan(5);
    await flush();
    expect(receiver.spans.filter(({ name }) => name !== 'StartWorkflow:setupPair')).toEqual([]);
  });

  function watch(recorded: RecordedActivities, use: (handle: WorkflowHandle) => Promise<unknown>): Promise<unknown> {
    const settings: MonitorSettings = {
      federation: FEDERATION,
      clusters: ['a', 'b'],
      refreshHintSeconds: 300,
      intervalSeconds: 0.3,
      repair: { automatic: true, caChange: 'automatic' },
    };
    const work = async (handle: WorkflowHandle): Promise<unknown> => {
      await use(handle);
      await handle.signal(STOP_SIGNAL);
      return handle.result();
    };
    return environment.run(recorded, 'monitor', settings, work, { tracing });
  }
});
