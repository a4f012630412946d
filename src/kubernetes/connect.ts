import { createHash } from 'node:crypto';
import { access, constants } from 'node:fs/promises';
import https from 'node:https';
import { KubeConfig, type RequestContext } from '@kubernetes/client-node';
import type { ClientOptions } from 'ws';
import { FederatorError } from '../contract/errors.js';
import type { Cluster } from '../contract/inventory.js';
import { obtained } from './credentials.js';

/** Longest that one Kubernetes request may take; every loop around it has its own, longer limit. */
const REQUEST_TIMEOUT_MS = 15_000;

/**
 * A kubeconfig whose requests share connections. The client library opens a new TLS connection for every request,
 * which costs more than most requests themselves.
 */
class PooledKubeConfig extends KubeConfig {
  private pool: { key: string; agent: https.Agent } | undefined;

  constructor(private readonly cluster: Cluster) {
    super();
  }

  override async applyToHTTPSOptions(options: https.RequestOptions | ClientOptions): Promise<void> {
    await obtained(this.cluster, this, super.applyToHTTPSOptions(options));
  }

  override async applySecurityAuthentication(context: RequestContext): Promise<void> {
    await obtained(this.cluster, this, super.applySecurityAuthentication(context));
    context.setSignal(AbortSignal.timeout(REQUEST_TIMEOUT_MS));
    const fresh = context.getAgent();
    // A proxy's agent is another class: leave it as the library made it.
    if (fresh?.constructor !== https.Agent) return;
    const { ca, cert, key, pfx, rejectUnauthorized, servername } = fresh.options;
    // Renewed client certificates must take effect, so the pool is keyed by what it was made with.
    const digest = createHash('sha256')
      .update(JSON.stringify([ca, cert, key, pfx, rejectUnauthorized, servername].map(String)))
      .digest('hex');
    if (this.pool?.key !== digest) {
      this.pool?.agent.destroy();
      this.pool = { key: digest, agent: new https.Agent({ ...fresh.options, keepAlive: true }) };
    }
    context.setAgent(this.pool.agent);
  }

  close(): void {
    this.pool?.agent.destroy();
  }
}

/** An open door to one cluster's Kubernetes API. Holds credentials: never log it, never return it from an activity. */
export interface ClusterConnection {
  readonly cluster: Cluster;
  readonly config: KubeConfig;
  close(): void;
}

/**
 * Opens a cluster of the inventory.
 * @param content its kubeconfig, where that is not in a file
 * @throws FederatorError InvalidKubeconfig when the file is missing, unreadable or lacks the context
 */
export async function connectCluster(cluster: Cluster, content?: string): Promise<ClusterConnection> {
  const { path, context } = cluster.kubeconfig;
  const config = new PooledKubeConfig(cluster);
  try {
    if (content === undefined) await access(path, constants.R_OK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new FederatorError(
      'InvalidKubeconfig',
      `${cluster.name}: kubeconfig ${path} ${code === 'ENOENT' ? 'does not exist' : `cannot be read (${code})`}. Correct its path in the inventory.`,
    );
  }
  try {
    if (content === undefined) config.loadFromFile(path);
    else config.loadFromString(content);
  } catch (error) {
    throw new FederatorError(
      'InvalidKubeconfig',
      `${cluster.name}: kubeconfig ${path} is not a kubeconfig (${(error as Error).message.split('\n')[0]}).`,
    );
  }
  config.setCurrentContext(context ?? config.getCurrentContext());
  if (config.getCurrentCluster() == null) {
    const known = config.getContexts().map((each) => each.name);
    throw new FederatorError(
      'InvalidKubeconfig',
      `${cluster.name}: kubeconfig ${path} has no usable context ${context ?? '(no current context)'}. Its contexts: ${known.join(', ') || 'none'}.`,
    );
  }
  // The library caches credentials by user name across kubeconfigs, and most files call theirs "admin".
  const user = config.getCurrentUser();
  if (user !== null) {
    const unique = `${cluster.name}/${user.name}`;
    config.users = config.users.map((each) => (each.name === user.name ? { ...each, name: unique } : each));
    config.contexts = config.contexts.map((each) =>
      each.name === config.getCurrentContext() ? { ...each, user: unique } : each,
    );
  }
  return { cluster, config, close: () => config.close() };
}
