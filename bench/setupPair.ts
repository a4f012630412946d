import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from '../sandbox/projectRoot.js';
import { Engine } from './engine.js';
import type { FederatorClient } from '../src/client.js';
import { setupPairInputSchema, teardownInputSchema, type ChangeResult } from '../src/contract/change.js';
import { median, memoryMb, sum, timed } from './measure.js';
import type { Figure } from './report.js';

const run = promisify(execFile);
const CLUSTERS = ['client-1', 'server-1'];
const FEDERATION = 'bench';
const RUNS = 5;

/** setupPair without and with the probe, its split by step, and its ratio to a sequential script, all from one run. */
export async function benchSetupPair(directory: string): Promise<Figure[]> {
  const engine = await Engine.start(directory, path.join('dist', 'src', 'worker.js'));
  try {
    return await measure(engine.client, directory, engine.worker.pid ?? 0);
  } finally {
    await engine.stop();
  }
}

async function measure(client: FederatorClient, directory: string, workerPid: number): Promise<Figure[]> {
  const setups: { seconds: number; result: ChangeResult }[] = [];
  const scripts: number[] = [];
  const hasKubectl = await run('kubectl', ['version', '--client']).then(
    () => true,
    () => false,
  );
  if (!hasKubectl) console.error('kubectl is not installed: no comparison with the sequential script.');
  // In turns, so that whatever else the machine does falls on both alike.
  for (let round = 0; round < RUNS; round++) {
    setups.push(await timed(() => setup(client, false)));
    await tearDown(client);
    if (hasKubectl) scripts.push(await scriptSeconds(directory));
  }
  const withProbe = await timed(() => setup(client, true));
  await tearDown(client);
  const seconds = median(setups.map((each) => each.seconds));
  const typical = setups.find((each) => each.seconds === seconds)?.result;
  const script = median(scripts);
  return [
    { name: 'setupPair without the probe', value: seconds, unit: 's' },
    ...split(typical).map(({ name, value }): Figure => ({ name: `  of it: ${name}`, value, unit: 's' })),
    ...(hasKubectl
      ? [
          { name: 'sequential script', value: script, unit: 's' },
          { name: 'ratio to the script', value: seconds / script, unit: '×', target: 1 },
        ]
      : []),
    {
      name: 'overhead of our own',
      value:
        seconds -
        sum(
          split(typical)
            .filter(({ ours }) => !ours)
            .map(({ value }) => value),
        ),
      unit: 's',
      target: 1,
    },
    { name: 'setupPair with the probe', value: withProbe.seconds, unit: 's', target: 15 },
    { name: 'memory of the worker', value: memoryMb(workerPid), unit: 'MB', target: 250 },
  ];
}

/** Where the time goes: what clusters take for themselves, and what planning, checking and gating add. */
function split(result: ChangeResult | undefined): { name: string; value: number; ours: boolean }[] {
  const longest = (prefix: string) =>
    Math.max(
      0,
      ...(result?.steps ?? []).filter(({ id }) => id.startsWith(prefix)).map(({ elapsedMs = 0 }) => elapsedMs),
    ) / 1000;
  return [
    { name: 'expose the endpoints', value: Math.max(longest('applyService'), longest('applyRoute')), ours: false },
    { name: 'edit server.conf', value: longest('editServerConf'), ours: false },
    { name: 'restart', value: longest('rolloutServer'), ours: false },
    { name: 'endpoint up, bundle compared', value: longest('readBundle'), ours: false },
    { name: 'relationship', value: longest('applyRelationships'), ours: false },
    { name: 'propagation of the bundle', value: longest('awaitBundles'), ours: false },
    { name: 'verify', value: longest('verify'), ours: true },
  ];
}

async function setup(client: FederatorClient, probe: boolean): Promise<ChangeResult> {
  const input = setupPairInputSchema.parse({ federation: FEDERATION, clusters: CLUSTERS, probe });
  return client.result(await client.startChange('setupPair', input));
}

async function tearDown(client: FederatorClient): Promise<void> {
  const input = teardownInputSchema.parse({ federation: FEDERATION, clusters: CLUSTERS });
  await client.result(await client.startChange('teardown', input));
}

/** Time of the script's run; what it made is taken away again afterwards. */
async function scriptSeconds(directory: string): Promise<number> {
  const kubeconfigs = CLUSTERS.map((name) => path.join(directory, name, 'kubeconfig'));
  const before = await Promise.all(kubeconfigs.map(readConf));
  const script = path.join(projectRoot(), 'bench', 'sequential-setup.sh');
  const { seconds } = await timed(() => run(script, kubeconfigs, { timeout: 120_000 }));
  await Promise.all(kubeconfigs.map((kubeconfig, index) => undoScript(kubeconfig, before[index] ?? '')));
  return seconds;
}

async function readConf(kubeconfig: string): Promise<string> {
  const { stdout } = await kubectl(
    kubeconfig,
    'get',
    'configmap',
    'spire-server',
    '-o',
    'jsonpath={.data.server\\.conf}',
  );
  return stdout;
}

async function undoScript(kubeconfig: string, conf: string): Promise<void> {
  const { stdout } = await kubectl(kubeconfig, 'get', 'clusterfederatedtrustdomains', '-o', 'name');
  const names = stdout.split('\n').filter((name) => name !== '');
  await kubectl(kubeconfig, 'delete', ...names, 'service/spire-server-federation', 'route/spire-server-federation');
  await kubectl(
    kubeconfig,
    'patch',
    'configmap',
    'spire-server',
    '--type=merge',
    '-p',
    JSON.stringify({ data: { 'server.conf': conf } }),
  );
  const port = { name: 'spire-server', ports: [{ containerPort: 8443, $patch: 'delete' }] };
  const template = { spec: { template: { spec: { containers: [port] } } } };
  await kubectl(kubeconfig, 'patch', 'statefulset', 'spire-server', '-p', JSON.stringify(template));
  await kubectl(kubeconfig, 'rollout', 'status', 'statefulset', 'spire-server', '--timeout=60s');
  for (const name of names) {
    const id = `spiffe://${name.replace(/^.*\//, '')}`;
    await kubectl(
      kubeconfig,
      'exec',
      'spire-server-0',
      '-c',
      'spire-server',
      '--',
      './spire-server',
      'bundle',
      'delete',
      '-id',
      id,
      '-mode',
      'dissociate',
    );
  }
}

function kubectl(kubeconfig: string, ...args: string[]) {
  return run('kubectl', ['--kubeconfig', kubeconfig, '-n', 'zero-trust-workload-identity-manager', ...args], {
    timeout: 120_000,
  });
}
