import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { WorkerDeploymentOptions } from '@temporalio/worker';
import { parse } from 'yaml';
import { z } from 'zod';
import { federationFileSchema, type FederationFile } from './contract/change.js';
import { FederatorError, type FederatorErrorType } from './contract/errors.js';
import { inventorySchema, NO_REGION, regionName, type Cluster, type Inventory } from './contract/inventory.js';

/** Where the inventory is looked for when nothing names it, in this order: one's own, then the sandbox's. */
const INVENTORY_FILES = ['inventory.yaml', '.sandbox/inventory.yaml'] as const;

/**
 * The inventory's path: as given, else SPIRE_FEDERATOR_INVENTORY, else the first that exists of inventory.yaml and
 * .sandbox/inventory.yaml in the current directory.
 * @throws FederatorError InvalidInventory when there is none
 */
export function inventoryPath(given?: string, environment: NodeJS.ProcessEnv = process.env): string {
  const found = findInventory(given, environment);
  if (found === undefined) {
    throw new FederatorError(
      'InvalidInventory',
      'There is no inventory: neither inventory.yaml nor .sandbox/inventory.yaml is here. Write one (README, "Your own clusters"), name one with SPIRE_FEDERATOR_INVENTORY (commands also take --inventory), or start a sandbox with: npm run sandbox -- up',
    );
  }
  return found;
}

/** The same, where there need not be one: undefined then. */
export function findInventory(given?: string, environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = given ?? environment['SPIRE_FEDERATOR_INVENTORY'];
  const found = named ?? INVENTORY_FILES.find((file) => existsSync(file));
  return found === undefined ? undefined : path.resolve(found);
}

/**
 * Reads and checks an inventory file; kubeconfig paths come back absolute.
 * @throws FederatorError InvalidInventory with every fault of the file at once
 */
export async function loadInventory(file: string): Promise<Inventory> {
  const inventory = await loadYaml(file, inventorySchema, 'Inventory', 'InvalidInventory');
  const directory = path.dirname(file);
  return {
    ...inventory,
    clusters: inventory.clusters.map((cluster) => ({
      ...cluster,
      kubeconfig: { ...cluster.kubeconfig, path: path.resolve(directory, cluster.kubeconfig.path) },
      ...resolveWebPkiCA(cluster, directory),
    })),
  };
}

function resolveWebPkiCA({ bundleEndpoint }: Cluster, directory: string): Pick<Cluster, 'bundleEndpoint'> {
  if (bundleEndpoint?.profile !== 'https_web' || bundleEndpoint.webPkiCA === undefined) return {};
  return { bundleEndpoint: { ...bundleEndpoint, webPkiCA: path.resolve(directory, bundleEndpoint.webPkiCA) } };
}

/**
 * Reads and checks a federation file.
 * @throws FederatorError InvalidInput with every fault of the file at once
 */
export async function loadFederationFile(file: string): Promise<FederationFile> {
  return loadYaml(path.resolve(file), federationFileSchema, 'Federation file', 'InvalidInput');
}

async function loadYaml<T extends z.ZodType>(
  file: string,
  schema: T,
  what: string,
  errorType: FederatorErrorType,
): Promise<z.infer<T>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new FederatorError(
      errorType,
      `${what} ${file} ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}.`,
    );
  }
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new FederatorError(errorType, `${what} ${file} is not YAML: ${(error as Error).message.split('\n')[0]}`);
  }
  const result = schema.safeParse(document);
  if (!result.success) throw new FederatorError(errorType, `${what} ${file} has faults:\n${zodIssues(result.error)}`);
  return result.data;
}

/** One line per fault: where it is, and what is wrong. */
export function zodIssues(error: z.ZodError): string {
  return error.issues
    .map((issue) => `  ${issue.path.length === 0 ? '(file)' : issue.path.map(String).join('.')}: ${issue.message}`)
    .join('\n');
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * The least important lines that worker and API log, as SPIRE_FEDERATOR_LOG_LEVEL says: info by default.
 * @throws FederatorError InvalidInput
 */
export function logLevel(environment: NodeJS.ProcessEnv = process.env): LogLevel {
  const wanted = environment['SPIRE_FEDERATOR_LOG_LEVEL'] || 'info';
  const level = LOG_LEVELS.find((each) => each === wanted.toLowerCase());
  if (level !== undefined) return level;
  throw new FederatorError(
    'InvalidInput',
    `SPIRE_FEDERATOR_LOG_LEVEL is ${wanted}; it can be ${LOG_LEVELS.join(', ')}.`,
  );
}

/** Regions whose clusters a worker works on; a worker that is told nothing serves those without one. */
const REGIONS = 'SPIRE_FEDERATOR_REGIONS';
const REGION_WAIT = 'SPIRE_FEDERATOR_REGION_WAIT_SECONDS';
/** Longer than a worker takes to be replaced by another. */
const REGION_WAIT_SECONDS = 60;

/**
 * What a worker serves: regions, and `default` for the workflows and the clusters without a region.
 * @param given a list with commas, in place of SPIRE_FEDERATOR_REGIONS
 * @throws FederatorError InvalidInput
 */
export function servedRegions(given?: string, environment: NodeJS.ProcessEnv = process.env): string[] {
  const text = given ?? environment[REGIONS] ?? '';
  const names = text.split(',').map((each) => each.trim());
  if (text.trim() === '') return [NO_REGION];
  for (const name of names) {
    const error = name === NO_REGION ? undefined : regionName.safeParse(name).error;
    if (error === undefined) continue;
    throw new FederatorError(
      'InvalidInput',
      `Region "${name}" of --regions or ${REGIONS} ${error.issues[0]?.message ?? ''}.`,
    );
  }
  return [...new Set(names)];
}

/**
 * How long work on a cluster waits for a worker of its region before it fails, as SPIRE_FEDERATOR_REGION_WAIT_SECONDS says.
 * @throws FederatorError InvalidInput
 */
export function regionPatienceMs(environment: NodeJS.ProcessEnv = process.env): number {
  const text = environment[REGION_WAIT] || String(REGION_WAIT_SECONDS);
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds > 0) return seconds * 1_000;
  throw new FederatorError('InvalidInput', `${REGION_WAIT} is ${text}; it must be a number of seconds above 0.`);
}

const DEPLOYMENT = 'SPIRE_FEDERATOR_DEPLOYMENT';
const BUILD_ID = 'SPIRE_FEDERATOR_BUILD_ID';

/**
 * Which version of which worker deployment a worker is, where SPIRE_FEDERATOR_DEPLOYMENT names one; the build ID is
 * SPIRE_FEDERATOR_BUILD_ID or the package's version. A workflow that does not say otherwise ends on the version on which
 * it began: most are short.
 * @throws FederatorError InvalidInput
 */
export function deploymentOptions(
  packageVersion: string,
  environment: NodeJS.ProcessEnv = process.env,
): WorkerDeploymentOptions | undefined {
  const deploymentName = environment[DEPLOYMENT];
  if (!deploymentName) return undefined;
  // Temporal writes a version as "<deployment>.<build ID>".
  if (deploymentName.includes('.'))
    throw new FederatorError('InvalidInput', `${DEPLOYMENT} is ${deploymentName}; it must not have a dot.`);
  return {
    version: { deploymentName, buildId: environment[BUILD_ID] || packageVersion },
    useWorkerVersioning: true,
    defaultVersioningBehavior: 'PINNED',
  };
}

/** Where the API listens: SPIRE_FEDERATOR_API_ADDRESS. */
export const apiAddressSchema = z
  .string()
  .regex(/^(.+):(\d{1,5})$/, 'must be <host>:<port>')
  .default('127.0.0.1:8080')
  .transform((address) => {
    const colon = address.lastIndexOf(':');
    return {
      host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'),
      port: Number(address.slice(colon + 1)),
    };
  });

/** Address of the Temporal Web UI, for links. */
export function webUiUrl(environment: NodeJS.ProcessEnv = process.env): string {
  return (environment['TEMPORAL_UI_URL'] || 'http://127.0.0.1:8233').replace(/\/$/, '');
}
