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
 * A kubeconfig whose requests share connections, and whose streams and commands share TLS sessions. The client library
 * opens a new connection with a whole handshake for each, which costs more than most requests themselves.
 */
class PooledKubeConfig extends KubeConfig {
  private readonly requests = new AgentPool(true);
  private readonly streams = new AgentPool(false);

  constructor(private readonly cluster: Cluster) {
    super();
  }

  override async applyToHTTPSOptions(options: https.RequestOptions | ClientOptions): Promise<void> {
    await obtained(this.cluster, this, super.applyToHTTPSOptions(options));
    if (isPlain(options.agent)) options.agent = this.streams.agentLike(options.agent);
  }

  override async applySecurityAuthentication(context: RequestContext): Promise<void> {
    await obtained(this.cluster, this, super.applySecurityAuthentication(context));
    context.setSignal(AbortSignal.timeout(REQUEST_TIMEOUT_MS));
    const fresh = context.getAgent();
    if (isPlain(fresh)) context.setAgent(this.requests.agentLike(fresh));
  }

  close(): void {
    this.requests.close();
  }
}

/** A proxy's agent is another class: it stays as the library made it. */
function isPlain(agent: unknown): agent is https.Agent {
  return agent instanceof https.Agent && agent.constructor === https.Agent;
}

/** One agent for all connections with the same credentials. */
class AgentPool {
  private shared: { key: string; agent: https.Agent } | undefined;

  /** @param keepAlive whether a connection serves one request after the other; one that became a stream never does */
  constructor(private readonly keepAlive: boolean) {}

  agentLike({ options }: https.Agent): https.Agent {
    const { ca, cert, key, pfx, rejectUnauthorized, servername } = options;
    // Renewed client certificates must take effect, so the pool is keyed by what it was made with.
    const digest = createHash('sha256')
      .update(JSON.stringify([ca, cert, key, pfx, rejectUnauthorized, servername].map(String)))
      .digest('hex');
    if (this.shared?.key !== digest) {
      this.close();
      this.shared = { key: digest, agent: new https.Agent({ ...options, keepAlive: this.keepAlive }) };
    }
    return this.shared.agent;
  }

  /** Ends what is open; a stream ends by itself. */
  close(): void {
    if (this.keepAlive) this.shared?.agent.destroy();
  }
}

/** An open door to one cluster's Kubernetes API. Holds credentials: never log it, never return it from an activity. */
export interface ClusterConnection {
  readonly cluster: Cluster;
  readonly config: KubeConfig;
  /** What metrics call it: a name that is used once would be a series of its own for good. */
  readonly label: string;
  close(): void;
}

/**
 * Opens a cluster of the inventory.
 * @param content its kubeconfig, where that is not in a file
 * @param label as metrics have it
 * @throws FederatorError InvalidKubeconfig when the file is missing, unreadable or lacks the context
 */
export async function connectCluster(
  cluster: Cluster,
  content?: string,
  label = cluster.name,
): Promise<ClusterConnection> {
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
  return { cluster, config, label, close: () => config.close() };
}
