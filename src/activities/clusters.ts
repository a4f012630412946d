import { stat } from 'node:fs/promises';
import { loadInventory } from '../config.js';
import { FederatorError } from '../contract/errors.js';
import type { Inventory } from '../contract/inventory.js';
import { connectCluster, type ClusterConnection } from '../kubernetes/connect.js';
import { ClusterWatches } from '../kubernetes/watch.js';
import { SpireServer } from '../spire/server.js';

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
  private inventory: { stamp: number; content: Promise<Inventory> } | undefined;
  private readonly open = new Map<string, { stamp: string; cluster: Promise<OpenCluster> }>();

  constructor(private readonly inventoryFile: string) {}

  /** @throws FederatorError InvalidInventory */
  async read(): Promise<Inventory> {
    const stamp = await modified(this.inventoryFile);
    if (this.inventory?.stamp !== stamp) {
      this.inventory = { stamp, content: loadInventory(this.inventoryFile) };
    }
    return this.inventory.content;
  }

  /** @throws FederatorError UnknownCluster, InvalidInventory, InvalidKubeconfig */
  async get(name: string): Promise<OpenCluster> {
    const { clusters } = await this.read();
    const cluster = clusters.find((each) => each.name === name);
    if (cluster === undefined)
      throw unknownCluster(
        name,
        clusters.map((each) => each.name),
      );
    const stamp = `${JSON.stringify(cluster)} ${await modified(cluster.kubeconfig.path)}`;
    const known = this.open.get(name);
    if (known?.stamp === stamp) return known.cluster;
    const opened = connectCluster(cluster).then((connection) => ({
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

  /** Ends every watch and connection: an open one would keep the process alive. */
  async close(): Promise<void> {
    const clusters = [...this.open.values()];
    this.open.clear();
    const opened = await Promise.allSettled(clusters.map(({ cluster }) => cluster));
    for (const each of opened) if (each.status === 'fulfilled') closeCluster(each.value);
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
    `There is no cluster ${name} in the inventory. It has: ${known.join(', ')}.`,
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
