import type { ServerResponse } from 'node:http';
import { factsActivities } from '../../src/activities/facts.js';
import type { Clusters } from '../../src/activities/clusters.js';
import { FEDERATION_LABEL, MANAGED_BY, MANAGED_BY_LABEL } from '../../src/contract/names.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

let api: FakeKubernetesApi;

beforeAll(async () => {
  api = await FakeKubernetesApi.start();
});
afterAll(async () => api.stop());

test('a federation may have the name of what every object of JavaScript has', async () => {
  const labels = { [MANAGED_BY_LABEL]: MANAGED_BY, [FEDERATION_LABEL]: 'constructor' };
  const items = [{ metadata: { name: 'b', labels }, spec: { trustDomain: 'b.test' } }];
  api.server.on('request', (_request, response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ items }));
  });
  const connection = await api.connect();
  const clusters = { get: async () => ({ connection }) } as unknown as Clusters;
  const activities = factsActivities(clusters);
  expect(await activities.findMembers({ federation: 'payments', clusters: ['x', 'y'] })).toEqual({
    members: [],
    others: ['x', 'y'],
    federations: { constructor: ['x', 'y'] },
    unknown: [],
  });
});
