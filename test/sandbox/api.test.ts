import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse, parseAllDocuments, stringify } from 'yaml';
import type { Resource } from '../../sandbox/kubernetes.js';
import { newToken } from '../../src/access/tokens.js';
import type { AuditRecord } from '../../src/api/audit.js';
import { freePort } from '../../sandbox/ports.js';
import { clusterEntrySchema } from '../../src/contract/inventory.js';
import { readInventory } from '../../src/store/inventory.js';
import { SecretStore } from '../../src/store/secretStore.js';
import { submittedKubeconfig } from '../../src/store/submittedKubeconfig.js';
import { chromiumPath, misdeeds, startBrowser } from '../support/browser.js';
import { OtlpReceiver, type ReceivedSpan } from '../support/otlpReceiver.js';
import { adminApi, snapshotCluster } from '../support/snapshot.js';
import { Testbed } from '../support/testbed.js';
import { eventually } from '../support/spireTrustDomain.js';

const FEDERATION = 'payments';
const PAIR = ['client-1', 'server-1'];
const POLICIES = [{ type: 'label' }];
const MINUTE = 60_000;
const LIMIT = 6 * MINUTE;
const CHANGE_MS = 4 * MINUTE;

interface Answer {
  status: number;
  headers: Headers;
  body: Record<string, unknown>;
  text: string;
}

interface CallOptions {
  as?: keyof typeof TOKENS | null;
  body?: unknown;
  headers?: Record<string, string>;
}

const TOKENS = {
  admin: newToken(),
  operator: newToken(),
  viewer: newToken(),
  approver: newToken(),
  stranger: newToken(),
};
const everywhere = (role: string) => [{ role, federation: '*' }];

let testbed: Testbed;
let url: string;
let workerMetrics: string;
let receiver: OtlpReceiver;
let before: Record<string, unknown>;
/** Everything that the API has ever answered. */
const answers: string[] = [];

async function call(
  method: string,
  at: string,
  { as = 'admin', body, headers = {} }: CallOptions = {},
): Promise<Answer> {
  const response = await fetch(`${url}${at}`, {
    method,
    headers: {
      ...(as === null ? {} : { authorization: `Bearer ${TOKENS[as].token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  answers.push(text);
  const isJson = response.headers.get('content-type')?.includes('json') === true && !at.endsWith('export');
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: isJson && text !== '' ? (JSON.parse(text) as Record<string, unknown>) : {},
  };
}

const kubeconfigOf = (cluster: string) =>
  readFileSync(path.join(testbed.directory, cluster, 'engine.kubeconfig'), 'utf8');

/** What the events of a change say, until it has ended. */
async function followed(location: unknown): Promise<string[]> {
  const { text } = await call('GET', `${String(location)}/events`);
  return [...text.matchAll(/^event: (.*)$/gm)].map(([, event = '']) => event);
}

async function settled(cluster: string, state: string): Promise<Record<string, unknown>> {
  return eventually(async () => {
    const { body } = await call('GET', `/v1/clusters/${cluster}`);
    expect(body).toMatchObject({ state });
    return body;
  }, CHANGE_MS);
}

beforeAll(async () => {
  testbed = await Testbed.start({ clusters: 3 });
  before = await snapshotCluster(testbed.directory, 'edge-1');
  const sandbox = parse(readFileSync(path.join(testbed.directory, 'inventory.yaml'), 'utf8')) as {
    clusters: { name: string }[];
  };
  const inventory = path.join(testbed.directory, 'pair.yaml');
  writeFileSync(
    inventory,
    stringify({ ...sandbox, clusters: sandbox.clusters.filter(({ name }) => PAIR.includes(name)) }),
  );
  Object.assign(testbed.environment, {
    SPIRE_FEDERATOR_INVENTORY: inventory,
    SPIRE_FEDERATOR_STORE: `file:${path.join(testbed.folder, 'clusters')}`,
    SPIRE_FEDERATOR_STORE_KEYS: `test:${Buffer.alloc(32, 7).toString('base64')}`,
  });
  // The workers here reach every cluster; who looks at the inventory by the API sees a region of one.
  const clusters = sandbox.clusters
    .filter(({ name }) => PAIR.includes(name))
    .map((each) => (each.name === 'server-1' ? { ...each, region: 'eu' } : each));
  const withRegion = path.join(testbed.directory, 'pair-with-region.yaml');
  writeFileSync(withRegion, stringify({ ...sandbox, clusters }));
  const tokens = path.join(testbed.folder, 'tokens.yaml');
  const entry = (name: keyof typeof TOKENS, grants: object[]) => ({ name, sha256: TOKENS[name].sha256, grants });
  writeFileSync(
    tokens,
    stringify({
      tokens: [
        entry('admin', everywhere('admin')),
        entry('operator', [{ role: 'operator', federation: FEDERATION }]),
        entry('viewer', everywhere('viewer')),
        entry('approver', everywhere('approver')),
        entry('stranger', [{ role: 'admin', federation: 'another' }]),
      ],
    }),
  );
  const metrics = `127.0.0.1:${await freePort()}`;
  workerMetrics = `http://${metrics}/metrics`;
  testbed.environment['SPIRE_FEDERATOR_METRICS_ADDRESS'] = metrics;
  receiver = await OtlpReceiver.start();
  testbed.environment['OTEL_EXPORTER_OTLP_ENDPOINT'] = receiver.url;
  await testbed.startWorker();
  url = await testbed.startApi({
    SPIRE_FEDERATOR_INVENTORY: withRegion,
    SPIRE_FEDERATOR_API_TOKENS: tokens,
    SPIRE_FEDERATOR_AUDIT_LOG: path.join(testbed.folder, 'audit.jsonl'),
  });
}, 4 * MINUTE);

afterAll(async () => {
  await testbed.stop();
  await receiver.stop();
}, MINUTE);

test('nobody gets in without a token, and each only as far as their role', async () => {
  const asks: [string, string, unknown?][] = [
    ['GET', '/v1/federations'],
    ['GET', `/v1/federations/${FEDERATION}/changes`],
    ['DELETE', `/v1/federations/${FEDERATION}`],
    ['POST', `/v1/federations/${FEDERATION}/approvals`, { findingId: 'x' }],
    ['POST', '/v1/clusters', { name: 'x', kubeconfig: 'x' }],
    ['GET', '/v1/audit'],
  ];
  const statuses = async (as: CallOptions['as']) =>
    Promise.all(asks.map(async ([method, at, body]) => (await call(method, at, { as: as ?? null, body })).status));
  expect(await statuses(null)).toEqual([401, 401, 401, 401, 401, 401]);
  expect(await statuses('viewer')).toEqual([200, 200, 403, 403, 403, 403]);
  expect((await statuses('approver')).slice(2)).toEqual([403, 404, 403, 403]);
  expect(await statuses('stranger')).toEqual([200, 403, 403, 403, 403, 403]);
  const { headers, body } = await call('GET', '/v1/whoami', { as: null });
  expect(headers.get('www-authenticate')).toMatch(/^Bearer/);
  expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(body).toMatchObject({ title: 'Unauthorized', status: 401, detail: expect.stringMatching(/Bearer/) as string });
  for (const authorization of ['Bearer x', 'Basic eDp5', `Bearer ${TOKENS.admin.token}x`]) {
    expect((await call('GET', '/v1/whoami', { as: null, headers: { authorization } })).status).toBe(401);
  }
});

test('what cannot be understood is refused with all its faults, and is nobody the worse for it', async () => {
  const faulty = await call('POST', '/v1/federations', {
    body: { federation: 'No Name', clusters: ['client-1'], topologie: 'mesh' },
  });
  expect(faulty).toMatchObject({ status: 400, body: { title: 'InvalidInput' } });
  const pointers = (faulty.body['errors'] as { pointer: string }[]).map(({ pointer }) => pointer);
  expect(pointers).toEqual(expect.arrayContaining(['#/body/federation', '#/body/clusters', '#/body']));
  const unknown = await call('POST', '/v1/federations', { body: { federation: 'x', clusters: ['client-1', 'mars'] } });
  expect(unknown).toMatchObject({ status: 422, body: { detail: expect.stringMatching(/no cluster mars/) as string } });
  const odd: [string, string, CallOptions, number][] = [
    ['POST', '/v1/federations', { body: '{"federation":' }, 400],
    ['POST', '/v1/federations', { body: '[]' }, 400],
    ['POST', '/v1/federations', { body: 'null' }, 400],
    ['POST', '/v1/federations', { body: '{"__proto__": {"federation": "x"}}' }, 400],
    ['POST', '/v1/federations', { body: 'x', headers: { 'content-type': 'text/xml' } }, 415],
    ['POST', '/v1/clusters', { body: { name: 'x', kubeconfig: 'x'.repeat(600_000) } }, 413],
    ['GET', '/v1/clusters?limit=0', {}, 400],
    ['GET', '/v1/clusters/..%2f..%2fetc', {}, 400],
    ['GET', '/v1/clusters/%00', {}, 400],
    ['GET', `/v1/federations/${FEDERATION}/changes/nonsense`, {}, 400],
    ['GET', '/v1/nothing', {}, 404],
    ['PATCH', '/v1/clusters', {}, 405],
    ['GET', `/v1/federations/${FEDERATION}/health`, {}, 404],
    ['DELETE', '/v1/clusters/mars', {}, 404],
    ['DELETE', '/v1/clusters/client-1', {}, 409],
    ['POST', '/v1/clusters', { body: { name: 'client-1', kubeconfig: kubeconfigOf('client-1') } }, 409],
  ];
  for (const [method, at, options, status] of odd) {
    const answer = await call(method, at, options);
    expect({ at, status: answer.status }).toEqual({ at, status });
    expect(answer.body).toMatchObject({ status, detail: expect.stringMatching(/\S/) as string });
  }
});

test('the API describes itself, and says when it is ready', async () => {
  const { body } = await call('GET', '/openapi.json', { as: null });
  expect(body).toMatchObject({ openapi: '3.1.0' });
  expect(Object.keys(body['paths'] as object)).toEqual(
    expect.arrayContaining(['/v1/clusters', '/v1/federations/{federation}/changes/{runId}/events']),
  );
  expect((await call('GET', '/readyz', { as: null })).status).toBe(200);
  expect((await call('GET', '/docs', { as: null })).status).toBe(200);
});

test(
  'a federation is planned and made from its file, once however often it is asked for, and followed to its end',
  async () => {
    const file = { federation: FEDERATION, clusters: PAIR, policies: POLICIES, probe: false, monitor: true };
    const { federation: _name, ...rest } = file;
    const plan = await call('POST', `/v1/federations/${FEDERATION}/plan`, { as: 'viewer', body: rest });
    expect(plan).toMatchObject({ status: 200, body: { planned: true, changed: true } });
    const planned = await call('POST', '/v1/federations', { as: 'viewer', body: { ...file, planOnly: true } });
    expect({ ...planned.body, steps: [] }).toEqual({ ...plan.body, steps: [] });
    const headers = { 'idempotency-key': 'make-it' };
    const [first, second] = await Promise.all(
      [1, 2].map(() => call('POST', '/v1/federations', { as: 'operator', body: file, headers })),
    );
    expect([first?.status, second?.body]).toEqual([202, first?.body]);
    const other = { ...file, clusters: [...PAIR].reverse() };
    const reused = await call('POST', '/v1/federations', { as: 'operator', body: other, headers });
    expect(reused).toMatchObject({ status: 422, body: { title: 'IdempotencyKeyReused' } });
    const conflict = await call('POST', '/v1/federations', { as: 'operator', body: file });
    expect(conflict).toMatchObject({ status: 409, body: { title: 'ChangeInProgress' } });
    const events = await followed(first?.body['location']);
    expect(events.length).toBeGreaterThan(2);
    expect(new Set(events.slice(0, -1))).toEqual(new Set(['progress']));
    expect(events.at(-1)).toBe('result');
    const change = await call('GET', String(first?.body['location']));
    expect(change.body).toMatchObject({
      type: 'applyFederation',
      status: 'COMPLETED',
      requestedBy: 'token/operator',
      result: { changed: true },
    });
  },
  LIMIT,
);

test(
  'a federation is read with an ETag, and not changed by whoever saw another one',
  async () => {
    const at = `/v1/federations/${FEDERATION}`;
    const { body, headers } = await call('GET', at);
    expect(body).toMatchObject({ name: FEDERATION, members: PAIR, monitored: true });
    const tag = headers.get('etag') ?? '';
    expect((await call('GET', at, { headers: { 'if-none-match': tag } })).status).toBe(304);
    const stale = await call('PUT', at, { body: { clusters: PAIR }, headers: { 'if-match': '"another"' } });
    expect({ status: stale.status, etag: stale.headers.get('etag') }).toEqual({ status: 412, etag: tag });
    const same = await call('PUT', at, {
      body: { clusters: PAIR, policies: POLICIES, probe: false },
      headers: { 'if-match': tag },
    });
    expect(same.status).toBe(202);
    expect((await followed(same.body['location'])).at(-1)).toBe('result');
    const verified = await call('POST', `${at}/verify`);
    expect(verified).toMatchObject({ status: 200, body: { verdict: 'ok' } });
    const checked = await call('POST', `${at}/monitor/check`, { as: 'viewer' });
    expect(checked.body).toMatchObject({ verdict: 'ok', counts: { fresh: 2 } });
    expect((await call('GET', `${at}/members`, { as: 'viewer' })).body).toEqual({
      items: PAIR.map((cluster) => expect.objectContaining({ cluster, server: 'up', endpoint: 'ok' }) as unknown),
      unknown: [],
      unknownCount: 0,
    });
    const { body: members } = await call('GET', `${at}/members`, { as: 'viewer' });
    const regions = (members['items'] as { cluster: string; region?: string }[]).map(({ cluster, region = '' }) => [
      cluster,
      region,
    ]);
    expect(Object.fromEntries(regions)).toEqual({ 'client-1': '', 'server-1': 'eu' });
    expect((await call('GET', `${at}/policies`, { as: 'viewer' })).body).toMatchObject({
      items: [
        {
          name: 'label-based-auto-federated',
          policy: { type: 'label', labels: { federated: 'true' } },
          members: PAIR.map((cluster) => ({ cluster })),
        },
      ],
      unknown: [],
    });
    expect((await call('GET', '/metrics', { as: null })).status).toBe(401);
    const { text } = await call('GET', '/metrics', { as: 'viewer' });
    expect(text).toContain(`spire_federator_edges{federation="${FEDERATION}",verdict="fresh"} 2`);
    const worker = await (await fetch(workerMetrics)).text();
    expect(worker).toMatch(
      /^spire_federator_kubernetes_request_seconds_count\{cluster="client-1",method="GET",outcome="ok"\} /m,
    );
  },
  LIMIT,
);

const chromium = chromiumPath();
if (chromium === undefined) console.warn('No Chromium (CHROMIUM_PATH): the cases of the console are skipped.');

(chromium === undefined ? test.skip : test)(
  'the console shows the federation by keyboard alone, keeps the token to itself, and offers what the role allows',
  async () => {
    const browser = await startBrowser(chromium ?? '');
    const asked: string[] = [];
    try {
      const open = async (as: keyof typeof TOKENS, at = `${url}/`) => {
        const page = await (await browser.newContext()).newPage();
        page.setDefaultTimeout(MINUTE);
        const bad = misdeeds(page, url);
        page.on('request', (request) => asked.push(new URL(request.url()).pathname));
        await page.goto(at);
        await page.getByLabel('API token').fill(TOKENS[as].token);
        await page.keyboard.press('Enter');
        await page.getByRole('button', { name: 'Check now' }).waitFor();
        return { page, bad };
      };
      const { page, bad } = await open('admin');
      expect(new URL(page.url()).pathname).toBe('/console');
      const edge = page.getByRole('button', { name: /^client-1 trusts server-1: fresh, proven fresh/ });
      await edge.waitFor();
      await page.getByRole('button', { name: /^server-1 trusts client-1: fresh/ }).waitFor();
      await edge.focus();
      await page.keyboard.press('Enter');
      const detail = page.getByRole('complementary', { name: 'Detail' });
      await detail.getByRole('heading', { name: 'client-1 → server-1' }).waitFor();
      expect(await detail.innerText()).toMatch(/Stored\s+[0-9a-f]{8}/);
      await detail.getByRole('button', { name: 'server-1', exact: true }).click();
      await detail.getByRole('heading', { name: 'server-1' }).waitFor();
      await detail.getByText('eu', { exact: true }).waitFor();
      await detail.getByRole('button', { name: 'client-1 → server-1' }).click();
      await detail.getByRole('heading', { name: 'client-1 → server-1' }).waitFor();
      await page.keyboard.press('Escape');
      await detail.getByRole('heading', { name: 'Edges' }).waitFor();
      expect(await page.evaluate('document.activeElement.dataset.key')).toBe('client-1←server-1');
      await page.keyboard.press('Enter');
      await detail.getByRole('heading', { name: 'client-1 → server-1' }).waitFor();
      await page.getByRole('button', { name: 'Matrix' }).click();
      const link = page.url();
      await page.keyboard.press('Escape');
      await detail.getByRole('heading', { name: 'Edges' }).waitFor();
      expect(new URL(page.url()).hash).toBe(`#federation=${FEDERATION}&view=matrix`);
      await page.getByRole('button', { name: 'Graph' }).click();
      const checked = page.waitForResponse((response) => response.url().endsWith('/monitor/check'));
      await page.getByRole('button', { name: 'Check now' }).click();
      expect((await checked).status()).toBe(200);
      await page.getByRole('button', { name: 'Pause …' }).click();
      await page.getByLabel('Reason').fill('<b>maintenance</b>\u2028');
      await page.keyboard.press('Enter');
      await page.getByText('paused: <b>maintenance</b>').waitFor();
      await page.getByRole('button', { name: 'Resume' }).click();
      await page.getByRole('button', { name: 'Pause …' }).waitFor();
      await page.getByRole('button', { name: 'applyFederation' }).first().click();
      await detail.getByText('token/admin').waitFor();
      expect(await page.content()).not.toContain(TOKENS.admin.token);
      expect(await page.evaluate('localStorage.length + document.cookie.length')).toBe(0);
      const viewer = await open('viewer', link);
      await viewer.page.getByRole('complementary').getByRole('heading', { name: 'client-1 → server-1' }).waitFor();
      expect(viewer.page.url()).toBe(link);
      expect(await viewer.page.getByRole('button', { name: 'Matrix' }).getAttribute('aria-pressed')).toBe('true');
      await viewer.page.evaluate("location.hash = 'federation=another'");
      await viewer.page.getByText('There is no federation another that you may see.').waitFor();
      expect(await viewer.page.getByRole('button', { name: /client-1 trusts server-1/ }).count()).toBe(0);
      expect(new URL(viewer.page.url()).hash).toBe('#federation=another');
      await viewer.page.evaluate(`location.hash = 'federation=${FEDERATION}&view=graph'`);
      await viewer.page.getByRole('button', { name: /^client-1 trusts server-1: fresh/ }).waitFor();
      const offered = await viewer.page.getByRole('button').allInnerTexts();
      expect(offered).toEqual(expect.arrayContaining(['Check now', 'Verify', 'Sign out']));
      expect(offered.filter((text) => /pause|resume|approve/i.test(text))).toEqual([]);
      expect([...bad, ...viewer.bad]).toEqual([]);
      const health = asked.filter((path) => /\/(health|health\/events|changes)$/.test(path));
      expect(health).toEqual(Array(3).fill(`/v1/federations/${FEDERATION}/health/events`));
    } finally {
      await browser.close();
    }
  },
  LIMIT,
);

test(
  'a cluster that cannot be worked on is not onboarded, and its credentials are not kept',
  async () => {
    const changed = (change: (fields: { cluster: object; user: object }) => unknown) => {
      const content = parse(kubeconfigOf('edge-1')) as {
        clusters: [{ cluster: object }];
        users: [{ user: object }];
      };
      change({ cluster: content.clusters[0].cluster, user: content.users[0].user });
      return stringify(content);
    };
    const at = '/v1/clusters/test';
    const tested = await call('POST', at, { body: { name: 'edge-1', kubeconfig: kubeconfigOf('edge-1') } });
    expect(tested).toMatchObject({
      status: 200,
      body: { cluster: 'edge-1', ok: true, problems: [], trustDomain: 'apps.edge-1.sandbox.test' },
    });
    const program = changed(({ user }) => Object.assign(user, { exec: { command: 'sh', args: ['-c', 'id'] } }));
    const refused = await call('POST', '/v1/clusters', { body: { name: 'edge-1', kubeconfig: program } });
    expect(refused).toMatchObject({
      status: 400,
      body: { detail: expect.stringMatching(/exec of its user would run a program/) as string },
    });
    const away = changed(({ cluster }) => Object.assign(cluster, { server: 'https://127.0.0.1:1' }));
    const unreachable = await call('POST', at, { body: { name: 'edge-1', kubeconfig: away } });
    expect(unreachable).toMatchObject({
      status: 200,
      body: { ok: false, problems: [{ message: expect.stringMatching(/^edge-1: .*cannot be reached/) as string }] },
    });
    expect(readdirSync(path.join(testbed.folder, 'clusters'))).toEqual([]);
    const answer = await call('POST', '/v1/clusters', { body: { name: 'edge-1', kubeconfig: away } });
    expect(answer.status).toBe(202);
    const failed = await settled('edge-1', 'failed');
    expect(failed['change']).toMatchObject({
      error: { message: expect.stringMatching(/cannot be reached[^]*The inventory is as it was/) as string },
    });
    expect(readdirSync(path.join(testbed.folder, 'clusters'))).toEqual([]);
  },
  LIMIT,
);

test(
  'one call onboards a cluster: it is tested, kept, and brought into the federation, which is watched over with it',
  async () => {
    const body = { name: 'edge-1', kubeconfig: kubeconfigOf('edge-1'), joinFederation: FEDERATION, probe: false };
    const accepted = await call('POST', '/v1/clusters', { body });
    expect(accepted.status).toBe(202);
    const onboarded = await settled('edge-1', 'ready');
    expect(onboarded).toMatchObject({
      source: 'store',
      onboardedBy: 'token/admin',
      change: { result: { joined: FEDERATION, trustDomain: 'apps.edge-1.sandbox.test' } },
    });
    await eventually(async () => {
      const { body: federation } = await call('GET', `/v1/federations/${FEDERATION}`);
      expect(federation).toMatchObject({ members: ['client-1', 'edge-1', 'server-1'] });
      const { body: health } = await call('POST', `/v1/federations/${FEDERATION}/monitor/check`);
      expect(health).toMatchObject({ verdict: 'ok', counts: { fresh: 6 } });
    }, MINUTE);
    const listed = await call('GET', '/v1/clusters?limit=2');
    expect(listed.body).toMatchObject({ items: [{ name: 'client-1' }, { name: 'edge-1' }], next: 'edge-1' });
    const rest = await call('GET', '/v1/clusters?limit=2&cursor=edge-1');
    expect(rest.body).toEqual({ items: [expect.objectContaining({ name: 'server-1', source: 'inventory' })] });
    expect((await call('POST', '/v1/clusters/edge-1/test')).body).toMatchObject({ ok: true, federation: FEDERATION });
    const cli = await testbed.federator('verify', '--federation', FEDERATION, '--clusters', 'edge-1,client-1,server-1');
    expect({ code: cli.code, stderr: cli.stderr }).toEqual({ code: 0, stderr: '' });
  },
  LIMIT,
);

test(
  'a cluster gets other credentials if they work and lead to the same cluster',
  async () => {
    const at = '/v1/clusters/edge-1/credentials';
    const runOf = (state: Record<string, unknown>) => (state['change'] as { runId: string }).runId;
    const rotated = await call('PUT', at, { body: { kubeconfig: kubeconfigOf('edge-1') } });
    await eventually(async () => {
      const state = await settled('edge-1', 'ready');
      expect([runOf(state), (state['change'] as object & { error?: unknown }).error]).toEqual([
        rotated.body['runId'],
        undefined,
      ]);
    }, CHANGE_MS);
    const wrong = await call('PUT', at, { body: { kubeconfig: kubeconfigOf('server-1') } });
    expect(wrong.status).toBe(202);
    await eventually(async () => {
      const { body } = await call('GET', '/v1/clusters/edge-1');
      expect(body).toMatchObject({
        state: 'ready',
        change: {
          runId: wrong.body['runId'],
          error: {
            type: 'Conflict',
            message: expect.stringMatching(/lead to trust domain .*server-1.*another cluster/) as string,
          },
        },
      });
    }, CHANGE_MS);
    expect((await call('POST', '/v1/clusters/edge-1/test')).body).toMatchObject({
      ok: true,
      trustDomain: 'apps.edge-1.sandbox.test',
    });
  },
  LIMIT,
);

test(
  'a member is offboarded only if it may leave its federation, and is then as it was before',
  async () => {
    const refused = await call('DELETE', '/v1/clusters/edge-1');
    expect(refused.status).toBe(202);
    await eventually(async () => {
      const { body } = await call('GET', '/v1/clusters/edge-1');
      expect(body).toMatchObject({ state: 'ready', change: { error: { type: 'Conflict' } } });
    }, MINUTE);
    const left = await call('DELETE', '/v1/clusters/edge-1?leave=true');
    expect(left).toMatchObject({
      status: 202,
      body: { location: `/v1/clusters/edge-1/changes/${String(left.body['runId'])}` },
    });
    await eventually(async () => expect((await call('GET', '/v1/clusters/edge-1')).status).toBe(404), CHANGE_MS);
    await eventually(async () => {
      const { body } = await call('GET', String(left.body['location']));
      expect(body).toMatchObject({ type: 'offboardCluster', status: 'COMPLETED', result: { left: FEDERATION } });
    }, MINUTE);
    await eventually(
      async () => expect(await snapshotCluster(testbed.directory, 'edge-1')).toEqual(before),
      3 * MINUTE,
    );
    const torn = await call('DELETE', `/v1/federations/${FEDERATION}`, { as: 'operator' });
    expect((await followed(torn.body['location'])).at(-1)).toBe('result');
  },
  LIMIT,
);

test(
  "clusters are kept in Secrets as Argo CD keeps them, by the engine's own account, and Argo CD's are used too",
  async () => {
    const admin = adminApi(testbed.directory, 'client-1');
    for (const document of parseAllDocuments(
      readFileSync(path.join(__dirname, '../../deploy/kubernetes/rbac-store.yaml'), 'utf8'),
    ))
      await admin.apply(document.toJS() as Resource);
    const tls = { caData: 'Q0E=' };
    const argo = (name: string, config: object): Resource => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        name: `cluster-${name.toLowerCase().replaceAll(/[^a-z0-9]/g, '-')}`,
        namespace: 'spire-federator',
        labels: { 'argocd.argoproj.io/secret-type': 'cluster' },
      },
      stringData: { name, server: 'https://10.0.0.1:6443', config: JSON.stringify(config) },
    });
    await admin.apply(argo('Prod EU', { bearerToken: 'argo-token', tlsClientConfig: tls }));
    await admin.apply(argo('eks', { awsAuthConfig: { clusterName: 'eks' }, tlsClientConfig: tls }));
    process.env['KUBECONFIG'] = path.join(testbed.directory, 'client-1', 'engine.kubeconfig');
    const store = SecretStore.open('spire-federator');
    const kubeconfig = submittedKubeconfig(kubeconfigOf('edge-1'));
    const entry = clusterEntrySchema.parse({ name: 'edge-1' });
    // A Role that was just made is not yet known to every part of the API server.
    await eventually(() => store.propose({ entry, kubeconfig, by: 'token/me' }), MINUTE);
    const submitted: Resource = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'edge-1', namespace: 'spire-federator' },
      stringData: { kubeconfig: kubeconfigOf('edge-1') },
    };
    await admin.apply(submitted);
    const ref = { namespace: 'spire-federator', name: 'edge-1', key: 'kubeconfig' };
    expect(await store.secret(ref)).toBe(kubeconfigOf('edge-1'));
    await expect(store.secret({ ...ref, key: 'config' })).rejects.toThrow(/edge-1 .* has no key config/);
    await expect(store.secret({ ...ref, name: 'mars' })).rejects.toThrow(/spire-federator\/mars .* is not there/);
    await expect(store.secret({ ...ref, namespace: 'kube-system' })).rejects.toThrow(/may not be read by the engine/);
    const names = async () => (await readInventory(undefined, store)).clusters.map(({ name }) => name).sort();
    expect(await names()).toEqual(['eks', 'prod-eu']);
    await store.promote('edge-1');
    expect(await names()).toEqual(['edge-1', 'eks', 'prod-eu']);
    expect(parse(await store.kubeconfig('edge-1', false))).toEqual(parse(kubeconfig));
    expect(await store.kubeconfig('prod-eu', false)).toContain('argo-token');
    await expect(store.kubeconfig('eks', false)).rejects.toThrow(/it has awsAuthConfig; give it the token/);
    await expect(store.remove('prod-eu', false)).rejects.toThrow(
      /cluster-prod-eu, which was not made by spire-federator/,
    );
    const secrets = await admin.request<{ items: Resource[] }>(
      '/api/v1/namespaces/spire-federator/secrets?labelSelector=argocd.argoproj.io/secret-type=cluster',
    );
    expect(secrets.items.map(({ metadata }) => metadata.name).sort()).toEqual([
      'cluster-eks',
      'cluster-prod-eu',
      'spire-federator-cluster-edge-1',
    ]);
    await store.remove('edge-1', false);
    expect(await names()).toEqual(['eks', 'prod-eu']);
    await expect(SecretStore.open('kube-system').list()).rejects.toThrow(
      /Secrets of namespace kube-system, cannot be read \(HTTP 403\).*deploy\/kubernetes\/rbac-store\.yaml/,
    );
    admin.close();
  },
  LIMIT,
);

test(
  'a trace leads from the onboarding of a cluster to the commands in its SPIRE server',
  async () => {
    const path = await eventually(() => {
      const isCommand = ({ name, attributes }: ReceivedSpan) =>
        name === 'create pods/exec' && attributes['spire_federator.cluster'] === 'edge-1';
      const paths = receiver.spans.filter(isCommand).map((span) => receiver.pathTo(span));
      const onboarding = paths.find(([root]) => root?.name === 'POST /v1/clusters');
      expect(onboarding).toBeDefined();
      return onboarding ?? [];
    }, MINUTE);
    const names = path.map(({ name }) => name);
    expect(names.slice(0, 3)).toEqual([
      'POST /v1/clusters',
      'StartWorkflow:onboardCluster',
      'RunWorkflow:onboardCluster',
    ]);
    expect(names.at(-2)).toMatch(/^RunActivity:/);
    expect(path.at(-1)?.attributes).toMatchObject({
      'k8s.container.name': 'spire-server',
      'kubernetes.name': 'spire-server-0',
      'process.exit.code': '0',
      'spire_federator.command': expect.stringMatching(/spire-server \S+/) as string,
    });
  },
  LIMIT,
);

test(
  'what a change set out to do, and how it ended, is on record for good',
  async () => {
    const ended = await eventually(async () => {
      const lines = (await call('GET', '/v1/audit/export')).text.trim().split('\n');
      const records = lines.map((line) => JSON.parse(line) as AuditRecord);
      const began = records.filter(({ runId, ended: of }) => runId !== undefined && of === undefined);
      const over = records.filter((record) => record.ended !== undefined);
      expect(over.map((record) => record.ended).sort()).toEqual(began.map(({ sequence }) => sequence).sort());
      return over;
    }, MINUTE);
    const onboarded = ended.filter(({ action, cluster }) => action === 'onboardCluster' && cluster === 'edge-1');
    const joined = onboarded.find(({ outcome }) => outcome?.status === 'COMPLETED');
    expect(joined).toMatchObject({ who: 'token/admin', status: 202, federation: FEDERATION });
    for (const { outcome } of onboarded.filter((each) => each !== joined))
      expect(outcome).toMatchObject({ status: 'FAILED', error: expect.stringMatching(/edge-1/) as string });
    const restart = joined?.outcome?.plan?.find(({ action, cluster }) => action === 'restart' && cluster === 'edge-1');
    expect(restart).toMatchObject({ title: expect.stringMatching(/^Restart StatefulSet /) as string, state: 'done' });
    const offboarded = ended.find(
      ({ action, outcome }) => action === 'offboardCluster' && outcome?.error === undefined,
    );
    expect(offboarded?.outcome?.plan).toContainEqual(
      expect.objectContaining({ cluster: 'edge-1', action: 'delete', state: 'done' }),
    );
    const { body } = await call('GET', '/v1/audit?limit=1000');
    const items = body['items'] as AuditRecord[];
    expect(items.find(({ runId }) => runId === joined?.runId)?.outcome).toEqual(joined?.outcome);
  },
  LIMIT,
);

test(
  'who asked for what is on record, and no credential is anywhere',
  async () => {
    const { body } = await call('GET', '/v1/audit?limit=1000');
    const items = body['items'] as { who: string; action: string; status: number; detail?: string }[];
    const seen = new Set(items.map(({ who, action, status }) => `${who} ${action} ${status}`));
    for (const record of [
      'token/operator apply 202',
      'token/operator apply 409',
      'token/admin onboardCluster 202',
      'token/admin onboardCluster 400',
      'token/admin testConnection 200',
      'token/admin rotateCredentials 202',
      'token/admin offboardCluster 202',
      'token/operator teardown 202',
    ]) {
      expect(seen).toContain(record);
    }
    const exported = (await call('GET', '/v1/audit/export')).text.trim().split('\n');
    expect(exported.filter((line) => /"status":/.test(line) && !/"ended":/.test(line))).toHaveLength(items.length);
    const secrets = ['client-1', 'server-1', 'edge-1'].flatMap((cluster) => {
      const { users } = parse(kubeconfigOf(cluster)) as { users: { user: Record<string, string> }[] };
      return users.flatMap(({ user }) => Object.values(user));
    });
    secrets.push(...Object.values(TOKENS).map(({ token }) => token));
    expect(secrets.length).toBeGreaterThan(6);
    const logs = readdirSync(testbed.folder).filter((file) => /\.(log|jsonl)$/.test(file));
    expect(logs).toEqual(expect.arrayContaining(['api.log', 'worker.log', 'audit.jsonl']));
    const workflows = JSON.parse(await testbed.temporal('workflow', 'list', '-o', 'json')) as {
      execution: { workflowId: string; runId: string };
    }[];
    const histories = await Promise.all(
      workflows.map(({ execution: { workflowId, runId } }) =>
        testbed.temporal('workflow', 'show', '-w', workflowId, '-r', runId, '-o', 'json'),
      ),
    );
    expect(histories.length).toBeGreaterThan(8);
    const places = [
      ...logs.map((file) => readFileSync(path.join(testbed.folder, file), 'utf8')),
      ...histories,
      ...answers,
      Buffer.concat(receiver.bodies).toString('latin1'),
    ];
    for (const secret of secrets) {
      const forms = [secret, Buffer.from(secret).toString('base64').slice(4, -4)];
      expect(places.filter((text) => forms.some((form) => text.includes(form)))).toEqual([]);
    }
  },
  LIMIT,
);
