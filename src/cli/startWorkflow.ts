import { Argument, Command } from 'commander';
import {
  addClusterInputSchema,
  adoptInputSchema,
  removeClusterInputSchema,
  setupMeshInputSchema,
  setupPairInputSchema,
  teardownInputSchema,
} from '../contract/change.js';
import { FederatorError } from '../contract/errors.js';
import { runChange } from './change.js';
import { addExamples } from './examples.js';
import { addRotateOptions, rotateWatch, type RotateOptions } from './rotateWatch.js';
import {
  addChangeOptions,
  changeInput,
  checked,
  commaSeparated,
  inventoryClusters,
  monitorInput,
  requireKnown,
  timeouts,
  type ChangeOptions,
} from './options.js';

interface StartOptions extends ChangeOptions, Omit<RotateOptions, 'federation' | 'wait'> {
  cluster?: string;
  relationships?: string;
  refreshHint?: number;
  topology?: string;
  hub?: string;
  probe: boolean;
  unreachable?: boolean;
  trustDomain?: string[];
}

type Start = (options: StartOptions, known: readonly string[]) => Promise<unknown>;

/** The workflows by name, each with what of the options it takes. */
const WORKFLOWS = {
  setupPair: (options, known) =>
    runChange(
      'setupPair',
      checked(setupPairInputSchema, { ...meshInput(options), clusters: options.clusters ?? pairOf(known) }),
      options,
    ),
  setupMesh: (options) =>
    runChange(
      'setupMesh',
      checked(setupMeshInputSchema, { ...meshInput(options), clusters: options.clusters ?? [] }),
      options,
    ),
  addCluster: (options) =>
    runChange(
      'addCluster',
      checked(addClusterInputSchema, {
        ...changeInput(options),
        ...monitorInput(options),
        probe: options.probe,
        ...(options.cluster === undefined ? {} : { cluster: options.cluster }),
      }),
      options,
    ),
  removeCluster: (options) =>
    runChange(
      'removeCluster',
      checked(removeClusterInputSchema, {
        ...changeInput(options),
        cluster: required(options.cluster ?? options.trustDomain?.join(', ')),
        unreachable: options.unreachable ?? false,
        trustDomains: options.trustDomain ?? [],
      }),
      options,
    ),
  adopt: (options) =>
    runChange(
      'adopt',
      checked(adoptInputSchema, {
        ...monitorInput(options),
        federation: options.federation,
        planOnly: options.plan ?? false,
        timeouts: timeouts(options),
        clusters: options.clusters ?? [],
      }),
      options,
    ),
  teardown: (options) =>
    runChange(
      'teardown',
      checked(teardownInputSchema, {
        federation: options.federation,
        planOnly: options.plan ?? false,
        timeouts: timeouts(options),
        clusters: options.clusters ?? [],
      }),
      options,
    ),
  rotateWatch: (options) => rotateWatch(options),
} satisfies Record<string, Start>;
type WorkflowName = keyof typeof WORKFLOWS;

const CHANGE = ['plan', 'endpointTimeout', 'rolloutTimeout', 'attempts'];
const SETUP = [
  ...CHANGE,
  ...['clusters', 'maxUnavailable', 'monitor', 'probe', 'relationships', 'refreshHint', 'topology', 'hub'],
];
/** Options that not every workflow takes, by their attributes: one that is passed over would seem to have been heeded. */
const TAKES: Readonly<Record<WorkflowName, readonly string[]>> = {
  setupPair: SETUP,
  setupMesh: SETUP,
  addCluster: [...CHANGE, 'cluster', 'clusters', 'maxUnavailable', 'monitor', 'probe'],
  removeCluster: [...CHANGE, 'cluster', 'clusters', 'maxUnavailable', 'unreachable'],
  adopt: [...CHANGE, 'clusters', 'monitor'],
  teardown: [...CHANGE, 'clusters'],
  rotateWatch: ['rotations', 'for', 'rotate', 'revoke', 'holdTimeout', 'settle'],
};

/** @throws FederatorError InvalidInput naming what was given and the workflow does not take */
function requireTaken(name: WorkflowName, command: Command, cluster: string | undefined): void {
  const given = command.options.filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli');
  for (const { attribute, flag } of [
    ...given.map((option) => ({ attribute: option.attributeName(), flag: option.long ?? option.flags })),
    ...(cluster === undefined ? [] : [{ attribute: 'cluster', flag: cluster }]),
  ]) {
    const takers = Object.entries(TAKES).filter(([, taken]) => taken.includes(attribute));
    if (takers.length === 0 || TAKES[name].includes(attribute)) continue;
    throw new FederatorError(
      'InvalidInput',
      `${name} does not take ${flag}: leave it out. These do: ${takers.map(([taker]) => taker).join(', ')}.`,
    );
  }
}

/** `start-workflow <name>`: the workflows that change a federation. */
export function startWorkflowCommand(): Command {
  const command = addChangeOptions(
    new Command('start-workflow')
      .description(
        'start a workflow: setupPair federates two clusters, setupMesh any number, addCluster one more; removeCluster takes one out, adopt takes over what scripts made, teardown ends the federation; rotateWatch counts bundle refreshes and rotates a CA safely',
      )
      .addArgument(new Argument('<name>', 'the workflow').choices(Object.keys(WORKFLOWS)))
      .argument('[cluster]', 'addCluster, removeCluster: which one; the same as --cluster'),
  );
  addRotateOptions(command, 'rotateWatch: ')
    .option('--cluster <name>', 'addCluster, removeCluster: which one')
    .option('--unreachable', 'removeCluster: the cluster is gone for good; clean up the others')
    .option(
      '--trust-domain <names>',
      'removeCluster --unreachable: of clusters gone for good that the inventory does not tell apart or list any more, separated by commas',
      commaSeparated,
    )
    .option('--relationships <kind>', 'setup: static (also federates_with in server.conf) or dynamic')
    .option('--refresh-hint <seconds>', 'setup: refresh hint of the bundles; peers poll at a quarter of it', Number)
    .option('--topology <kind>', 'setupMesh: mesh, or hub where the others trust only --hub')
    .option('--hub <cluster>', 'setupMesh: the cluster that all others trust and that trusts all others')
    .option('--no-probe', 'setup, addCluster: leave out the mTLS probe between test workloads')
    .option('--no-monitor', 'setup, addCluster, adopt: start no monitor that watches over the federation afterwards')
    .action(async (name: WorkflowName, cluster: string | undefined, options: StartOptions, self: Command) => {
      requireTaken(name, self, cluster);
      const known = await inventoryClusters(options.inventory);
      const named = options.cluster ?? cluster ?? soleCluster(name, options.clusters);
      requireKnown([...(options.clusters ?? []), ...(named === undefined ? [] : [named])], known);
      await WORKFLOWS[name]({ ...options, ...(named === undefined ? {} : { cluster: named }) }, known);
    });
  return addExamples(
    command,
    'npm run start-workflow setupPair -- --federation prod --clusters client-1,server-1',
    'npm run start-workflow addCluster -- --federation prod --cluster edge-1',
    'npm run start-workflow removeCluster -- --federation prod --cluster edge-1 --unreachable',
  );
}

function meshInput({ relationships, refreshHint, topology, hub, probe, ...options }: StartOptions) {
  const kind = topology ?? (hub === undefined ? undefined : 'hub');
  return {
    ...changeInput(options),
    ...monitorInput(options),
    probe,
    ...(relationships === undefined ? {} : { relationships }),
    ...(refreshHint === undefined ? {} : { refreshHintSeconds: refreshHint }),
    ...(kind === undefined ? {} : { topology: kind }),
    ...(hub === undefined ? {} : { hub }),
  };
}

/** `--clusters` with one name, where one cluster is meant. */
function soleCluster(name: string, clusters: readonly string[] = []): string | undefined {
  if (name !== 'addCluster' && name !== 'removeCluster') return undefined;
  if (clusters.length <= 1) return clusters[0];
  throw new FederatorError(
    'InvalidInput',
    `${name} takes one cluster, not ${clusters.length}: ${clusters.join(', ')}.`,
  );
}

function required(cluster: string | undefined): string {
  if (cluster !== undefined) return cluster;
  throw new FederatorError(
    'InvalidInput',
    'Say which cluster to remove: npm run start-workflow removeCluster -- --cluster <name>',
  );
}

/** The two clusters that a bare setupPair can only mean. */
function pairOf(known: readonly string[]): string[] {
  if (known.length === 2) return [...known];
  throw new FederatorError(
    'InvalidInput',
    known.length < 2
      ? `The inventory has only one cluster, ${known.join()}. Federating takes two.`
      : `The inventory has ${known.length} clusters. Say which two: npm run start-workflow setupPair -- --clusters ${known.slice(0, 2).join(',')}\nIt has: ${known.join(', ')}`,
  );
}
