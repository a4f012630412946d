import { stat } from 'node:fs/promises';
import { FederatorError } from '../contract/errors.js';
import { NO_REGION, type Cluster } from '../contract/inventory.js';
import { candidateOf } from '../contract/names.js';
import { connectCluster, type ClusterConnection } from '../kubernetes/connect.js';
import { ClusterWatches } from '../kubernetes/watch.js';
import { SpireServer } from '../spire/server.js';
import type { ClusterStore } from '../store/clusterStore.js';
import { readInventory, withReference, type FullInventory } from '../store/inventory.js';
import { InventoryFile } from '../store/inventoryFile.js';

/** What metrics call every candidate; no cluster has this name. */
const CANDIDATES = '(candidates)';

/** An open cluster and its SPIRE server. */
export interface OpenCluster {
  connection: ClusterConnection;
  spire: SpireServer;
  /** What is looked at again and again. */
  watches: ClusterWatches;
}

/**
 * The clusters of an inventory file, opened on first use and kept open. A changed inventory or kubeconfig is seen at the
 * next use, so that clusters can be added and credentials renewed while the worker runs.
 */
export class Clusters {
  private readonly file: InventoryFile | undefined;
  private readonly open = new Map<string, { stamp: string; cluster: Promise<OpenCluster> }>();

  constructor(
    inventoryFile: string | undefined,
    /** Where onboarded clusters are kept. */
    readonly store?: ClusterStore,
    /** Regions that this worker works for. */
    private readonly regions: readonly string[] = [NO_REGION],
  ) {
    this.file = inventoryFile === undefined ? undefined : new InventoryFile(inventoryFile);
  }

  /** @throws FederatorError InvalidInventory, StoreUnavailable */
  async read(): Promise<FullInventory> {
    const open = [...this.open.keys()];
    const inventory = await readInventory(this.file, this.store);
    // Another worker may have taken one out of the store; nobody will ask this one for it again.
    const listed = new Set(inventory.clusters.map(({ name }) => name));
    for (const name of open) {
      const candidate = candidateOf(name);
      if (candidate === undefined ? !listed.has(name) : !inventory.candidates.has(candidate)) this.release(name);
    }
    return inventory;
  }

  /** The clusters that this worker works on; the credentials of others are none of its business. */
  async own(): Promise<Cluster[]> {
    const { clusters } = await this.read();
    return clusters.filter(({ region = NO_REGION }) => this.regions.includes(region));
  }

  /**
   * @param name of a cluster, or of a candidate (`candidateName`)
   * @throws FederatorError UnknownCluster, InvalidInventory, InvalidKubeconfig, StoreUnavailable
   */
  async get(name: string): Promise<OpenCluster> {
    const { cluster, version, content } = await this.find(name);
    const stamp = `${JSON.stringify(cluster)} ${version}`;
    const known = this.open.get(name);
    if (known?.stamp === stamp) return known.cluster;
    const opened = content()
      .then((text) => connectCluster(cluster, text, candidateOf(name) === undefined ? name : CANDIDATES))
      .then((connection) => ({
        connection,
        spire: new SpireServer(connection),
        watches: new ClusterWatches(connection),
      }));
    // Its credentials or its address have changed: nothing goes on over the old connection.
    known?.cluster.then(closeCluster).catch(() => undefined);
    this.open.set(name, { stamp, cluster: opened });
    // One that cannot be opened is not kept: the next use tries again.
    opened.catch(() => this.open.delete(name));
    return opened;
  }

  /** Lets go of a cluster that is not to be used any more, and of its credentials. */
  release(name: string): void {
    this.open
      .get(name)
      ?.cluster.then(closeCluster)
      .catch(() => undefined);
    this.open.delete(name);
  }

  /** Ends every watch and connection: an open one would keep the process alive. */
  async close(): Promise<void> {
    const clusters = [...this.open.values()];
    this.open.clear();
    const opened = await Promise.allSettled(clusters.map(({ cluster }) => cluster));
    for (const each of opened) if (each.status === 'fulfilled') closeCluster(each.value);
  }

  /** A cluster, what tells that its credentials have changed, and how to have them where they are not in a file. */
  private async find(name: string): Promise<{
    cluster: Cluster;
    version: string | number;
    content: () => Promise<string | undefined>;
  }> {
    const { store } = this;
    const candidate = candidateOf(name);
    if (store !== undefined && candidate !== undefined) {
      const found = (await store.list()).find((each) => each.candidate && each.entry.name === candidate);
      if (found === undefined)
        throw new FederatorError('UnknownCluster', `Cluster ${candidate} is not being onboarded any more.`);
      return {
        cluster: withReference(found),
        version: found.version,
        content: () => store.kubeconfig(candidate, true),
      };
    }
    const { clusters, stored } = await this.read();
    const cluster = clusters.find((each) => each.name === name);
    if (cluster === undefined)
      throw unknownCluster(
        name,
        clusters.map((each) => each.name),
      );
    const onboarded = stored.get(name);
    if (store !== undefined && onboarded !== undefined)
      return { cluster, version: onboarded.version, content: () => store.kubeconfig(name, false) };
    return {
      cluster,
      version: await modified(cluster.kubeconfig.path),
      content: () => Promise.resolve(undefined),
    };
  }
}

function closeCluster({ watches, connection }: OpenCluster): void {
  watches.close();
  connection.close();
}

/** The error for a name that the inventory does not have. */
export function unknownCluster(name: string, known: readonly string[]): FederatorError {
  return new FederatorError(
    'UnknownCluster',
    `There is no cluster ${name} in the inventory. It has: ${known.join(', ') || 'none'}.`,
  );
}

/** When a file was modified, in milliseconds; 0 when it is not there, which its reader then reports. */
async function modified(file: string): Promise<number> {
  try {
    return (await stat(file)).mtimeMs;
  } catch {
    return 0;
  }
}
