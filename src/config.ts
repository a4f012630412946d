import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'yaml';
import { type z } from 'zod';
import { FederatorError } from './contract/errors.js';
import { inventorySchema, type Inventory } from './contract/inventory.js';

/** Where the inventory is looked for when nothing names it, in this order: one's own, then the sandbox's. */
const INVENTORY_FILES = ['inventory.yaml', '.sandbox/inventory.yaml'] as const;

/**
 * The inventory's path: as given, else SPIRE_FEDERATOR_INVENTORY, else the first that exists of inventory.yaml and
 * .sandbox/inventory.yaml in the current directory.
 * @throws FederatorError InvalidInventory when there is none
 */
export function inventoryPath(given?: string, environment: NodeJS.ProcessEnv = process.env): string {
  const named = given ?? environment['SPIRE_FEDERATOR_INVENTORY'];
  const found = named ?? INVENTORY_FILES.find((file) => existsSync(file));
  if (found === undefined) {
    throw new FederatorError(
      'InvalidInventory',
      'There is no inventory: neither inventory.yaml nor .sandbox/inventory.yaml is here. Write one (README, "Your own clusters"), name one with --inventory, or start a sandbox with: npm run sandbox -- up',
    );
  }
  return path.resolve(found);
}

/**
 * Reads and checks an inventory file; kubeconfig paths come back absolute.
 * @throws FederatorError InvalidInventory with every fault of the file at once
 */
export async function loadInventory(file: string): Promise<Inventory> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FederatorError(
      'InvalidInventory',
      `Inventory ${file} ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}.`,
    );
  }
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new FederatorError(
      'InvalidInventory',
      `Inventory ${file} is not YAML: ${(error as Error).message.split('\n')[0]}`,
    );
  }
  const result = inventorySchema.safeParse(document);
  if (!result.success)
    throw new FederatorError('InvalidInventory', `Inventory ${file} has faults:\n${zodIssues(result.error)}`);
  const directory = path.dirname(file);
  return {
    ...result.data,
    clusters: result.data.clusters.map((cluster) => ({
      ...cluster,
      kubeconfig: { ...cluster.kubeconfig, path: path.resolve(directory, cluster.kubeconfig.path) },
    })),
  };
}

/** One line per fault: where it is, and what is wrong. */
export function zodIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) => `  ${issue.path.length === 0 ? '(file)' : issue.path.map(String).join('.')}: ${issue.message}`)
    .join('\n');
}

/** Address of the Temporal Web UI, for links. */
export function webUiUrl(environment: NodeJS.ProcessEnv = process.env): string {
  return (environment['TEMPORAL_UI_URL'] ?? 'http://127.0.0.1:8233').replace(/\/$/, '');
}
