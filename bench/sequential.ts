import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { SPIRE_NAMESPACE } from '../sandbox/layout.js';
import { projectRoot } from '../sandbox/projectRoot.js';
import { timed } from './measure.js';

const run = promisify(execFile);
const TIMEOUT_MS = 300_000;
const SERVER = 'spire-server';
const ENDPOINT = 'spire-server-federation';
const ENDPOINT_PORT = 8443;

/** What a script may have changed on one cluster. */
interface Before {
  kubeconfig: string;
  conf: string;
  relationships: string[];
  exposed: boolean;
  portDeclared: boolean;
}

/** Programs that the scripts need and that are not there. */
export async function missingPrograms(): Promise<string[]> {
  const programs = ['bash', 'kubectl', 'jq'];
  const found = await Promise.all(
    programs.map((program) =>
      run('which', [program]).then(
        () => true,
        () => false,
      ),
    ),
  );
  return programs.filter((_program, index) => found[index] !== true);
}

/**
 * Runs one of the sequential scripts on clusters of a sandbox; what it did is undone afterwards, outside the measured time.
 * @param script in bench/
 * @returns how long it took, in seconds
 */
export async function scriptSeconds(directory: string, script: string, clusters: readonly string[]): Promise<number> {
  const kubeconfigs = clusters.map((cluster) => path.join(directory, cluster, 'kubeconfig'));
  const before = await Promise.all(kubeconfigs.map(readBefore));
  try {
    const { seconds } = await timed(() =>
      run(path.join(projectRoot(), 'bench', script), kubeconfigs, { timeout: TIMEOUT_MS }),
    );
    return seconds;
  } finally {
    await Promise.all(before.map(undo));
  }
}

async function readBefore(kubeconfig: string): Promise<Before> {
  const [conf, relationships, endpoint, ports] = await Promise.all([
    kubectl(kubeconfig, 'get', 'configmap', SERVER, '-o', 'jsonpath={.data.server\\.conf}'),
    relationshipsOf(kubeconfig),
    kubectl(kubeconfig, 'get', 'service', ENDPOINT, '-o', 'name', '--ignore-not-found'),
    kubectl(kubeconfig, 'get', 'statefulset', SERVER, '-o', 'jsonpath={..ports[*].containerPort}'),
  ]);
  const portDeclared = ports.split(' ').includes(String(ENDPOINT_PORT));
  return { kubeconfig, conf, relationships, exposed: endpoint !== '', portDeclared };
}

/** In the order that SPIRE needs: relationships, configuration, stored bundles. */
async function undo({ kubeconfig, conf, relationships, exposed, portDeclared }: Before): Promise<void> {
  const made = (await relationshipsOf(kubeconfig)).filter((name) => !relationships.includes(name));
  const trustDomains = made.map((name) => name.replace(/^.*\//, ''));
  if (made.length > 0) await kubectl(kubeconfig, 'delete', ...made);
  if (!exposed) await kubectl(kubeconfig, 'delete', '--ignore-not-found', `service/${ENDPOINT}`, `route/${ENDPOINT}`);
  while (trustDomains.length > 0) {
    const left = await spire(kubeconfig, 'federation', 'list');
    if (!trustDomains.some((trustDomain) => left.includes(trustDomain))) break;
  }
  const data = JSON.stringify({ data: { 'server.conf': conf } });
  await kubectl(kubeconfig, 'patch', 'configmap', SERVER, '--type=merge', '-p', data);
  if (!portDeclared) {
    const port = { name: SERVER, ports: [{ containerPort: ENDPOINT_PORT, protocol: 'TCP', $patch: 'delete' }] };
    const template = { spec: { template: { spec: { containers: [port] } } } };
    await kubectl(kubeconfig, 'patch', 'statefulset', SERVER, '-p', JSON.stringify(template));
  }
  // Whatever else was changed: what runs afterwards has read the configuration from before.
  await kubectl(kubeconfig, 'rollout', 'restart', 'statefulset', SERVER);
  await kubectl(kubeconfig, 'rollout', 'status', 'statefulset', SERVER, '--timeout=60s');
  const stored = await spire(kubeconfig, 'bundle', 'list');
  for (const trustDomain of trustDomains.filter((each) => stored.includes(each))) {
    await spire(kubeconfig, 'bundle', 'delete', '-id', `spiffe://${trustDomain}`, '-mode', 'dissociate');
  }
}

async function relationshipsOf(kubeconfig: string): Promise<string[]> {
  const names = await kubectl(kubeconfig, 'get', 'clusterfederatedtrustdomains', '-o', 'name');
  return names.split('\n').filter((name) => name !== '');
}

async function spire(kubeconfig: string, ...args: string[]): Promise<string> {
  const exec = () => kubectl(kubeconfig, 'exec', `${SERVER}-0`, '-c', SERVER, '--', './spire-server', ...args);
  try {
    return await exec();
  } catch (error) {
    // kubectl now and then hears a stream of its web socket before it has opened it.
    if (!/closed all streams/.test(String(error))) throw error;
    return exec();
  }
}

async function kubectl(kubeconfig: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('kubectl', ['--kubeconfig', kubeconfig, '-n', SPIRE_NAMESPACE, ...args], {
    timeout: TIMEOUT_MS,
  });
  return stdout.trim();
}
