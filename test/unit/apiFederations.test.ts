import { OidcTokens } from '../../src/access/oidc.js';
import type { Grant } from '../../src/access/principal.js';
import type { FederatorClient } from '../../src/client.js';
import { FederatorError } from '../../src/contract/errors.js';
import type { FederationHealth } from '../../src/contract/health.js';
import type { Check } from '../../src/contract/verify.js';
import { ApiServer } from '../support/apiServer.js';
import { Issuer } from '../support/issuer.js';

const SECRETS = /10\.0\.0\.1|kubeconfigs\/|hidden/;
const one = (role: Grant['role'], federation = 'a'): Grant => ({ role, federation });
const unreachable = (cluster: string) => ({
  cluster,
  type: 'ClusterUnreachable' as const,
  message: `${cluster}: https://10.0.0.1:6443 does not answer (kubeconfigs/${cluster}).`,
});
const unknown = [unreachable('a-2'), unreachable('hidden-1')];

const SEEN = ['a-1', 'a-2', 'hidden-1'];
/** What a look comes to that could not ask two of them. */
const CHECKS: Check[] = [
  { name: 'cluster', scope: 'a-1', verdict: 'ok', evidence: 'fine' },
  { name: 'cluster', scope: 'a-2', verdict: 'unknown', evidence: 'away' },
  { name: 'cluster', scope: 'hidden-1', verdict: 'unknown', evidence: unreachable('hidden-1').message },
  { name: 'stored-bundle', scope: 'a-1←hidden-1', verdict: 'unknown', evidence: unreachable('hidden-1').message },
];

let server: ApiServer;
let client: Partial<FederatorClient>;
let issuer: Issuer;
let started: { name: string; clusters: unknown }[];

beforeAll(async () => {
  issuer = await Issuer.start('spire-federator');
});
afterAll(async () => issuer.stop());

beforeEach(async () => {
  started = [];
  client = {
    federations: async () => ({ federations: { a: ['a-1'], hidden: ['hidden-2'] }, unknown }),
    policies: async () => ({ policies: [], unknown }),
    listChanges: async () => [],
    health: async (federation) => {
      if (federation !== 'a') throw new FederatorError('NotFound', 'Nobody watches.');
      return { clusters: [{ cluster: 'a-1' }, { cluster: 'a-2' }], verdict: 'ok' } as unknown as FederationHealth;
    },
    verify: async ({ federation }) => ({ federation, clusters: SEEN, verdict: 'failed', checks: CHECKS }),
    diagnose: async ({ federation }) => ({
      ...{ federation, clusters: SEEN, verdict: 'failed', checks: CHECKS },
      findings: [
        { check: 'cluster', scope: 'hidden-1', evidence: unreachable('hidden-1').message, remedy: 'Mend it.' },
      ],
      members: SEEN.map((cluster) => ({ cluster })),
    }),
    startChange: async (name, { federation, ...input }) => {
      started.push({ name, clusters: (input as { clusters?: unknown }).clusters });
      return { federation, workflowId: '', runId: '00000000-0000-4000-8000-000000000000', link: '' };
    },
  };
  server = await ApiServer.start({
    client,
    clusters: ['a-1', 'a-2', 'hidden-1', 'hidden-2'],
    grants: { viewer: [one('viewer')], operator: [one('operator')], auditor: [one('viewer', '*')] },
    context: { oidc: new OidcTokens({ issuer: issuer.url, audience: issuer.audience, rolesClaim: 'roles' }) },
  });
});
afterEach(async () => server.stop());

const OF_A = ['/v1/federations', '/v1/federations/a/members', '/v1/federations/a/policies'];

test('who has no role is nobody here, whoever vouches for them', async () => {
  const by = await issuer.sign(issuer.claims({ roles: ['of-something-else:admin'] }));
  for (const at of [...OF_A, '/v1/whoami', '/v1/clusters'])
    expect(await server.ask('GET', at, { by })).toMatchObject({
      status: 403,
      body: { detail: 'oidc/alice has no role here: their token names none that is known.' },
    });
});

test.each(OF_A)(
  'of clusters that cannot be asked, %s tells who has a role in one federation no more than of its own',
  async (at) => {
    const { status, body } = await server.ask('GET', at, { by: 'viewer' });
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        unknown: [{ cluster: 'a-2', message: expect.stringContaining('could not be asked') as string }],
        unknownCount: 2,
      },
    });
    expect(JSON.stringify(body)).not.toMatch(SECRETS);
  },
);

test.each(OF_A)('%s tells who has a role in all federations which clusters cannot be asked, and why', async (at) => {
  const told = unknown.map(({ cluster, message }) => ({ cluster, message }));
  expect(await server.ask('GET', at, { by: 'auditor' })).toMatchObject({
    status: 200,
    body: { unknown: told, unknownCount: 2 },
  });
});

test.each(['verify', 'diagnose'])(
  'a %s names clusters that may be no members only to who has a role in all federations',
  async (look) => {
    const at = `/v1/federations/a/${look}`;
    const { status, body } = await server.ask('POST', at, { by: 'viewer' });
    const scopes = (of: unknown) => (of as { checks: Check[] }).checks.map(({ scope }) => scope);
    expect({ status, body }).toMatchObject({ status: 200, body: { clusters: ['a-1', 'a-2'], verdict: 'failed' } });
    expect(scopes(body)).toEqual(['a-1', 'a-2', 'another cluster']);
    expect(JSON.stringify(body)).not.toMatch(SECRETS);
    const told = await server.ask('POST', at, { by: 'auditor' });
    expect(told).toMatchObject({ status: 200, body: { clusters: SEEN } });
    expect(scopes(told.body)).toEqual(CHECKS.map(({ scope }) => scope));
  },
);

test.each<[string, string, object]>([
  ['viewer', '/v1/federations/a/plan', { clusters: ['a-1', 'mars'] }],
  ['operator', '/v1/federations/a/changes', { type: 'setupPair', clusters: ['a-1', 'mars'] }],
  ['operator', '/v1/federations/a/changes', { type: 'addCluster', cluster: 'mars' }],
])(
  'a cluster that there is not tells a %s of one federation at %s nothing of those that there are',
  async (by, at, body) => {
    const answer = await server.ask('POST', at, { by, body });
    expect(answer).toMatchObject({ status: 422, body: { detail: 'There is no cluster mars in the inventory.' } });
    const detail = expect.stringContaining('It has: a-1, a-2, hidden-1, hidden-2.') as string;
    expect(await server.ask('POST', at, { body })).toMatchObject({ status: 422, body: { detail } });
    expect(started).toEqual([]);
  },
);

describe('what fails that tells of other federations', () => {
  const failure = new FederatorError('NotFound', 'There is none. There is: hidden (hidden-2).', {
    withoutOthers: 'There is none.',
  });
  const fail = () => Promise.reject(failure);
  const at = '/v1/federations/a/changes/00000000-0000-4000-8000-000000000000';

  beforeEach(() => {
    const change = { federation: 'a', workflowId: 'w', runId: 'r', link: '', type: 'addCluster', status: 'FAILED' };
    const described = { ...change, startedAt: '2030-01-01T00:00:00Z' };
    Object.assign(client, {
      verify: fail,
      diagnose: fail,
      policies: fail,
      describeChange: async () => described,
      progress: async () => undefined,
      result: fail,
    });
  });

  test.each([
    ['POST', '/v1/federations/a/verify'],
    ['POST', '/v1/federations/a/diagnose'],
    ['GET', '/v1/federations/a/policies'],
  ] as const)('%s %s: in full only for who has a role in all', async (method, path) => {
    const viewer = await server.ask(method, path, { by: 'viewer' });
    expect(viewer).toMatchObject({ status: 404, body: { title: 'NotFound', detail: 'There is none.' } });
    const auditor = await server.ask(method, path, { by: 'auditor' });
    expect(auditor).toMatchObject({ status: 404, body: { title: 'NotFound', detail: failure.message } });
  });

  test('a change, too, and those who follow it', async () => {
    const asSeenBy = async (by: string) => ((await server.ask('GET', at, { by })).body as { error: object }).error;
    expect(await asSeenBy('viewer')).toEqual({ type: 'NotFound', message: 'There is none.' });
    expect(await asSeenBy('auditor')).toEqual({ type: 'NotFound', message: failure.message });
  });
});

test.each<object>([{ type: 'addCluster' }, { type: 'adopt' }])(
  'who has a role in one federation does not have %j look through the whole inventory',
  async (body) => {
    const changes = '/v1/federations/a/changes';
    expect(await server.ask('POST', changes, { by: 'operator', body })).toMatchObject({
      status: 403,
      body: { detail: expect.stringContaining('Say which clusters are meant') as string },
    });
    expect(started).toEqual([]);
    expect((await server.ask('POST', changes, { body })).status).toBe(202);
  },
);

test('a setup that names no clusters is one of the members, for who has a role in that federation', async () => {
  client.federations = async () => ({ federations: { a: ['a-1', 'a-2'] }, unknown: [] });
  const at = '/v1/federations/a/changes';
  expect((await server.ask('POST', at, { by: 'operator', body: { type: 'setupMesh' } })).status).toBe(202);
  expect(started).toEqual([{ name: 'setupMesh', clusters: ['a-1', 'a-2'] }]);
  const none = await server.ask('POST', '/v1/federations/b/changes', { by: 'operator', body: { type: 'setupMesh' } });
  expect(none.status).toBe(403);
});

test.each<['DELETE' | 'PUT' | 'POST', string, object | undefined]>([
  ['DELETE', '/v1/federations/a', undefined],
  ['PUT', '/v1/federations/a', { clusters: ['a-1', 'a-2'] }],
  ['POST', '/v1/federations', { federation: 'a', clusters: ['a-1', 'a-2'] }],
])('%s %s is done only to a federation that is as it was seen', async (method, at, body) => {
  const { headers } = await server.ask('GET', '/v1/federations/a');
  const etag = String(headers.etag);
  const ask = (ifMatch: string) =>
    server.ask(method, at, { headers: { 'if-match': ifMatch }, ...(body === undefined ? {} : { body }) });
  expect(await ask('"another"')).toMatchObject({ status: 412, headers: { etag }, body: { title: 'Changed' } });
  expect(started).toEqual([]);
  expect((await ask(etag)).status).toBe(202);
  expect(started).toHaveLength(1);
});
