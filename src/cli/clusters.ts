import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import type { Cluster } from '../contract/inventory.js';
import type { ConnectionReport, FoundFederations } from '../contract/onboarding.js';
import { errorColours, pc } from './colours.js';
import { addExamples } from './examples.js';
import { EXIT_CODES } from './exitCodes.js';
import { looking } from './looking.js';
import { addInventoryOption, inventoryClusters, inventoryEntries, requireKnown } from './options.js';
import { addOutputOption, printResult, type OutputOptions } from './output.js';
import { formatTable } from './table.js';

/** Clusters that are tested at once. */
const AT_ONCE = 5;

interface ClustersOptions extends OutputOptions {
  inventory?: string;
}

/** A cluster of the inventory, and what it is a member of by its own words. */
export interface ListedCluster {
  cluster: string;
  /** Of the workers that work on it; absent: of those of no region. */
  region?: string;
  federation?: string;
  /** Why it could not be asked. */
  unknown?: string;
}

/** `clusters …`: the clusters of the inventory. */
export function clustersCommand(): Command {
  const list = new Command('list')
    .description(
      'the clusters of the inventory, their regions, and the federation each is a member of; exit code 0 or 2',
    )
    .action((options: ClustersOptions) => looking(() => listClusters(options)));
  const test = new Command('test')
    .description(
      'whether clusters can be reached and worked on: everything that stands in the way of a change, trust domain, version of SPIRE; changes nothing; exit code 0, 1 or 2',
    )
    .argument('[clusters...]', 'which ones (default: all of the inventory)')
    .action((clusters: string[], options: ClustersOptions) => looking(() => testClusters(clusters, options)));
  return new Command('clusters')
    .description('the clusters of the inventory')
    .addCommand(addExamples(addOutputOption(addInventoryOption(list)), 'npm run federator -- clusters list'))
    .addCommand(
      addExamples(addOutputOption(addInventoryOption(test)), 'npm run federator -- clusters test client-1 server-1'),
    );
}

async function listClusters({ inventory, ...options }: ClustersOptions): Promise<void> {
  const clusters = await inventoryEntries(inventory);
  const listed = await withClient(async (client) => listedClusters(clusters, await client.federations()));
  printResult(listed, options, () => {
    console.log(clusterTable(listed));
    for (const { unknown } of listed) if (unknown !== undefined) console.error(errorColours.yellow(unknown));
  });
  if (listed.some(({ unknown }) => unknown !== undefined)) process.exitCode = EXIT_CODES.unknown;
}

/** Their regions are a column of it where any has one. */
export function clusterTable(listed: readonly ListedCluster[]): string {
  const hasRegions = listed.some(({ region }) => region !== undefined);
  const rows = listed.map(({ cluster, region = '', federation, unknown }) => [
    cluster,
    ...(hasRegions ? [region] : []),
    federation ?? (unknown === undefined ? '' : pc.yellow('unknown')),
  ]);
  return formatTable(['cluster', ...(hasRegions ? ['region'] : []), 'member of'], rows);
}

/** What is known of each of these clusters, in their order. */
export function listedClusters(
  clusters: readonly Pick<Cluster, 'name' | 'region'>[],
  { federations, unknown }: FoundFederations,
): ListedCluster[] {
  return clusters.map(({ name: cluster, region }) => {
    const federation = Object.keys(federations).find((name) => federations[name]?.includes(cluster));
    const problems = unknown.filter((each) => each.cluster === cluster).map(({ message }) => message);
    return {
      cluster,
      ...(region === undefined ? {} : { region }),
      ...(federation === undefined ? {} : { federation }),
      ...(problems.length === 0 ? {} : { unknown: problems.join(' ') }),
    };
  });
}

async function testClusters(asked: readonly string[], { inventory, ...options }: ClustersOptions): Promise<void> {
  const known = await inventoryClusters(inventory);
  requireKnown(asked, known);
  const names = asked.length === 0 ? known : [...new Set(asked)];
  const reports = await withClient((client) => testEach(client, names));
  printResult(reports, options, () => {
    const rows = reports.map(({ cluster, ok, trustDomain = '', spireVersion = '', federation = '' }) => [
      cluster,
      trustDomain,
      spireVersion,
      federation,
      ok ? pc.green('ok') : pc.red('failed'),
    ]);
    console.log(formatTable(['cluster', 'trust domain', 'SPIRE', 'member of', 'test'], rows));
    for (const { cluster, problems } of reports)
      for (const { message } of problems) console.log(`\n${pc.bold(cluster)}: ${message}`);
  });
  if (reports.some(({ ok }) => !ok)) process.exitCode = EXIT_CODES.failed;
}

async function testEach(client: FederatorClient, names: readonly string[]): Promise<ConnectionReport[]> {
  const reports = new Map<string, ConnectionReport>();
  const queue = names.values();
  const worker = async (): Promise<void> => {
    for (const name of queue) reports.set(name, await client.testCluster(name));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return names.flatMap((name) => reports.get(name) ?? []);
}

async function withClient<T>(use: (client: FederatorClient) => Promise<T>): Promise<T> {
  const client = await FederatorClient.connect();
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}
