import { Command, CommanderError, InvalidArgumentError } from 'commander';
import pc from 'picocolors';
import { formatTable } from '../src/cli/table.js';
import { addFault, downAndSay, heal, plannedSpireVersions, rotateCa, status, up } from './client.js';
import type { Fault } from './faults.js';
import { SandboxError } from './sandboxError.js';
import { parseSpireVersions, SPIRE_BUILDS, SPIRE_VERSIONS } from './spireVersions.js';
import type { SandboxStatus } from './supervisor.js';
import { buildTool } from './tools/buildTool.js';

interface Options {
  directory: string;
}

function main(): Promise<Command> {
  const program = new Command('sandbox')
    .description('Real Kubernetes clusters with real SPIRE on this machine, without containers.')
    .option('--directory <folder>', 'state folder', '.sandbox')
    .exitOverride();
  const options = () => program.opts<Options>();

  program
    .command('up')
    .description('start the sandbox, or bring it to more clusters; what runs is left alone')
    .option('--clusters <count>', 'number of clusters', count, 2)
    .option(
      '--spire-version <version>',
      `of new clusters: ${SPIRE_VERSIONS.join(' or ')}, for one as client-1=${SPIRE_VERSIONS.at(-1)} (more than once)`,
      (text: string, earlier: string[]) => [...earlier, text],
      [],
    )
    .option(
      '--operator <clusters>',
      "have SPIRE there configured by a stand-in for OpenShift's ZTWIM operator",
      names,
      [],
    )
    .action(async (asked: { clusters: number; spireVersion: string[]; operator: string[] }) => {
      const { clusters, spireVersion, operator: operators } = asked;
      const wanted = { ...options(), clusters, spireVersions: parseSpireVersions(spireVersion), operators };
      const versions = new Set(Object.values(plannedSpireVersions(wanted)));
      for (const version of versions) await buildTool(SPIRE_BUILDS[version].module);
      const startedAt = Date.now();
      const seconds = () => ((Date.now() - startedAt) / 1000).toFixed(1).padStart(5);
      const result = await up({
        ...wanted,
        onProgress: (message) => console.log(`${pc.dim(`${seconds()} s`)}  ${message}`),
      });
      console.log(
        `Sandbox ready in ${seconds().trim()} s: ${result.clusters.map(({ cluster }) => cluster).join(', ')}`,
      );
      console.log(
        `Inventory: ${result.inventory}\nkubectl:   kubectl --kubeconfig ${options().directory}/${result.clusters[0]?.cluster}/kubeconfig get pods -A`,
      );
    });

  program
    .command('down')
    .description('end every process and remove every file')
    .action(() => downAndSay(options()));

  program
    .command('status')
    .description('what runs and what does not; exit code 1 when something does not')
    .option('--json', 'as JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const result = await status(options());
      if (json === true) console.log(JSON.stringify(result, undefined, 2));
      else print(result);
      if (result.clusters.some(({ healthy }) => !healthy)) process.exitCode = 1;
    });

  const fault = program.command('fault').description('make something go wrong, on purpose');
  const apply = (made: Fault) => addFault({ ...options(), fault: made }).then(print);
  for (const kind of ['cut', 'hang'] as const) {
    fault
      .command(`${kind} <from> <to>`)
      .description(kind === 'cut' ? 'break the link' : 'keep connections open and let nothing through')
      .action((from: string, to: string) => apply({ kind, from, to }));
  }
  fault
    .command('delay <from> <to>')
    .description('delay everything on the link')
    .requiredOption('--ms <milliseconds>', 'by how much', count)
    .action((from: string, to: string, { ms }: { ms: number }) => apply({ kind: 'delay', from, to, delayMs: ms }));
  for (const kind of ['stop-server', 'api-down'] as const) {
    fault
      .command(`${kind} <cluster>`)
      .description(kind === 'stop-server' ? 'stop its SPIRE server' : 'stop its API server')
      .action((cluster: string) => apply({ kind, cluster }));
  }
  fault
    .command('rotate-ca <cluster>')
    .description("make its SPIRE server change its CA; there is no way back, peers' bundles follow")
    .option('--revoke', 'and forget the old one')
    .action(async (cluster: string, { revoke }: { revoke?: boolean }) => {
      await rotateCa({ ...options(), cluster, revoke: revoke ?? false });
    });
  fault
    .command('heal [kind] [first] [second]')
    .description('take a fault away, named as it was made; all of them when none is named')
    .action(async (kind?: string, first?: string, second?: string) => {
      const named = kind === undefined ? undefined : namedFault(kind, first ?? '', second ?? '');
      print(await heal({ ...options(), ...(named === undefined ? {} : { fault: named }) }));
    });
  fault
    .command('list')
    .description('what is wrong on purpose')
    .action(async () => console.log((await status(options())).faults.join('\n') || 'none'));

  for (const command of [...program.commands, ...fault.commands]) command.exitOverride();
  return program.parseAsync();
}

function print({ clusters, faults }: SandboxStatus): void {
  const rows = clusters.flatMap(({ cluster, parts }) =>
    parts.map(({ part, state, detail }) => [
      cluster,
      part,
      state === 'running' ? pc.green(state) : pc.red(state),
      detail ?? '',
    ]),
  );
  console.log(formatTable(['cluster', 'part', 'state', ''], rows));
  for (const { cluster, parts } of clusters) {
    for (const { part, log } of parts.filter(({ log: lines }) => lines !== undefined)) {
      console.log(
        `\n${pc.bold(`${cluster} ${part}`)}, the end of its log:\n${log?.map((line) => `  ${line}`).join('\n')}`,
      );
    }
  }
  if (faults.length > 0) console.log(`\nFaults: ${faults.join(', ')}`);
}

/** A fault as its words name it, to be found again among those that are on. */
function namedFault(kind: string, first: string, second: string): Fault {
  switch (kind) {
    case 'stop-server':
    case 'api-down':
      return { kind, cluster: first };
    case 'cut':
    case 'hang':
      return { kind, from: first, to: second };
    case 'delay':
      return { kind, from: first, to: second, delayMs: 0 };
    default:
      throw new SandboxError(`There is no fault ${kind}. There are: cut, hang, delay, stop-server, api-down.`);
  }
}

function names(text: string): string[] {
  return text.split(',').filter((name) => name !== '');
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It must be a whole number, at least 1.');
  return value;
}

main().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode;
    return;
  }
  console.error(error instanceof SandboxError ? error.message : error);
  process.exitCode = 1;
});
