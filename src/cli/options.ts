import { Option, type Command } from 'commander';
import type { z } from 'zod';
import { findInventory, inventoryPath, zodIssues } from '../config.js';
import { FederatorError } from '../contract/errors.js';
import type { Cluster } from '../contract/inventory.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { readInventory } from '../store/inventory.js';
import { InventoryFile } from '../store/inventoryFile.js';
import { openStore } from '../store/openStore.js';
import { durationOf } from './duration.js';
import { addOutputOption, type OutputOptions } from './output.js';

/** Options that every command on a federation has. */
export interface CommonOptions extends OutputOptions {
  federation: string;
  clusters?: string[];
  inventory?: string;
}

/** Options of commands that follow a change. */
export interface FollowOptions extends OutputOptions {
  /** Milliseconds after which nobody waits for it any more. */
  timeout?: number;
}

/** Options of commands that start a change. */
export interface ChangeOptions extends CommonOptions, FollowOptions {
  plan?: boolean;
  wait: boolean;
  endpointTimeout?: number;
  rolloutTimeout?: number;
  maxUnavailable?: number;
  attempts?: number;
  monitor?: boolean;
}

/** Whether setups start a monitor, where nothing is said of it. */
const MONITOR_BY_DEFAULT = process.env['SPIRE_FEDERATOR_MONITOR'] !== 'off';

export function addCommonOptions(command: Command): Command {
  return addInventoryAndOutput(
    command
      .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
      .option('--clusters <names>', 'members by their inventory names, separated by commas', commaSeparated),
  );
}

function addInventoryAndOutput(command: Command): Command {
  return addOutputOption(addInventoryOption(command));
}

export function addInventoryOption(command: Command): Command {
  return command.option(
    '--inventory <file>',
    'inventory file (default: $SPIRE_FEDERATOR_INVENTORY, inventory.yaml, .sandbox/inventory.yaml)',
  );
}

/** Gives a command that follows a change an end of its patience. */
export function addTimeoutOption(command: Command): Command {
  return command.addOption(
    new Option(
      '--timeout <duration>',
      'wait no longer than this, e.g. 90s, 10m, 2h; the change goes on, the exit code is 3',
    ).argParser(durationOf('--timeout')),
  );
}

/** Gives a command that starts something the choice to wait for its end. */
export function addWaitOptions(command: Command): Command {
  return command
    .option('--wait', 'show its progress until it ends', true)
    .option('--no-wait', 'start it and return at once');
}

/** @param source where the federation and its members are said: in options, or in a file */
export function addChangeOptions(command: Command, source: 'options' | 'file' = 'options'): Command {
  const common = source === 'file' ? addInventoryAndOutput(command) : addCommonOptions(command);
  return addTimeoutOption(addWaitOptions(common))
    .option('--plan', 'print the steps and change nothing')
    .option('--endpoint-timeout <seconds>', 'how long a bundle endpoint may take to answer', Number)
    .option('--rollout-timeout <seconds>', 'how long a restarted SPIRE server may take to be ready', Number)
    .option('--max-unavailable <count>', 'how many SPIRE servers of members may restart at once (default: 1)', Number)
    .option('--attempts <count>', 'how often a step that fails for a reason that may pass is tried', Number);
}

/** What every change takes, as far as it was given. */
export function changeInput(options: ChangeOptions): Record<string, unknown> {
  const { federation, plan = false, maxUnavailable } = options;
  return {
    federation,
    planOnly: plan,
    timeouts: timeouts(options),
    ...(maxUnavailable === undefined ? {} : { maxUnavailable }),
  };
}

/** Whether a monitor is to be started. */
export function monitorInput({ monitor = true }: ChangeOptions): { monitor: boolean } {
  return { monitor: monitor && MONITOR_BY_DEFAULT };
}

/** The timeouts of a change's input, those that were given. */
export function timeouts({ endpointTimeout, rolloutTimeout, attempts }: ChangeOptions): Record<string, number> {
  return {
    ...(endpointTimeout === undefined ? {} : { endpointMs: endpointTimeout * 1000 }),
    ...(rolloutTimeout === undefined ? {} : { rolloutMs: rolloutTimeout * 1000 }),
    ...(attempts === undefined ? {} : { attempts }),
  };
}

/** Checks input by its schema. @throws FederatorError InvalidInput with every fault at once */
export function checked<T extends z.ZodType>(schema: T, input: unknown): z.infer<T> {
  const result = schema.safeParse(input);
  if (!result.success) throw new FederatorError('InvalidInput', `Invalid input:\n${zodIssues(result.error)}`);
  return result.data;
}

/** The inventory's clusters, onboarded ones included. @throws FederatorError InvalidInventory, StoreUnavailable */
export async function inventoryEntries(file?: string): Promise<Cluster[]> {
  const store = await openStore();
  const found = store === undefined ? inventoryPath(file) : findInventory(file);
  const { clusters } = await readInventory(found === undefined ? undefined : new InventoryFile(found), store);
  return clusters;
}

/** Their names. @throws FederatorError InvalidInventory, StoreUnavailable */
export async function inventoryClusters(file?: string): Promise<string[]> {
  return (await inventoryEntries(file)).map(({ name }) => name);
}

/** @throws FederatorError UnknownCluster naming every unknown one */
export function requireKnown(names: readonly string[], known: readonly string[]): void {
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new FederatorError(
    'UnknownCluster',
    `There is no cluster ${unknown.join(', ')} in the inventory. It has: ${known.join(', ')}.`,
  );
}

export function commaSeparated(value: string): string[] {
  return value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}
