import fc from 'fast-check';
import { UnsecuredJWT, SignJWT, type JWTPayload } from 'jose';
import { stringify } from 'yaml';
import { policySchema } from '../../src/contract/policy.js';
import { ApiEnvironment } from '../support/apiEnvironment.js';
import { OpenApi, type Document, type Operation } from '../support/fuzz/openApi.js';
import { fuzzRequests, type FuzzRequest } from '../support/fuzz/requests.js';
import { send, sendRaw, type FuzzAnswer } from '../support/fuzz/send.js';
import { identityFacts } from '../support/freshCluster.js';
import { federate, RecordedActivities } from '../support/recordedActivities.js';
import { eventually } from '../support/spireTrustDomain.js';

/** How many requests the fuzzer sends, and which: a seed gives the same ones again. */
const RUNS = Number(process.env['API_FUZZ_RUNS'] ?? 500);
const SEED = Number(process.env['API_FUZZ_SEED'] ?? 1);
/** On a machine that is busy with other tests, too. */
const ANSWER_MS = 30_000;
const REQUEST_TIMEOUT_MS = 2_000;

/** Tokens that most requests carry. */
const USUAL = ['good', 'good', 'good', 'viewer', 'operator', 'approver'];
/** The names of those whose tokens let them change something, as the audit log has them. */
const MAY_CHANGE = ['oidc/alice', 'token/admin', 'token/operator', 'token/approver'];

const FEDERATION = 'payments';
const MEMBERS = ['a', 'b'];
/** A cluster may have any DNS label for its name, also one that every object of JavaScript has. */
const CLUSTERS = [...MEMBERS, 'constructor', 'free'];
const POLICY = policySchema.parse({ type: 'label', labels: { federated: 'true' } });
const SECRET = 'only-the-cluster-may-know-this';
const KUBECONFIG = stringify({
  'current-context': 'x',
  clusters: [{ name: 'x', cluster: { server: 'https://127.0.0.1:1' } }],
  contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
  users: [{ name: 'x', user: { token: SECRET } }],
});

const AT = '/v1/federations/{federation}';
/** What changes nothing though it is no GET. */
const LOOKS = [
  'POST /v1/clusters/{cluster}/test',
  ...['plan', 'verify', 'diagnose', 'monitor/check'].map((look) => `POST ${AT}/${look}`),
];
/** What roles but an admin's may besides looking. */
const BESIDES_LOOKING: Readonly<Record<string, readonly string[]>> = {
  viewer: [],
  approver: [`POST ${AT}/approvals`],
  operator: [
    ...[
      'POST /v1/federations',
      `PUT ${AT}`,
      `DELETE ${AT}`,
      'POST /v1/codec/decode',
      `POST ${AT}/changes/{runId}/cancel`,
    ],
    ...['changes', 'probe', 'monitor/pause', 'monitor/resume'].map((what) => `POST ${AT}/${what}`),
  ],
};

let environment: ApiEnvironment;
let url: string;
let api: OpenApi;
/** Authorization headers: `good`, an admin's; those of the other roles; and of the others none is anybody's. */
let tokens: Record<string, string>;

beforeAll(async () => {
  const recorded = new RecordedActivities(...CLUSTERS, 'newcomer');
  federate(recorded, FEDERATION, ...MEMBERS);
  const stats = { podsSelected: 3, entriesToSet: 2 };
  const { name = '' } = POLICY;
  recorded.change('a', { identities: [identityFacts({ name, federation: FEDERATION, policy: POLICY, stats })] });
  recorded.strangers = ['constructor', 'free', 'newcomer'];
  recorded.elsewhere = { [FEDERATION]: MEMBERS };
  environment = await ApiEnvironment.start(recorded);
  url = await environment.listen({ clusters: CLUSTERS, requestTimeoutMs: REQUEST_TIMEOUT_MS });
  const { text } = await ask('GET', '/openapi.json');
  api = new OpenApi(JSON.parse(text) as Document);
  tokens = await authorizations();
  const repair = { automatic: true, caChange: 'automatic' } as const;
  await environment.client.startMonitor({ federation: FEDERATION, clusters: MEMBERS, refreshHintSeconds: 300, repair });
}, 120_000);

afterAll(async () => environment.stop(), 60_000);

async function authorizations(): Promise<Record<string, string>> {
  const { issuer } = environment;
  const claims = (change: JWTPayload = {}) => issuer.claims({ roles: ['spire-federator:admin'], ...change });
  const secret = (text: string) =>
    new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'k' }).sign(Buffer.from(text));
  const [header = '', payload = '', signature = ''] = (await issuer.sign(claims())).split('.');
  const changed = Buffer.from(JSON.stringify(claims({ sub: 'mallory' }))).toString('base64url');
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const jwts = {
    good: `${header}.${payload}.${signature}`,
    expired: await issuer.sign(claims({ exp: 1 })),
    endless: await issuer.sign(Object.fromEntries(Object.entries(claims()).filter(([name]) => name !== 'exp'))),
    notYet: await issuer.sign(claims({ nbf: Math.floor(Date.now() / 1_000) + 3_600 })),
    foreignAudience: await issuer.sign(claims({ aud: 'another' })),
    foreignIssuer: await issuer.sign(claims({ iss: 'https://evil.test' })),
    foreignKey: await issuer.sign(claims(), 'foreign'),
    unknownKey: await issuer.sign(claims(), 'own', 'nobody'),
    oddSubject: await issuer.sign(claims({ sub: 7 as unknown as string })),
    unsigned: new UnsecuredJWT(claims()).encode(),
    publicKeyAsSecret: await secret(issuer.publicKey),
    changed: `${header}.${changed}.${signature}`,
    cutOff: `${header}.${payload}`,
    otherAlgorithm: `${encoded({ alg: 'RS256', kid: 'k' })}.${payload}.${signature}`,
    noneInCapitals: `${encoded({ alg: 'NONE' })}.${payload}.`,
    critical: `${encoded({ alg: 'ES256', kid: 'k', crit: ['x'], x: 1 })}.${payload}.${signature}`,
    noJson: `${Buffer.from('{').toString('base64url')}.${payload}.${signature}`,
  };
  const bearer = Object.fromEntries(Object.entries(jwts).map(([name, token]) => [name, `Bearer ${token}`]));
  const roles = ['viewer', 'operator', 'approver'] as const;
  return {
    ...bearer,
    ...Object.fromEntries(roles.map((role) => [role, `Bearer ${environment.token(role)}`])),
    absent: '',
    bare: 'Bearer',
    basic: 'Basic YWRtaW46YWRtaW4=',
    dots: 'Bearer ...',
    long: `Bearer ${'a'.repeat(9_000)}`,
    unknown: `Bearer sf_${'a'.repeat(43)}`,
    hash: `Bearer ${environment.token('admin')}x`,
  };
}

const authorized = () => ({ authorization: `Bearer ${environment.token('admin')}` });

function ask(method: string, target: string, request: Partial<FuzzRequest> = {}): Promise<FuzzAnswer> {
  return send(url, { method, target, headers: {}, token: '', ...request }, ANSWER_MS);
}

function askJson(method: string, target: string, body: unknown, headers = {}): Promise<FuzzAnswer> {
  const all = { ...authorized(), 'content-type': 'application/json', ...headers };
  return ask(method, target, { headers: all, body: JSON.stringify(body) });
}

async function read(target: string): Promise<unknown> {
  const { status, text } = await ask('GET', target, { headers: authorized() });
  expect({ target, status, text }).toMatchObject({ status: 200 });
  return JSON.parse(text);
}

/** What is wrong with an answer, whatever was asked; nothing where it is as it must be. */
function faults({ method, target, token }: FuzzRequest, { status, headers, text }: FuzzAnswer): string[] {
  const found: string[] = [];
  const contentType = headers['content-type'] ?? '';
  if (status >= 500) found.push(`${status}: ${text}`);
  if (status === 401 && headers['www-authenticate'] === undefined) found.push('401 does not say how to come in');
  if (status === 405 && headers.allow === undefined) found.push('405 does not say what is allowed');
  if (text.includes(SECRET)) found.push('a credential is in the answer');
  if (/\bat .*\.[cm]?[jt]s:\d+/.test(text)) found.push('a stack trace is in the answer');
  const operation = api.operationAt(method === 'HEAD' ? 'GET' : method, target.split('?')[0] ?? '');
  if (status >= 400) {
    if (!contentType.startsWith('application/problem+json')) found.push(`a ${status} of type ${contentType}: ${text}`);
    else if (method !== 'HEAD') found.push(...problemFaults(status, text));
    if (operation === undefined || method === 'HEAD' || found.length > 0) return found;
    return api.faults(operation, status, contentType, JSON.parse(text));
  }
  if (operation === undefined) return [...found, `${status} for what is not in the document`];
  if (!mayGet(token, operation, text)) found.push(`${token} got ${status} for ${operation.method} ${operation.path}`);
  if (method === 'HEAD' || contentType.startsWith('text/event-stream')) return found;
  const body: unknown = contentType.startsWith('application/json') ? JSON.parse(text) : text;
  return [...found, ...api.faults(operation, status, contentType, body)];
}

/** Whether a token may have what was answered to it, by the table of the operator's guide. */
function mayGet(token: string, { method, path }: Operation, text: string): boolean {
  if (token === 'good') return true;
  const besides = BESIDES_LOOKING[token];
  if (besides === undefined) return false;
  const operation = `${method} ${path}`;
  if (besides.includes(operation) || LOOKS.includes(operation)) return true;
  // A federation file may be planned by whoever may look, by the same path.
  if (operation === 'POST /v1/federations') return (JSON.parse(text) as { planned?: boolean }).planned === true;
  return method === 'GET' && !path.startsWith('/v1/audit');
}

function problemFaults(status: number, text: string): string[] {
  const problem = JSON.parse(text) as Record<string, unknown>;
  const texts = ['type', 'title', 'detail', 'instance'].filter((field) => typeof problem[field] !== 'string');
  return [
    ...texts.map((field) => `the problem has no ${field}: ${text}`),
    ...(problem['status'] === status ? [] : [`the problem of a ${status} says ${String(problem['status'])}`]),
  ];
}

test('a path that is no path is refused as any other fault', async () => {
  const [method, status] = ['GET', 400];
  for (const segment of ['%', '%zz', '%00', '%ff', '%C0%AF', '..%2f..%2fetc', 'A', 'a'.repeat(64)]) {
    const request = { method, target: `/v1/clusters/${segment}`, headers: authorized(), token: 'good' };
    const answer = await ask(method, request.target, request);
    expect({ segment, status: answer.status, faults: faults(request, answer) }).toEqual({
      segment,
      status,
      faults: [],
    });
  }
});

test.each([
  ['constructor', 404],
  ['__proto__', 400],
])('%s is a name as any other', async (name, status) => {
  for (const at of [`/v1/federations/${name}`, `/v1/federations/${name}/health`, `/v1/clusters/${name}x`]) {
    const answer = await ask('GET', at, { headers: authorized() });
    expect({ at, status: answer.status }).toEqual({ at, status });
  }
});

test('bytes that are no HTTP, and requests that never end, are answered and closed', async () => {
  const head = 'POST /v1/federations HTTP/1.1\r\nhost: x\r\n';
  const asks: [string, number][] = [
    ['\u0000\u0001\u0002\r\n\r\n', 400],
    ['GET / HTTP/9.9\r\n\r\n', 400],
    [`GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 431],
    [`${head}content-length: 10\r\ncontent-length: 11\r\n\r\n`, 400],
    [`${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    ['GET /healthz HTTP/1.1\r\nhost: x\r\nexpect: a miracle\r\n\r\n', 417],
    [head, 408],
    [
      `${head}authorization: Bearer ${environment.token('admin')}\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{`,
      408,
    ],
  ];
  for (const [bytes, status] of asks) {
    const text = await sendRaw(url, bytes, ANSWER_MS);
    const [start = '', body = ''] = text.split('\r\n\r\n');
    expect({ bytes: bytes.slice(0, 60), start: start.split('\r\n')[0] }).toEqual({
      bytes: bytes.slice(0, 60),
      start: expect.stringContaining(` ${status} `) as string,
    });
    expect(start.toLowerCase()).toContain('content-type: application/problem+json');
    expect(problemFaults(status, body)).toEqual([]);
  }
});

test('a method that a path has not is refused with those that it has', async () => {
  const asks: [string, string, string][] = [
    ['PATCH', '/v1/clusters', 'GET, HEAD, POST'],
    ['DELETE', '/v1/federations', 'GET, HEAD, POST'],
    ['POST', `/v1/federations/${FEDERATION}/health`, 'GET, HEAD'],
    ['GET', `/v1/federations/${FEDERATION}/monitor/pause`, 'POST'],
    ['PUT', '/healthz', 'GET, HEAD'],
    ['PATCH', '/v1/clusters/test', 'DELETE, GET, HEAD, POST'],
  ];
  for (const [method, at, allow] of asks) {
    // A body that could not be read is not what is wrong.
    const { status, headers } = await ask(method, at, { headers: { 'content-type': 'application/json' }, body: '{' });
    expect({ at, status, allow: headers.allow }).toEqual({ at, status: 405, allow });
  }
  expect((await ask('PATCH', '/v1/nothing')).status).toBe(404);
});

test('no wait is longer than an hour, and no number is without a bound', async () => {
  const start = (input: object) =>
    askJson('POST', `/v1/federations/${FEDERATION}/changes`, { type: 'adopt', ...input });
  for (const [field, most] of Object.entries({
    rolloutMs: 3_600_000,
    endpointMs: 3_600_000,
    probeMs: 3_600_000,
    attempts: 100,
  })) {
    const { status, text } = await start({ timeouts: { [field]: most + 1 } });
    expect({ field, status }).toEqual({ field, status: 400 });
    expect(text).toContain(`#/body/timeouts/${field}`);
  }
  const unbounded = api.operations.flatMap(({ method, path, body }) =>
    body === undefined ? [] : api.unboundedNumbers(body).map((at) => `${method} ${path} ${at}`),
  );
  expect(unbounded).toEqual([]);
});

test('a key that comes again with another body is refused, and nothing of it is done', async () => {
  const headers = { 'idempotency-key': 'once' };
  const at = `/v1/federations/${FEDERATION}/monitor/pause`;
  const first = await askJson('POST', at, { reason: 'first', forSeconds: 1 }, headers);
  const again = await askJson('POST', at, { reason: 'first', forSeconds: 1 }, headers);
  expect([first.status, again.text]).toEqual([200, first.text]);
  const other = await askJson('POST', at, { reason: 'other', forSeconds: 1 }, headers);
  expect({ status: other.status, text: other.text }).toEqual({
    status: 422,
    text: expect.stringContaining('IdempotencyKeyReused') as string,
  });
  expect(environment.audited()).not.toContain('"reason":"other"');
});

test('who tries tokens is slowed down as anybody, and nobody with a good one is for it', async () => {
  for (const [target, usual] of [
    ['/v1/whoami', 401],
    ['/v1/nothing', 404],
  ] as const) {
    const limited = await environment.listen({ clusters: CLUSTERS, requestsPerSecond: 20 });
    const tried = (at: string, authorization: string) =>
      send(limited, { method: 'GET', target: at, headers: { authorization }, token: '' }, ANSWER_MS);
    const answers = await Promise.all(Array.from({ length: 100 }, () => tried(target, 'Bearer sf_guess')));
    const statuses = new Set(answers.map(({ status }) => status));
    expect(statuses).toEqual(new Set([usual, 429]));
    expect(answers.find(({ status }) => status === 429)?.headers['retry-after']).toBe('1');
    expect((await tried('/v1/whoami', `Bearer ${environment.token('viewer')}`)).status).toBe(200);
  }
});

test('members are listed with what the monitor saw of them, and policies with those who have them', async () => {
  const members = await read(`/v1/federations/${FEDERATION}/members`);
  expect(members).toMatchObject({ items: [{ cluster: 'a' }, { cluster: 'b' }], unknown: [] });
  await eventually(async () =>
    expect(await read(`/v1/federations/${FEDERATION}/members`)).toMatchObject({
      items: [
        { cluster: 'a', trustDomain: 'a.test', server: 'up' },
        { cluster: 'b', trustDomain: 'b.test', server: 'up' },
      ],
    }),
  );
  expect(await read(`/v1/federations/${FEDERATION}/policies`)).toEqual({
    items: [{ name: POLICY.name, policy: POLICY, members: [{ cluster: 'a', podsSelected: 3, entriesToSet: 2 }] }],
    unknown: [],
    unknownCount: 0,
  });
  for (const each of ['members', 'policies'])
    expect((await ask('GET', `/v1/federations/nowhere/${each}`, { headers: authorized() })).status).toBe(404);
});

test('a federation file is only planned where that is asked for, also for who may only look', async () => {
  const viewer = { authorization: `Bearer ${environment.token('viewer')}` };
  const file = { federation: 'planned', clusters: ['constructor', 'free'], probe: false };
  const before = environment.audited();
  const planned = await askJson('POST', '/v1/federations', { ...file, planOnly: true }, viewer);
  expect({ status: planned.status, body: JSON.parse(planned.text) as unknown }).toMatchObject({
    status: 200,
    body: { federation: 'planned', planned: true, changed: true },
  });
  expect((await askJson('POST', '/v1/federations', file, viewer)).status).toBe(403);
  expect(environment.audited()).toBe(before);
});

const tagOf = async (at: string) => (await ask('GET', at, { headers: authorized() })).headers.etag ?? '';

test('a plan leaves a federation, and so its ETag, as it was', async () => {
  const at = `/v1/federations/${FEDERATION}`;
  const tag = await tagOf(at);
  expect((await askJson('POST', `${at}/plan`, { clusters: MEMBERS, probe: false })).status).toBe(200);
  expect(await read(`${at}/changes`)).toEqual({ items: [] });
  expect(await tagOf(at)).toBe(tag);
  expect(await read(at)).not.toHaveProperty('lastChange');
});

test('a federation is changed, and read again, by the tags that If-Match and If-None-Match list', async () => {
  const at = `/v1/federations/${FEDERATION}`;
  const tag = await tagOf(at);
  const put = (ifMatch: string, target = at) =>
    askJson('PUT', target, { clusters: MEMBERS, probe: false }, { 'if-match': ifMatch });
  for (const [ifMatch, status] of [
    ['"another"', 412],
    ['"another", "one"', 412],
    [`W/${tag}`, 412],
    ['another', 400],
  ] as const) {
    const answer = await put(ifMatch);
    expect({ ifMatch, status: answer.status }).toEqual({ ifMatch, status });
    if (status === 412) expect(answer.headers.etag).toBe(tag);
  }
  const nowhere = await put('*', '/v1/federations/nowhere');
  expect([nowhere.status, nowhere.text]).toEqual([412, expect.stringContaining('There is no federation nowhere')]);
  for (const ifNoneMatch of [tag, `W/${tag}`, `"another", ${tag}`, '*']) {
    const { status, text } = await ask('GET', at, { headers: { ...authorized(), 'if-none-match': ifNoneMatch } });
    expect({ ifNoneMatch, status, text }).toEqual({ ifNoneMatch, status: 304, text: '' });
  }
  const changed = await put(`"another", ${tag}`);
  expect(changed.status).toBe(202);
  const { location, runId } = JSON.parse(changed.text) as { location: string; runId: string };
  await eventually(async () => expect(await read(location)).toMatchObject({ runId, status: 'COMPLETED' }));
  // Whoever has seen it end reads the federation as it is since.
  await eventually(async () => expect(await read(at)).toMatchObject({ lastChange: { runId, status: 'COMPLETED' } }));
  expect(await tagOf(at)).not.toBe(tag);
});

test('health and changes are followed as events, from what is known on', async () => {
  const events: Record<string, unknown> = {};
  const response = await fetch(`${url}/v1/federations/${FEDERATION}/health/events`, { headers: authorized() });
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk as Uint8Array).toString();
    for (const [, event = '', data = ''] of text.matchAll(/^event: (.*)\ndata: (.*)\n\n/gm))
      events[event] = JSON.parse(data);
    if ('health' in events && 'changes' in events) break;
  }
  expect(events).toMatchObject({
    health: { federation: FEDERATION, clusters: [{ cluster: 'a' }, { cluster: 'b' }] },
    changes: expect.any(Array) as unknown,
  });
});

test('who follows a federation that nobody knows is told so before anything else', async () => {
  const { status, headers, text } = await ask('GET', '/v1/federations/nowhere/health/events', {
    headers: authorized(),
  });
  expect([status, headers['content-type']]).toEqual([404, expect.stringContaining('application/problem+json')]);
  expect(JSON.parse(text)).toMatchObject({ title: 'NotFound', status: 404 });
});

test('a connection is tested before a cluster is onboarded, and nothing of it is kept', async () => {
  const body = { name: 'newcomer', kubeconfig: KUBECONFIG };
  const { status, text } = await askJson('POST', '/v1/clusters/test', body);
  expect({ status, body: JSON.parse(text) as unknown }).toEqual({
    status: 200,
    body: {
      cluster: 'newcomer',
      ok: false,
      problems: [{ cluster: 'newcomer', type: 'ClusterUnreachable', message: 'newcomer: it is nowhere.' }],
    },
  });
  expect(await environment.stored()).toEqual([]);
  expect(environment.audited()).toContain('"action":"testConnection","cluster":"newcomer"');
});

test.each([
  [{}, /either a kubeconfig or the secretRef/],
  [{ kubeconfig: KUBECONFIG, secretRef: { namespace: 'x', name: 'x' } }, /either a kubeconfig or the secretRef/],
  [{ secretRef: { namespace: 'X', name: '../x' } }, /secretRef\/namespace.*secretRef\/name/],
  [{ secretRef: { namespace: 'x', name: 'x' } }, /no cluster of its own to read a Secret from/],
])('a cluster is onboarded by one of kubeconfig and secretRef: not %#', async (credentials, says) => {
  const { status, text } = await askJson('POST', '/v1/clusters', { name: 'newcomer', ...credentials });
  expect({ status, text }).toEqual({ status: 400, text: expect.stringMatching(says) as string });
});

test('a cluster is onboarded with its region; what became of its offboarding is told when it is gone', async () => {
  const followed = async ({ text }: FuzzAnswer) => {
    const { location, runId } = JSON.parse(text) as { location: string; runId: string };
    expect(location).toBe(`/v1/clusters/newcomer/changes/${runId}`);
    await eventually(async () => expect(await read(location)).toMatchObject({ runId, status: 'COMPLETED' }));
    return read(location);
  };
  const newcomer = { name: 'newcomer', region: 'eu' };
  const onboarded = await askJson('POST', '/v1/clusters', { ...newcomer, kubeconfig: KUBECONFIG });
  expect(await followed(onboarded)).toMatchObject({ type: 'onboardCluster', result: { ok: true } });
  expect(await read('/v1/clusters/newcomer')).toMatchObject({ ...newcomer, state: 'ready' });
  const { items } = (await read('/v1/clusters')) as { items: { name: string; region?: string }[] };
  expect(items.filter(({ region }) => region !== undefined)).toEqual([expect.objectContaining(newcomer)]);
  expect(await environment.storedRegions()).toEqual({ newcomer: 'eu' });
  const offboarded = await ask('DELETE', '/v1/clusters/newcomer', { headers: authorized() });
  expect(await followed(offboarded)).toMatchObject({ type: 'offboardCluster', result: { cluster: 'newcomer' } });
  expect((await ask('GET', '/v1/clusters/newcomer', { headers: authorized() })).status).toBe(404);
  const run = '00000000-0000-4000-8000-000000000000';
  expect((await ask('GET', `/v1/clusters/newcomer/changes/${run}`, { headers: authorized() })).status).toBe(404);
});

test(
  `whatever is sent (${RUNS} requests of seed ${SEED}) is answered as the document says, and what is refused leaves nothing`,
  async () => {
    const change = await environment.client.startChange('probe', {
      federation: FEDERATION,
      clusters: [],
      timeouts: { rolloutMs: 1_000, endpointMs: 1_000, probeMs: 1_000, attempts: 1 },
    });
    const federations = [FEDERATION, 'constructor', 'others'];
    const known = {
      cluster: [...CLUSTERS, 'newcomer'],
      name: [...CLUSTERS, 'newcomer'],
      hub: CLUSTERS,
      federation: federations,
      joinFederation: federations,
      runId: [change.runId],
      kubeconfig: [KUBECONFIG],
      context: ['x'],
      findingId: ['neverBootstrapped@a←b'],
    };
    const before = (await environment.requestedRuns()).map(({ runId }) => runId);
    const [accepted, runs] = [new Set<string>(), new Set<string>()];
    const statuses: Record<number, number> = {};
    const answered: Record<string, number> = {};
    await fc.assert(
      fc.asyncProperty(fuzzRequests(api, known, tokens, USUAL), async (request) => {
        const answer = await send(url, request, ANSWER_MS);
        statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
        if (answer.status < 400) answered[request.token] = (answered[request.token] ?? 0) + 1;
        expect(faults(request, answer)).toEqual([]);
        if (answer.status !== 202) return;
        const { runId } = JSON.parse(answer.text) as { runId: string };
        runs.add(runId);
        const { name } = JSON.parse(String(request.body ?? '{}')) as { name?: string };
        if (request.target.startsWith('/v1/clusters')) accepted.add(name ?? request.target.split('/')[3] ?? '');
      }),
      { numRuns: RUNS, seed: SEED, interruptAfterTimeLimit: 20 * 60_000, markInterruptAsFailure: true },
    );
    console.log(
      `Answers by status: ${JSON.stringify(statuses)}; those that are no refusal by token: ${JSON.stringify(answered)}`,
    );
    // What nobody lets in proves nothing.
    expect(statuses[200] ?? 0).toBeGreaterThan(RUNS / 20);
    expect(statuses[202] ?? 0).toBeGreaterThan(0);
    expect([...accepted]).toEqual(expect.arrayContaining(await environment.stored()));
    const record = environment.audited();
    expect(record).not.toContain(SECRET);
    const changing = (await environment.requestedRuns()).filter(({ runId }) => !before.includes(runId));
    expect([...runs]).toEqual(expect.arrayContaining(changing.map(({ runId }) => runId)));
    // By the engine's own records, too, nobody but those who may has done anything.
    const done = record.split('\n').filter((line) => line !== '');
    const doers = done
      .map((line) => JSON.parse(line) as { who: string; status: number })
      .flatMap(({ who, status }) => (status < 400 ? who : []));
    const who = new Set([...doers, ...changing.map(({ requestedBy }) => requestedBy)]);
    expect(MAY_CHANGE).toEqual(expect.arrayContaining([...who]));
    expect(answered.viewer ?? 0).toBeGreaterThan(RUNS / 100);
  },
  25 * 60_000,
);
