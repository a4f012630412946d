import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pc from 'picocolors';
import { stringify } from 'yaml';
import { runChange } from '../src/cli/change.js';
import { printHealth } from '../src/cli/health.js';
import { printVerification } from '../src/cli/report.js';
import { FederatorClient } from '../src/client.js';
import {
  addClusterInputSchema,
  applyOptionsSchema,
  federationFileSchema,
  probeInputSchema,
  setupPairInputSchema,
} from '../src/contract/change.js';
import { loadInventory } from '../src/config.js';
import { FederatorError } from '../src/contract/errors.js';
import { edgeName } from '../src/contract/names.js';
import { connectCluster } from '../src/kubernetes/connect.js';
import { SpireServer } from '../src/spire/server.js';
import { addFault, downAndSay, heal, rotateCa, up } from './client.js';
import { onboard, type ApiAccess } from './demoOnboarding.js';
import { DemoProcesses } from './demoProcesses.js';
import { sandboxPaths, trustDomain } from './layout.js';
import { SandboxError } from './sandboxError.js';

const DIRECTORY = '.sandbox';
const FEDERATION = 'demo';
const PAIR = ['client-1', 'server-1'];
const NEWCOMER = 'edge-1';
const CLUSTERS = [...PAIR, NEWCOMER];
/** Comes in by the API, with its kubeconfig. */
const ONBOARDED = 'edge-2';
const ALL = [...CLUSTERS, ONBOARDED];
/** The smallest that SPIRE takes: it polls every 15 s, and the demo need not wait for 75. */
const REFRESH_HINT_SECONDS = 60;

/** The main job from nothing: a sandbox, Temporal, a worker, and SPIRE servers that workflows federate. */
async function demo(): Promise<void> {
  const paths = sandboxPaths(DIRECTORY);
  title('1. A sandbox: four real Kubernetes clusters with real SPIRE');
  await up({ directory: DIRECTORY, clusters: ALL.length, onProgress: (message) => console.log(`  ${message}`) });

  title('2. Temporal, a worker, and the API with its console');
  const processes = new DemoProcesses(DIRECTORY);
  const { port, uiPort } = await processes.ensureTemporal();
  const environment = {
    TEMPORAL_ADDRESS: `127.0.0.1:${port}`,
    TEMPORAL_UI_URL: `http://127.0.0.1:${uiPort}`,
    SPIRE_FEDERATOR_INVENTORY: paths.inventory,
  };
  Object.assign(process.env, environment);
  const api = await processes.startEngine(ONBOARDED);
  console.log(`  Web UI        ${environment.TEMPORAL_UI_URL}\n  ${consoleOf(api)}`);

  title(`3. setupPair: federate ${PAIR.join(' and ')}`);
  const pair = { federation: FEDERATION, clusters: PAIR, refreshHintSeconds: REFRESH_HINT_SECONDS };
  await runChange('setupPair', setupPairInputSchema.parse(pair), { wait: true });

  title('4. verify: look again, and change nothing');
  const members = await verify();

  title(`5. addCluster: bring ${NEWCOMER} in, one restart after another`);
  const added = addClusterInputSchema.parse({ federation: FEDERATION, cluster: NEWCOMER, probe: false });
  await runChange('addCluster', added, { wait: true });

  title('6. apply: a file that lets every workload federate');
  const file = path.join(DIRECTORY, 'federation.yaml');
  const wanted = federationFileSchema.parse({
    federation: FEDERATION,
    // Those of an earlier run stay.
    clusters: [...new Set([...CLUSTERS, ...members])],
    refreshHintSeconds: REFRESH_HINT_SECONDS,
    policies: [{ type: 'universal' }],
  });
  writeFileSync(file, stringify(wanted));
  const how = applyOptionsSchema.parse({ federation: FEDERATION, probe: false });
  await runChange('applyFederation', { ...how, ...wanted }, { wait: true });

  title('7. Who trusts whom, and who speaks mTLS with whom');
  await verify();
  const probed = await runChange('probe', probeInputSchema.parse({ federation: FEDERATION }), { wait: true });
  if (probed?.probes.some(({ ok }) => !ok) === true) process.exitCode = 1;

  title(`8. Onboarding by the API: ${ONBOARDED}, which no inventory lists, comes in by one call`);
  await onboard(api, DIRECTORY, ONBOARDED, FEDERATION);
  writeFileSync(file, stringify({ ...wanted, clusters: ALL }));

  title(`9. What SPIRE never heals: the CA of ${PAIR[1]} changes while ${PAIR[0]} is cut off`);
  await loseAndHeal();
  lookAround(environment, file, api);
}

/** A peer's CA changes while a link is down: SPIRE alone stays broken for good, the monitor finds and heals it. */
async function loseAndHeal(): Promise<void> {
  const [cut = '', peer = ''] = PAIR;
  const inventory = await loadInventory(sandboxPaths(DIRECTORY).inventory);
  const cluster = inventory.clusters.find(({ name }) => name === cut);
  if (cluster === undefined) throw new SandboxError(`The inventory has no ${cut}.`);
  const connection = await connectCluster(cluster);
  const client = await FederatorClient.connect();
  try {
    await client.pauseMonitor(FEDERATION, { reason: 'to see what SPIRE makes of it alone' });
    const link = { kind: 'cut', from: cut, to: peer } as const;
    await addFault({ directory: DIRECTORY, fault: link });
    console.log(`  cut the link from ${cut} to ${peer}, and paused the monitor`);
    await rotateCa({ directory: DIRECTORY, cluster: peer, revoke: true });
    await heal({ directory: DIRECTORY, fault: link });
    console.log(`  rotated the CA of ${peer}, revoked the old one, and mended the link`);
    console.log(`  SPIRE alone: ${await whatSpireSays(new SpireServer(connection), trustDomain(peer))}`);
    const resumedAt = Date.now();
    const known = (await client.health(FEDERATION)).repairs.length;
    await client.resumeMonitor(FEDERATION);
    const deadline = Date.now() + 3 * 60_000;
    for (;;) {
      const { verdict, repairs } = await client.health(FEDERATION);
      const repair = repairs
        .slice(known)
        .find(({ outcome, scope }) => outcome === 'healed' && scope === edgeName(cut, peer));
      if (verdict === 'ok' && repair !== undefined) {
        const seconds = (ms: number) => (ms / 1000).toFixed(1);
        console.log(
          `  the monitor: found ${repair.findingId} and healed it by ${repair.action} in ${seconds(repair.durationMs)} s; all is fresh ${seconds(Date.now() - resumedAt)} s after it was resumed`,
        );
        break;
      }
      if (Date.now() > deadline)
        throw new SandboxError(`The monitor did not heal it: npm run federator -- status --federation ${FEDERATION}`);
      await delay(500);
    }
    printHealth(await client.health(FEDERATION));
  } finally {
    connection.close();
    await client.close();
  }
}

/** Why SPIRE server cannot fetch a peer's bundle, in its own words. */
async function whatSpireSays(spire: SpireServer, peer: string): Promise<string> {
  try {
    await spire.refresh(peer);
    return 'it fetched the bundle';
  } catch (error) {
    return /certificate signed by unknown authority|[^:]*$/.exec((error as Error).message)?.[0].trim() ?? '';
  }
}

/** @returns the members */
async function verify(): Promise<string[]> {
  const client = await FederatorClient.connect();
  try {
    const result = await client.verify({ federation: FEDERATION, clusters: [] });
    printVerification(result);
    if (result.verdict !== 'ok') process.exitCode = 1;
    return result.clusters;
  } finally {
    await client.close();
  }
}

function lookAround(environment: Record<string, string>, file: string, api: ApiAccess): void {
  const server = '-n zero-trust-workload-identity-manager exec spire-server-0 -c spire-server -- ./spire-server';
  title('Look around');
  console.log(
    [
      `  Web UI        ${environment['TEMPORAL_UI_URL']}`,
      `  ${consoleOf(api)}`,
      ...ALL.map((name) => `  ${name.padEnd(12)}  export KUBECONFIG=${path.join(DIRECTORY, name, 'kubeconfig')}`),
      `  bundles       kubectl ${server} bundle list`,
      `  relationships kubectl get clusterfederatedtrustdomains`,
      '',
      ...settings(environment),
      `  edit, apply   ${file}, then: npm run federator -- plan -f ${file}`,
      `  its health    npm run federator -- status --federation ${FEDERATION} --watch`,
      `  check again   npm run federator -- verify --federation ${FEDERATION} --all`,
      `  undo it       npm run federator -- teardown --federation ${FEDERATION}`,
      '  end all       npm run demo -- down',
    ].join('\n'),
  );
}

/** What has to be set for the commands to find the demo: nothing, when it got the usual ports. */
function settings({ TEMPORAL_ADDRESS, TEMPORAL_UI_URL }: Record<string, string>): string[] {
  if (TEMPORAL_ADDRESS === '127.0.0.1:7233') return [];
  return [`  first         export TEMPORAL_ADDRESS=${TEMPORAL_ADDRESS} TEMPORAL_UI_URL=${TEMPORAL_UI_URL}`];
}

function consoleOf({ url, token }: ApiAccess): string {
  return `Console       ${url}/console (token ${token})`;
}

function title(text: string): void {
  console.log(`\n${pc.bold(text)}`);
}

const [, , command] = process.argv;
const run = command === 'down' ? downAndSay({ directory: DIRECTORY }) : demo();
run.catch((error: unknown) => {
  console.error(error instanceof SandboxError || error instanceof FederatorError ? error.message : error);
  process.exitCode = 1;
});
