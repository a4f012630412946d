import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { probeInputSchema } from '../contract/change.js';
import { FederatorError } from '../contract/errors.js';
import { parsePairEnd, probePairInputSchema } from '../contract/probePair.js';
import { errorColours } from './colours.js';
import { runChange } from './change.js';
import { addExamples } from './examples.js';
import {
  addCommonOptions,
  addWaitOptions,
  checked,
  inventoryClusters,
  requireKnown,
  type CommonOptions,
} from './options.js';
import { isTable } from './output.js';

/** How long a handshake may fail before it counts as failed: a new workload has its identity within seconds. */
const DEFAULT_TIMEOUT_SECONDS = 30;

interface ProbeOptions extends CommonOptions {
  /** Seconds that a handshake may take; elsewhere --timeout is how long the command waits. */
  timeout: number;
  wait: boolean;
  from?: string;
  to?: string;
  address?: string;
  refused?: boolean;
}

/**
 * `probe`: the matrix of mTLS handshakes between all members, or whether two workloads can speak mTLS. Exit code 1 when
 * a handshake is not as it must be, or the two cannot (with --refused: can).
 */
export function probeCommand(): Command {
  const command = addCommonOptions(
    new Command('probe').description(
      'mTLS between test workloads of all members, both ways, and its refusal; or between two workloads',
    ),
  )
    .option('--from <workload>', 'a workload: <cluster>:<namespace>/<pod>, or <cluster>:<UID or SPIFFE ID>')
    .option('--to <workload>', 'another, of another cluster: can the two speak mTLS? Neither is touched')
    .option('--address <host:port>', 'where the second listens: dial it itself, too')
    .option('--refused', 'the two must not be able to: exit code 0 when mTLS between them is refused')
    .option('--timeout <seconds>', 'how long a handshake may take to succeed', Number, DEFAULT_TIMEOUT_SECONDS)
    .action((options: ProbeOptions, command: Command) =>
      probe(options, command.getOptionValueSource('federation') !== 'default'),
    );
  return addExamples(
    addWaitOptions(command),
    'npm run federator -- probe --federation prod',
    'npm run federator -- probe --from client-1:my-app/frontend --to edge-1:my-app/backend',
  );
}

async function probe(options: ProbeOptions, isNamed: boolean): Promise<void> {
  const { federation, clusters = [], timeout, from, to } = options;
  const known = await inventoryClusters(options.inventory);
  const timeouts = { probeMs: timeout * 1000, attempts: 1 };
  if (from !== undefined || to !== undefined) {
    await probePair(options, known, timeouts, isNamed);
    return;
  }
  if (options.address !== undefined || options.refused === true)
    throw new FederatorError('InvalidInput', '--address and --refused go with --from and --to.');
  requireKnown(clusters, known);
  const result = await runChange(
    'probe',
    checked(probeInputSchema, { federation, clusters, timeouts }),
    followOptions(options),
  );
  if (result?.probes.some(({ ok }) => !ok) === true) process.exitCode = 1;
}

/** @param isNamed whether the federation was said: else it is the one of which both clusters are members */
async function probePair(
  options: ProbeOptions,
  known: readonly string[],
  timeouts: object,
  isNamed: boolean,
): Promise<void> {
  const { clusters, from, to, address, refused = false } = options;
  if (from === undefined || to === undefined)
    throw new FederatorError('InvalidInput', '--from and --to go together: one workload each.');
  if (clusters !== undefined)
    throw new FederatorError('InvalidInput', '--clusters is for the matrix; --from and --to name their clusters.');
  const given = checked(probePairInputSchema, {
    federation: options.federation,
    from: parsePairEnd(from),
    to: parsePairEnd(to),
    ...(address === undefined ? {} : { address }),
    timeouts,
  });
  const ends = [given.from.cluster, given.to.cluster];
  requireKnown(ends, known);
  const input = isNamed ? given : { ...given, federation: (await commonFederation(ends)) ?? given.federation };
  const result = await runChange('probePair', input, followOptions(options));
  if (result?.pair === undefined) return;
  const wanted = refused ? 'refusal' : 'handshake';
  if (result.pair.outcome === wanted) return;
  process.exitCode = 1;
  if (isTable(options)) console.error(errorColours.red(refused ? 'They were not to be able to.' : 'They cannot.'));
}

/** What of the options is about following the probe, to its end however long that is. */
function followOptions({ output = 'table', wait }: ProbeOptions): Pick<ProbeOptions, 'output' | 'wait'> {
  return { output, wait };
}

/** The federation of which all these clusters are members; undefined when there is none, or they could not be asked. */
async function commonFederation(clusters: readonly string[]): Promise<string | undefined> {
  const client = await FederatorClient.connect();
  try {
    const { federations } = await client.federations();
    return federationOf(clusters, federations);
  } finally {
    await client.close();
  }
}

/** @param federations their members by their names */
export function federationOf(
  clusters: readonly string[],
  federations: Readonly<Record<string, string[]>>,
): string | undefined {
  return Object.keys(federations).find((name) => clusters.every((cluster) => federations[name]?.includes(cluster)));
}
