import './memory.js';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import {
  NativeConnection,
  Runtime,
  Worker,
  type ActivityInterceptorsFactory,
  type WorkerDeploymentOptions,
  type WorkerOptions,
} from '@temporalio/worker';
import { register } from 'prom-client';
import { Clusters } from './activities/clusters.js';
import { FederatorActivityInterceptor } from './activities/heartbeat.js';
import { createActivities } from './activities/index.js';
import { ActivityLogFields } from './activities/logFields.js';
import { webhookSettings } from './activities/webhookSettings.js';
import {
  deploymentOptions,
  findInventory,
  inventoryPath,
  logLevel,
  regionPatienceMs,
  servedRegions,
} from './config.js';
import { FederatorError } from './contract/errors.js';
import { NO_REGION } from './contract/inventory.js';
import { regionTaskQueue, SEARCH_ATTRIBUTES, TASK_QUEUE } from './contract/names.js';
import { payloadEncryption, type PayloadEncryption } from './encryption/payloadEncryption.js';
import { nativeLogging, workerLog, type WorkerLog } from './log.js';
import { serveMetrics, temporalMetrics } from './metrics.js';
import type { ClusterStore } from './store/clusterStore.js';
import { openStore } from './store/openStore.js';
import { ClientSpans } from './tracing/clientSpans.js';
import { startTracing, type Tracing } from './tracing/tracing.js';
import { workerTracing } from './tracing/workerTracing.js';
import { ownVersion } from './version.js';
import { ACTIVATION_LIMIT, workflowBundle } from './workflowBundle.js';

const DEFAULT_ADDRESS = '127.0.0.1:7233';
/** Where the prebuilt bundles of src/workflows are: a worker runs compiled. */
const DIST = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
/** gRPC status for something that exists already. */
const ALREADY_EXISTS = 6;
/** Keyword, as Temporal's API numbers the types of search attributes. */
const KEYWORD = 2;

/** Where the worker serves metrics; unset: nowhere. */
const METRICS_ADDRESS = 'SPIRE_FEDERATOR_METRICS_ADDRESS';
/** Where Temporal's SDK serves its own; unset: nowhere. */
const TEMPORAL_METRICS_ADDRESS = 'SPIRE_FEDERATOR_TEMPORAL_METRICS_ADDRESS';

export interface WorkerDependencies {
  connection: NativeConnection;
  namespace: string;
  taskQueue?: string;
  /** What it serves: regions, and `default` for the workflows and the clusters without one, which is all when absent. */
  regions?: readonly string[];
  /** Which version of which deployment it is; absent: Temporal is told of none. */
  deployment?: WorkerDeploymentOptions | undefined;
  /** Absent: only clusters that were onboarded. */
  inventoryFile?: string | undefined;
  /** Where onboarded clusters are kept. */
  store?: ClusterStore | undefined;
  /** What is encrypted of what Temporal keeps; absent: as the environment says. */
  encryption?: PayloadEncryption;
  /** Absent: nothing is traced. */
  tracing?: Tracing | undefined;
  /** Wrapped around every activity, outside the engine's own. */
  activityInterceptors?: ActivityInterceptorsFactory[];
}

export interface FederatorWorker {
  /** Works until the process is told to stop; what it watches on clusters is closed then. */
  run(): Promise<void>;
}

/** Builds a worker: the one place where the engine's parts are put together. */
export async function createWorker(dependencies: WorkerDependencies): Promise<FederatorWorker> {
  const {
    connection,
    namespace,
    taskQueue = TASK_QUEUE,
    regions = [NO_REGION],
    deployment,
    inventoryFile,
    store,
    encryption = payloadEncryption(),
    tracing,
    activityInterceptors = [],
  } = dependencies;
  const clusters = new Clusters(inventoryFile, store, regions);
  // A worker whose inventory is unusable says so now, and not with the first change.
  await clusters.read();
  const { dataConverter } = encryption;
  const bundle = workflowBundle({ encodedFailures: encryption.on, traces: tracing !== undefined });
  const traced = workerTracing(tracing);
  const client = new Client({ connection, namespace, dataConverter, interceptors: { workflow: [new ClientSpans()] } });
  const options: Omit<WorkerOptions, 'taskQueue'> = {
    connection,
    namespace,
    dataConverter,
    activities: { ...createActivities(clusters, client) },
    interceptors: {
      activity: [
        logFields,
        ...traced.activity,
        ...activityInterceptors,
        () => ({ inbound: new FederatorActivityInterceptor() }),
      ],
    },
    sinks: traced.sinks,
    // A cancellation reaches a running activity with its next heartbeat.
    maxHeartbeatThrottleInterval: '1 second',
    // After a crash, what the dead worker had cached goes to another one soon.
    stickyQueueScheduleToStartTimeout: '1 second',
    shutdownGraceTime: '10 seconds',
    ...ACTIVATION_LIMIT,
    ...(deployment === undefined ? {} : { workerDeploymentOptions: deployment }),
  };
  const workers = await Promise.all(
    regions.map((region) =>
      region === NO_REGION
        ? Worker.create({ ...options, taskQueue, workflowBundle: { codePath: path.resolve(DIST, bundle) } })
        : Worker.create({ ...options, taskQueue: regionTaskQueue(taskQueue, region) }),
    ),
  );
  return {
    async run() {
      try {
        await runAll(workers);
      } finally {
        await clusters.close();
      }
    },
  };
}

/** Runs workers until they are told to stop, or one fails: nobody would notice that one of several is missing. */
async function runAll(workers: readonly Worker[]): Promise<void> {
  const stop = () => workers.filter((each) => each.getState() === 'RUNNING').forEach((each) => each.shutdown());
  const outcomes = await Promise.allSettled(workers.map((worker) => worker.run().finally(stop)));
  const failed = outcomes.find((each) => each.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** One for each run of an activity: it keeps what that is about. */
const logFields: ActivityInterceptorsFactory = () => {
  const fields = new ActivityLogFields();
  return { inbound: fields, outbound: fields };
};

async function main(): Promise<void> {
  const log = workerLog(logLevel());
  const tracing = await startTracing('spire-federator-worker', (message) => void log.temporal.warn(message));
  const { connectionOptions, namespace = 'default' } = loadClientConnectConfig();
  const address = connectionOptions.address ?? DEFAULT_ADDRESS;
  const store = await openStore();
  const inventoryFile = store === undefined ? inventoryPath() : findInventory();
  const { values } = parseArgs({ options: { regions: { type: 'string' } } });
  const regions = servedRegions(values.regions);
  regionPatienceMs();
  const deployment = deploymentOptions(ownVersion());
  // What is wrong with it is said now, and not at three in the morning.
  const webhook = await webhookSettings();
  const encryption = payloadEncryption();
  installRuntime(log, process.env[TEMPORAL_METRICS_ADDRESS]);
  let connection: NativeConnection;
  try {
    connection = await NativeConnection.connect({ ...connectionOptions, address });
  } catch (error) {
    throw new FederatorError(
      'TemporalUnreachable',
      `There is no Temporal server at ${address} (${(error as Error).message.split('\n')[0]}). Start one with: npm run temporal, or set TEMPORAL_ADDRESS.`,
    );
  }
  await registerSearchAttributes(connection, namespace);
  const worker = await createWorker({
    connection,
    namespace,
    regions,
    deployment,
    inventoryFile,
    store,
    encryption,
    tracing,
  });
  const inventory = [inventoryFile, store?.description].filter((each) => each !== undefined).join(' and ');
  const queues = regions.map((region) => (region === NO_REGION ? TASK_QUEUE : regionTaskQueue(TASK_QUEUE, region)));
  log.announce(
    `Worker on task queue ${queues.join(', ')} of ${address} (namespace ${namespace}), inventory ${inventory}`,
  );
  if (deployment !== undefined) {
    const { deploymentName, buildId } = deployment.version;
    log.announce(
      `Version ${buildId} of deployment ${deploymentName}: it gets work once it is current: temporal worker deployment set-current-version --deployment-name ${deploymentName} --build-id ${buildId}`,
    );
  }
  if (webhook !== undefined)
    log.announce(
      `Changes of verdicts are told to ${webhook.url.host}${webhook.secret === undefined ? ', unsigned' : ''}`,
    );
  const metricsAddress = process.env[METRICS_ADDRESS];
  const metrics = metricsAddress ? await serveMetrics(metricsAddress, METRICS_ADDRESS, register) : undefined;
  if (metrics !== undefined) log.announce(`Metrics on ${metrics.url}`);
  if (tracing !== undefined) log.announce(`Traces to ${tracing.destination}`);
  try {
    await worker.run();
  } finally {
    metrics?.close();
    await tracing?.shutdown();
    await connection.close();
  }
}

/** @throws FederatorError InvalidInput where the SDK cannot serve its metrics there */
function installRuntime({ temporal: logger, announce }: WorkerLog, metricsAddress: string | undefined): void {
  if (!metricsAddress) {
    Runtime.install({ logger, telemetryOptions: nativeLogging });
    return;
  }
  const telemetryOptions = { ...nativeLogging, ...temporalMetrics(metricsAddress, TEMPORAL_METRICS_ADDRESS) };
  try {
    Runtime.install({ logger, telemetryOptions });
  } catch (error) {
    throw new FederatorError(
      'InvalidInput',
      `Temporal's metrics cannot be served on ${metricsAddress} (${(error as Error).message}). Change ${TEMPORAL_METRICS_ADDRESS}.`,
    );
  }
  announce(`Temporal's metrics on http://${metricsAddress}/metrics`);
}

/** Makes the engine's search attributes known to the server; Temporal Cloud wants them made by hand. */
async function registerSearchAttributes(connection: NativeConnection, namespace: string): Promise<void> {
  for (const name of SEARCH_ATTRIBUTES) {
    try {
      await connection.operatorService.addSearchAttributes({ namespace, searchAttributes: { [name]: KEYWORD } });
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === ALREADY_EXISTS) continue;
      console.error(
        `Search attribute ${name} (Keyword) cannot be registered (${(error as Error).message}): without it no workflow starts. Register it by hand if it is not there.`,
      );
    }
  }
}

if (process.argv[1] !== undefined && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch((error: unknown) => {
    const known = error instanceof FederatorError || error instanceof ApplicationFailure;
    console.error(known ? error.message : error);
    process.exitCode = 1;
  });
}
