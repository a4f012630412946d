import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { FederatorError } from '../contract/errors.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { MAX_PART_BYTES, sysdumpOptionsSchema, type DumpedPart, type DumpPart } from '../contract/sysdump.js';
import { Archive } from './archive.js';
import { addExamples } from './examples.js';
import { addInventoryOption, checked, inventoryEntries, requireKnown } from './options.js';
import { addOutputOption, printResult, type OutputOptions } from './output.js';
import { ownVersion } from '../version.js';

const MIB = 1024 * 1024;
/** Clusters that are asked at once. */
const AT_ONCE = 5;
/** Of the archive's size, what is left for everything but the clusters. */
const CLUSTERS_SHARE = 0.75;

interface SysdumpOptions extends OutputOptions {
  federation: string;
  clusters?: string;
  since: number;
  maxSize: number;
  file?: string;
  inventory?: string;
}

/** What is collected into one archive. */
interface Report {
  archive: Archive;
  missing: string[];
  files: number;
}

/** `sysdump`: everything that a bug report needs in one archive, without secrets. Changes nothing. */
export function sysdumpCommand(): Command {
  const command = new Command('sysdump')
    .description('collect everything that a bug report needs in one archive, without secrets; changes nothing')
    .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
    .option('--clusters <names>', 'only these clusters (default: the members; where there are none, all)')
    .option('--since <minutes>', 'how far back logs are read', Number, 60)
    .option('--max-size <MiB>', 'most that the archive may have', Number, 20)
    .option('--file <path>', 'where to write it (default: spire-federator-<federation>-<time>.tar.gz here)')
    .action(sysdump);
  return addExamples(
    addOutputOption(addInventoryOption(command)),
    'npm run federator -- sysdump --federation prod --since 180',
  );
}

async function sysdump(options: SysdumpOptions): Promise<void> {
  const { federation, sinceSeconds, maxBytes } = checked(sysdumpOptionsSchema, {
    federation: options.federation,
    sinceSeconds: options.since * 60,
    maxBytes: options.maxSize * MIB,
  });
  const entries = await inventoryEntries(options.inventory);
  const listed = entries.map(({ name }) => name);
  const asked = options.clusters?.split(',').filter((name) => name !== '');
  requireKnown(asked ?? [], listed);
  const name = `spire-federator-${federation}-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  const file = path.resolve(options.file ?? `${name}.tar.gz`);
  if (existsSync(file)) throw new FederatorError('InvalidInput', `${file} exists. Name another with --file.`);
  if (!existsSync(path.dirname(file)))
    throw new FederatorError('InvalidInput', `There is no folder ${path.dirname(file)} for ${path.basename(file)}.`);
  const client = await FederatorClient.connect();
  try {
    const collect = (part: DumpPart, limitBytes: number) => client.dump({ federation, part, sinceSeconds, limitBytes });
    // Before the file is made: without a worker there is nothing to write.
    const diagnosis = await collect({ kind: 'diagnosis' }, MAX_PART_BYTES);
    const report: Report = { archive: new Archive(file, name, maxBytes), missing: [], files: 0 };
    add(report, 'versions.json', json({ federator: ownVersion(), node: process.version, platform: process.platform }));
    add(report, 'inventory.json', json(entries.map(({ kubeconfig: _kubeconfig, ...cluster }) => cluster)));
    addPart(report, '', diagnosis);
    addPart(report, 'engine/', await collect({ kind: 'engine' }, MAX_PART_BYTES));
    const clusters = asked ?? membersOf(diagnosis) ?? listed;
    const limitBytes = Math.min(MAX_PART_BYTES, Math.floor((maxBytes * CLUSTERS_SHARE) / clusters.length));
    await eachOf(clusters, async (cluster) => {
      addPart(report, `clusters/${cluster}/`, await collect({ kind: 'cluster', cluster }, limitBytes));
    });
    report.archive.addLast('README.txt', readme(federation, clusters, report.missing));
    await report.archive.end();
    const { files, missing } = report;
    const bytes = statSync(file).size;
    printResult({ file, files, clusters, bytes, missing }, options, () => {
      console.log(`${file}: ${files} files of ${clusters.join(', ')}, ${mebibytes(bytes)} MiB`);
      for (const each of missing) console.error(`not in it: ${each}`);
    });
  } finally {
    await client.close();
  }
}

function addPart(report: Report, folder: string, part: DumpedPart & { stays?: string }): void {
  for (const { what, why } of part.missing) report.missing.push(`${folder}${what}: ${why}`);
  if (part.stays !== undefined)
    report.missing.push(`(its run stays in Temporal until its retention ends: ${part.stays})`);
  const packed =
    part.packed === undefined
      ? {}
      : (JSON.parse(gunzipSync(Buffer.from(part.packed, 'base64')).toString()) as Record<string, string>);
  for (const [name, text] of Object.entries({ ...part.texts, ...packed })) add(report, `${folder}${name}`, text);
}

function add(report: Report, name: string, text: string): void {
  if (report.archive.add(name, text)) report.files++;
  else report.missing.push(`${name}: the archive has reached its size (--max-size)`);
}

/** The clusters that the diagnosis looked at; undefined when it found none, or could not be made. */
function membersOf({ texts }: DumpedPart): string[] | undefined {
  const text = texts?.['diagnosis.json'];
  if (text === undefined) return undefined;
  const { clusters } = JSON.parse(text) as { clusters: string[] };
  return clusters.length === 0 ? undefined : clusters;
}

async function eachOf(clusters: readonly string[], work: (cluster: string) => Promise<void>): Promise<void> {
  const queue = clusters.values();
  const worker = async (): Promise<void> => {
    for (const cluster of queue) await work(cluster);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

function readme(federation: string, clusters: readonly string[], missing: readonly string[]): string {
  return `Bug report of federation ${federation}, ${new Date().toISOString()}: ${clusters.join(', ')}

diagnosis.json         what is wrong now
versions.json, inventory.json, engine/versions.json
engine/monitor.json    what the monitor knows; engine/workflows.json, engine/histories/: what ran, and how
clusters/<name>/       objects, server.conf, SPIRE server's bundles, relationships and entries, logs

Credentials, tokens, private keys, values of environment variables and of SPIRE's plugins are redacted, bundles are told
by fingerprints. Names of clusters, namespaces, pods, hosts and SPIFFE IDs are in it: look before you publish it.

${missing.length === 0 ? 'Nothing is missing.' : `Not in it:\n${missing.map((each) => `- ${each}`).join('\n')}`}
`;
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

function mebibytes(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}
