import { json } from 'node:stream/consumers';
import { Nudge } from '../../src/activities/nudge.js';
import { NUDGE } from '../../src/contract/names.js';
import type { KubernetesObject } from '../../src/contract/kubernetes.js';
import { owned } from '../../src/federation/ownership.js';
import { CFTD } from '../../src/federation/relationship.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

const FEDERATION = 'demo';
const NAME = 'edge.test';
const RELATIONSHIP: KubernetesObject = { ...CFTD, metadata: { name: NAME } };

let api: FakeKubernetesApi;
let live: KubernetesObject | undefined;
let patches: unknown[];
beforeEach(async () => {
  patches = [];
  live = owned(RELATIONSHIP, FEDERATION);
  api = await FakeKubernetesApi.start();
  api.server.on('request', (request, response) => {
    void (async () => {
      if (request.method === 'PATCH') patches.push(await json(request));
      response.writeHead(live === undefined ? 404 : 200, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(live ?? { kind: 'Status', status: 'Failure', code: 404 }));
    })();
  });
});
afterEach(async () => api.stop());

const annotated = (value: unknown) => ({ ...CFTD, metadata: { name: NAME, annotations: { [NUDGE]: value } } });

test('a relationship that is not acted on is touched, and left as it was', async () => {
  const nudge = new Nudge(await api.connect(), FEDERATION, CFTD, 0);
  await nudge.whileMissing([NAME]);
  expect(patches).toEqual([annotated(expect.any(String)), annotated(null)]);
});

test('not at once, and not at every look', async () => {
  const connection = await api.connect();
  await new Nudge(connection, FEDERATION, CFTD).whileMissing([NAME]);
  expect(patches).toEqual([]);
  const nudge = new Nudge(connection, FEDERATION, CFTD, 0);
  await nudge.whileMissing([NAME]);
  await nudge.whileMissing([NAME]);
  expect(patches).toHaveLength(2);
});

test('of several, the first of its own is touched', async () => {
  const connection = await api.connect();
  live = undefined;
  api.server.prependListener('request', (request) => {
    live = request.url?.endsWith('/others.test') === true ? RELATIONSHIP : owned(RELATIONSHIP, FEDERATION);
  });
  await new Nudge(connection, FEDERATION, CFTD, 0).whileMissing(['others.test', NAME]);
  expect(patches).toEqual([annotated(expect.any(String)), annotated(null)]);
});

test("somebody else's is not touched, nor is one that is gone", async () => {
  const connection = await api.connect();
  live = RELATIONSHIP;
  await new Nudge(connection, FEDERATION, CFTD, 0).whileMissing([NAME]);
  live = undefined;
  await new Nudge(connection, FEDERATION, CFTD, 0).whileMissing([NAME]);
  expect(patches).toEqual([]);
});

test('nor is one that was acted on after all', async () => {
  const nudge = new Nudge(await api.connect(), FEDERATION, CFTD, 0);
  await nudge.whileMissing([NAME], ({ metadata }) => metadata.name === NAME);
  expect(patches).toEqual([]);
});
