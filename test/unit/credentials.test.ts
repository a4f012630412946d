import { FederatorError } from '../../src/contract/errors.js';
import { obtained } from '../../src/kubernetes/credentials.js';
import { execInPod } from '../../src/kubernetes/exec.js';
import { readObject } from '../../src/kubernetes/objects.js';
import { FakeKubernetesApi } from '../support/fakeKubernetesApi.js';

const OBJECT = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'federation', namespace: 'spire' } };
const SERVER = { namespace: 'spire', pod: 'spire-server-0', container: 'spire-server' };

let api: FakeKubernetesApi;
beforeAll(async () => {
  api = await FakeKubernetesApi.start();
  api.server.on('request', (request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...OBJECT, saw: request.headers.authorization }));
  });
});
afterAll(async () => api.stop());

/** A cluster whose kubeconfig names a credential plugin, which is this shell script. */
async function withPlugin(name: string, script: string) {
  const command = api.file(`${name}-plugin`, `#!/bin/sh\n${script}\n`, 0o700);
  const plugin = { apiVersion: 'client.authentication.k8s.io/v1', command, args: ['--client-secret', 'hush-argument'] };
  return api.connect({ name, user: { exec: plugin } });
}

async function failure(work: () => Promise<unknown>): Promise<FederatorError> {
  const error: unknown = await work().catch((thrown: unknown) => thrown);
  if (!(error instanceof FederatorError)) throw new Error(`no FederatorError: ${String(error)}`);
  return error;
}

test('a credential plugin is asked for the token', async () => {
  const credential = {
    apiVersion: 'client.authentication.k8s.io/v1',
    kind: 'ExecCredential',
    status: { token: 'fresh' },
  };
  const cluster = await withPlugin('works', `echo '${JSON.stringify(credential)}'`);
  await expect(readObject(cluster, OBJECT)).resolves.toMatchObject({ saw: 'Bearer fresh' });
});

test.each([
  { name: 'fails', script: 'echo "refresh token hush-stderr has expired" >&2; exit 1' },
  { name: 'garbles', script: 'echo "hush-stdout is no JSON"' },
])('one that $name is named with what to do, and nothing that it said is', async ({ name, script }) => {
  const cluster = await withPlugin(name, script);
  for (const work of [() => readObject(cluster, OBJECT), () => execInPod(cluster, SERVER, ['true'])]) {
    const error = await failure(work);
    expect(error).toMatchObject({ type: 'ClusterUnreachable', retryable: true });
    expect(error.message).toMatch(
      new RegExp(
        `^${name}: credential plugin .*/${name}-plugin of kubeconfig .*/${name}: failed\\. .*kubectl --kubeconfig`,
      ),
    );
    expect(JSON.stringify([error.message, error.cause ?? null])).not.toContain('hush');
  }
});

test('one that is not installed will not be there for trying again', async () => {
  const plugin = { apiVersion: 'client.authentication.k8s.io/v1', command: '/nowhere/plugin' };
  const cluster = await api.connect({ name: 'absent', user: { exec: plugin } });
  const error = await failure(() => readObject(cluster, OBJECT));
  expect(error).toMatchObject({ type: 'InvalidKubeconfig', retryable: false });
  expect(error.message).toMatch(
    /plugin \/nowhere\/plugin .* cannot be run \(ENOENT\)\. Install it where the worker runs/,
  );
});

test('one that never ends, as it waits for a person, is waited for in vain only so long', async () => {
  const { cluster, config } = await withPlugin('waits', 'exit 0');
  const error = await failure(() => obtained(cluster, config, new Promise(() => undefined), 20));
  expect(error.type).toBe('ClusterUnreachable');
  expect(error.message).toMatch(/waits-plugin .*: it did not end within 0\.02 s\./);
});

test('a certificate file that is not there is the fault of the kubeconfig', async () => {
  const cluster = await api.connect({ name: 'files', user: { 'client-certificate': '/nowhere/tls.crt', token: 't' } });
  const error = await failure(() => readObject(cluster, OBJECT));
  expect(error).toMatchObject({ type: 'InvalidKubeconfig' });
  expect(error.message).toMatch(
    /^files: the credentials of kubeconfig .* cannot be read \(ENOENT\)\. Correct the paths in it/,
  );
});
