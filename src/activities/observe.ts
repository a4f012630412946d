import { setTimeout as delay } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import type { EndpointUrlRequest, Observation, ObserveRequest } from '../contract/activities.js';
import { FederatorError } from '../contract/errors.js';
import type { Cluster } from '../contract/inventory.js';
import type { ServerConf } from '../contract/serverConf.js';
import { exposureProblems, exposureStrategy } from '../federation/exposure.js';
import { waitFor, type Look } from '../kubernetes/wait.js';
import { compareBundles, parseBundle } from '../spire/bundle.js';
import { fetchBundleEndpoint } from '../spire/endpoint.js';
import type { SpireServer } from '../spire/server.js';
import { readServerConf } from '../spire/serverConf.js';
import type { Clusters, OpenCluster } from './clusters.js';
import { endpointIdentity } from './endpoint.js';
import { readExposure } from './exposureFacts.js';
import { readServerConfMap } from './server.js';

/** Looking at what only SPIRE server, its endpoint and whoever exposes it can tell. */
export function observeActivities(clusters: Clusters) {
  return {
    /** @throws FederatorError TimedOut with the reason when no address is assigned in time, e.g. a Route is not admitted */
    async awaitEndpointUrl({ cluster, timeoutMs }: EndpointUrlRequest): Promise<string> {
      const { connection } = await clusters.get(cluster);
      return waitFor(
        async (): Promise<Look<string>> => {
          const { context, objects } = await readExposure(connection);
          const url = exposureStrategy(context.exposure.type).endpointUrl(context, objects);
          const problems = exposureProblems(context, objects);
          if (url !== undefined && problems.length === 0) return { done: true, value: url };
          return { done: false, seen: problems.join('; ') || 'no address is assigned' };
        },
        {
          what: `${cluster}: the bundle endpoint has an address`,
          timeoutMs,
          signal: Context.current().cancellationSignal,
        },
      );
    },

    async observe({ cluster, endpointUrl, peers }: ObserveRequest): Promise<Observation> {
      const open = await clusters.get(cluster);
      const { connection, spire } = open;
      const signal = Context.current().cancellationSignal;
      const [endpointProblem, counts] = await Promise.all([
        endpointUrl === undefined
          ? 'it has no address'
          : clusters.read().then(async ({ httpsProxy }) => {
              const [own, { text }] = await Promise.all([spire.bundle(signal), readServerConfMap(connection)]);
              return lastingEndpointProblem(
                open,
                { url: endpointUrl, conf: readServerConf(text), own, httpsProxy },
                signal,
              );
            }),
        countFederated(spire, peers, signal),
      ]);
      return {
        federatedEntries: counts,
        ...(endpointProblem === undefined ? {} : { endpointProblem }),
      };
    },
  };
}

/** Registration entries that federate with each peer: of all entries at once, as one command per peer costs more. */
async function countFederated(
  spire: SpireServer,
  peers: readonly string[],
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const entries = peers.length === 0 ? [] : await spire.entries(undefined, signal);
  const counts = Object.fromEntries(peers.map((peer) => [peer, 0]));
  for (const name of entries.flatMap(({ federatesWith }) => federatesWith)) {
    const peer = name.replace(/^spiffe:\/\//, '');
    if (counts[peer] !== undefined) counts[peer]++;
  }
  return counts;
}

/**
 * How long SPIRE's endpoint may serve what it served before: what it read of its datastore holds for a second
 * (pkg/server/cache/dscache, datastoreCacheExpiry), and its answer takes time.
 */
const ENDPOINT_CACHE_MS = 2_000;

interface EndpointProblem {
  message: string;
  /** IDs of the keys that differ; none where the endpoint could not be read. */
  keys: string[];
}

/** What keeps an endpoint from serving, authenticated, just these keys at this moment; undefined when nothing does. */
export async function endpointDifference(
  cluster: Cluster,
  url: string,
  conf: ServerConf,
  own: string,
  httpsProxy: string | undefined,
): Promise<EndpointProblem | undefined> {
  try {
    const served = await fetchBundleEndpoint({
      cluster: cluster.name,
      url,
      identity: await endpointIdentity(cluster, conf, own),
      httpsProxy,
    });
    const { equal, missing, extra } = compareBundles(parseBundle(served), parseBundle(own));
    if (equal) return undefined;
    return {
      message: `${url} lacks ${missing.length} of the server's keys and serves ${extra.length} others`,
      keys: [...missing, ...extra].map(({ id }) => id),
    };
  } catch (error) {
    if (error instanceof FederatorError) return { message: error.message, keys: [] };
    throw error;
  }
}

/**
 * The same, but of keys only what lasts: a server that rotates its CA just now has a key that its endpoint does not serve
 * yet, and is not to be restarted for that.
 */
export async function lastingEndpointProblem(
  { connection: { cluster }, spire }: OpenCluster,
  endpoint: { url: string; conf: ServerConf; own: string; httpsProxy: string | undefined },
  signal: AbortSignal,
): Promise<string | undefined> {
  const { url, conf, own, httpsProxy } = endpoint;
  const first = await endpointDifference(cluster, url, conf, own, httpsProxy);
  if (first === undefined || first.keys.length === 0) return first?.message;
  await delay(ENDPOINT_CACHE_MS, undefined, { signal });
  const second = await endpointDifference(cluster, url, conf, await spire.bundle(signal), httpsProxy);
  const isSame = second?.keys.length === 0 || second?.keys.some((key) => first.keys.includes(key)) === true;
  return isSame ? second?.message : undefined;
}
