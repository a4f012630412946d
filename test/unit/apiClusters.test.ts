import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { z } from 'zod';
import { Clusters } from '../../src/activities/clusters.js';
import { onboardingActivities } from '../../src/activities/onboarding.js';
import { toProblem } from '../../src/api/problem.js';
import type { FederatorClient } from '../../src/client.js';
import { FederatorError } from '../../src/contract/errors.js';
import { clusterEntrySchema } from '../../src/contract/inventory.js';
import { ApiServer } from '../support/apiServer.js';

let server: ApiServer | undefined;
afterEach(async () => {
  await server?.stop();
  server = undefined;
});

test('a federation that no name can be is the fault of who names it, not of the engine', async () => {
  server = await ApiServer.start();
  expect(await server.ask('DELETE', '/v1/clusters/edge-1?federation=A_B')).toMatchObject({
    status: 400,
    body: { title: 'InvalidInput', errors: [{ pointer: '#/querystring/federation' }] },
  });
});

test('what only the schema of the engine refuses is told with where it is', () => {
  const { error } = z.object({ a: z.object({ 'b/c': z.number() }) }).safeParse({ a: { 'b/c': 'x' } });
  expect(toProblem(error, 'request')).toMatchObject({
    status: 400,
    title: 'InvalidInput',
    errors: [{ pointer: '#/body/a/b~1c' }],
  });
});

const entry = clusterEntrySchema.parse({ name: 'edge-1' });

function kubeconfig(token: string): string {
  return stringify({
    'current-context': 'x',
    clusters: [{ name: 'x', cluster: { server: 'https://10.0.0.1:6443' } }],
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    users: [{ name: 'x', user: { token } }],
  });
}

/** A Temporal that is slow to say what runs, so that requests which come together all see that nothing does. */
function slowTemporal(): Partial<FederatorClient> {
  let isRunning = false;
  const link = 'http://127.0.0.1/run';
  const start = async () => {
    if (isRunning) throw new FederatorError('ChangeInProgress', 'It is being onboarded or offboarded already.');
    isRunning = true;
    return { federation: '', workflowId: 'cluster/edge-1/change', runId: '1', link };
  };
  return {
    clusterChange: async () => {
      const change = { type: 'onboardCluster', status: 'RUNNING', runId: '1', link, startedAt: '' };
      const running = isRunning ? change : undefined;
      await delay(100);
      return running;
    },
    onboardCluster: start,
    offboardCluster: start,
  };
}

describe('of requests for one cluster that come together', () => {
  beforeEach(async () => {
    server = await ApiServer.start({ client: slowTemporal() });
  });
  const onboard = (token: string) =>
    server?.ask('POST', '/v1/clusters', { body: { name: 'edge-1', kubeconfig: kubeconfig(token) } });
  const rotate = (token: string) =>
    server?.ask('PUT', '/v1/clusters/edge-1/credentials', { body: { kubeconfig: kubeconfig(token) } });
  const keep = async () => {
    await server?.store.propose({ entry, kubeconfig: kubeconfig('kept'), by: 'token/admin' });
    await server?.store.promote('edge-1');
  };

  test.each([
    ['onboard it', onboard, () => Promise.resolve()],
    ['give it other credentials', rotate, keep],
  ])('and %s, one is accepted, and its credentials are those that are tried', async (_what, ask, prepare) => {
    await prepare();
    const tokens = ['first', 'second', 'third'];
    const answers = await Promise.all(tokens.map(ask));
    expect(answers.map((answer) => answer?.status).sort()).toEqual([202, 409, 409]);
    const accepted = tokens[answers.findIndex((answer) => answer?.status === 202)];
    expect(await server?.store.kubeconfig('edge-1', true)).toContain(accepted);
  });

  test('one offboards it, and the credentials of another one that is refused are not kept', async () => {
    await keep();
    const [offboarded, rotated] = await Promise.all([server?.ask('DELETE', '/v1/clusters/edge-1'), rotate('too late')]);
    // Either may come first; it takes a moment to check a kubeconfig, and so it is mostly the offboarding.
    expect([offboarded?.status, rotated?.status].sort()).toEqual([202, 409]);
    const candidates = (await server?.store.list())?.filter(({ candidate }) => candidate);
    expect(candidates).toHaveLength(rotated?.status === 202 ? 1 : 0);
  });
});

test('with a cluster, credentials are forgotten that were submitted for it', async () => {
  server = await ApiServer.start();
  const { store } = server;
  await store.propose({ entry, kubeconfig: kubeconfig('kept'), by: 'token/admin' });
  await store.promote('edge-1');
  await store.propose({ entry, kubeconfig: kubeconfig('left behind'), by: 'token/admin' });
  await onboardingActivities(new Clusters(undefined, store)).forgetCluster({ cluster: 'edge-1' });
  expect(await store.list()).toEqual([]);
});
