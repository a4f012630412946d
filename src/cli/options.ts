import type { Command } from 'commander';
import type { z } from 'zod';
import { findInventory, inventoryPath, zodIssues } from '../config.js';
import { FederatorError } from '../contract/errors.js';
import { DEFAULT_FEDERATION } from '../contract/names.js';
import { readInventory } from '../store/inventory.js';
import { openStore } from '../store/openStore.js';

/** Options that every command on a federation has. */
export interface CommonOptions {
  federation: string;
  clusters?: string[];
  inventory?: string;
  json?: boolean;
}

/** Options of commands that start a change. */
export interface ChangeOptions extends CommonOptions {
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
  return addOutputOptions(
    command
      .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
      .option('--clusters <names>', 'members by their inventory names, separated by commas', commaSeparated),
  );
}

function addOutputOptions(command: Command): Command {
  return command
    .option(
      '--inventory <file>',
      'inventory file (default: $SPIRE_FEDERATOR_INVENTORY, inventory.yaml, .sandbox/inventory.yaml)',
    )
    .option('--json', 'print the result as JSON');
}

/** @param source where the federation and its members are said: in options, or in a file */
export function addChangeOptions(command: Command, source: 'options' | 'file' = 'options'): Command {
  return (source === 'file' ? addOutputOptions(command) : addCommonOptions(command))
    .option('--plan', 'print the steps and change nothing')
    .option('--no-wait', 'start it and return at once')
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

/** Names of the inventory's clusters, onboarded ones included. @throws FederatorError InvalidInventory, StoreUnavailable */
export async function inventoryClusters(file?: string): Promise<string[]> {
  const store = openStore();
  const { clusters } = await readInventory(store === undefined ? inventoryPath(file) : findInventory(file), store);
  return clusters.map(({ name }) => name);
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

function commaSeparated(value: string): string[] {
  return value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}
