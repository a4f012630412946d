import { createHash } from 'node:crypto';
import { Context } from '@temporalio/activity';
import type { ReadClusterRequest, RefreshEdgesRequest } from '../contract/activities.js';
import { FederatorError, type FederatorErrorType } from '../contract/errors.js';
import type { ClusterReading, EdgeRefresh, Stopped, StoredBundle } from '../contract/health.js';
import type { ExposureFacts } from '../contract/facts.js';
import type { Cluster } from '../contract/inventory.js';
import type { KubernetesObject } from '../contract/kubernetes.js';
import { BUNDLE_ENDPOINT_OBJECT, DEFAULT_REFRESH_HINT_SECONDS } from '../contract/names.js';
import { durationSeconds, type ServerConf } from '../contract/serverConf.js';
import { configDigest } from '../federation/configDigest.js';
import { EXPOSING_KINDS, neededExposure } from '../federation/exposingKinds.js';
import { exposureStrategy } from '../federation/exposure.js';
import { classifyPollError, silenceLimitMs } from '../federation/freshness.js';
import { exposureContext } from '../federation/plan.js';
import { CLUSTER_SPIFFE_ID } from '../federation/policy.js';
import { CFTD } from '../federation/relationship.js';
import { clockAheadMs } from '../kubernetes/clock.js';
import { eachLimited } from '../kubernetes/limit.js';
import { readLog } from '../kubernetes/log.js';
import type { ListReference } from '../kubernetes/objects.js';
import type { Pod, StatefulSet } from '../kubernetes/rollout.js';
import { isReady } from '../kubernetes/rollout.js';
import { keysFingerprint, parseBundle, requireOwnBundle, rotationTimes, type TrustBundle } from '../spire/bundle.js';
import { serverTarget, type SpireServer } from '../spire/server.js';
import { readServerConf } from '../spire/serverConf.js';
import type { Clusters, OpenCluster } from './clusters.js';
import { resolveExposure } from './exposureFacts.js';
import { lastingEndpointProblem } from './observe.js';
import { readPolls, wholeLogSince } from './polls.js';
import { serverConfIn } from './server.js';
import { isCrashLooping, whyDown } from './serverDown.js';

/** A log that says more than this in some minutes is read from its end only. */
const LOG_LINES = 5_000;
/** Fetches on demand at once in one pod. */
const REFRESHES_AT_ONCE = 4;
/** What is wrong on the way to a SPIRE server, and not on the way from there to its peer. */
const SAYS_NOTHING: ReadonlySet<FederatorErrorType> = new Set([
  'ClusterUnreachable',
  'KubernetesUnavailable',
  'Unauthorized',
  'Forbidden',
  'SpireUnavailable',
]);

/** One look at one cluster, as often as a round of the monitor comes: cheap, and always with an answer. */
export function readingActivities(clusters: Clusters) {
  return {
    /**
     * Reads what a cluster's edges are judged by: two or three commands in SPIRE server's pod and its log; all objects come from
     * watches. What keeps it from reading is part of the answer, not an error.
     */
    async readCluster(request: ReadClusterRequest): Promise<ClusterReading> {
      const readAt = Date.now();
      const { cluster } = request;
      const signal = AbortSignal.any([Context.current().cancellationSignal, AbortSignal.timeout(request.timeoutMs)]);
      try {
        return { cluster, readAt, ...(await readServer(clusters, request, readAt, signal)) };
      } catch (error) {
        if (Context.current().cancellationSignal.aborted) throw error;
        const known =
          error instanceof FederatorError
            ? error
            : new FederatorError('ClusterUnreachable', `${cluster}: no answer in ${request.timeoutMs / 1000} s.`);
        if (!(error instanceof FederatorError) && !signal.aborted) throw error;
        const { type, message } = known;
        return { cluster, readAt, serverDown: type === 'SpireUnavailable', problem: { type, message } };
      }
    },

    /** Makes a SPIRE server fetch bundles now. What fails is part of the answer. */
    async refreshEdges({
      cluster,
      trustDomains,
      timeoutMs,
    }: RefreshEdgesRequest): Promise<Record<string, EdgeRefresh>> {
      const { spire } = await clusters.get(cluster);
      const { cancellationSignal } = Context.current();
      const outcomes = await eachLimited(trustDomains, REFRESHES_AT_ONCE, async (trustDomain): Promise<EdgeRefresh> => {
        const began = Date.now();
        const ended = () => ({ at: Date.now(), tookMs: Date.now() - began });
        try {
          await spire.refresh(trustDomain, cancellationSignal, timeoutMs);
          return { ...ended(), ok: true };
        } catch (error) {
          if (!(error instanceof FederatorError)) throw error;
          const { type, message } = error;
          // Of a cluster that cannot be asked, nothing is known of what it would have fetched.
          if (SAYS_NOTHING.has(type)) throw error;
          const cause = type === 'NotReady' ? 'relationshipMissing' : classifyPollError(message);
          return { ...ended(), ok: false, cause, message };
        }
      });
      const stored = await spire.storedBundles(cancellationSignal);
      return Object.fromEntries(
        trustDomains.map((trustDomain, index) => {
          const bundle = stored.get(trustDomain);
          return [
            trustDomain,
            { ...outcomes[index], ...(bundle === undefined ? {} : { stored: keysFingerprint(bundle) }) },
          ];
        }),
      ) as Record<string, EdgeRefresh>;
    },
  };
}

async function readServer(
  clusters: Clusters,
  request: ReadClusterRequest,
  readAt: number,
  signal: AbortSignal,
): Promise<Omit<ClusterReading, 'cluster' | 'readAt'>> {
  const open = await clusters.get(request.cluster);
  const { connection, spire } = open;
  const exposure = await exposureOf(open);
  const objects = await within(signal, readConfiguration(open, exposure));
  const pod = objects.find(({ kind }) => kind === 'Pod') as Pod | undefined;
  const name = `${connection.cluster.server}-0`;
  if (pod === undefined || !isReady(pod)) {
    const set = objects.find(({ kind }) => kind === 'StatefulSet') as StatefulSet | undefined;
    const stopped = whyStopped(connection.cluster, set);
    const why = stopped?.why ?? (pod === undefined ? `there is no pod ${name}` : await whyDown(connection, pod));
    return {
      serverDown: true,
      ...(stopped === undefined ? {} : { stopped }),
      ...(pod !== undefined && isCrashLooping(pod, connection.cluster.server) ? { crashLoop: why } : {}),
      problem: { type: 'SpireUnavailable', message: `${request.cluster}: SPIRE server is not running: ${why}.` },
    };
  }
  const logSeconds = request.logSeconds ?? Math.ceil((silenceLimitMs(request.pollIntervalMs) + 10_000) / 1000);
  const [{ own, stored, agents }, log, { httpsProxy }] = await Promise.all([
    askServer(spire, request, signal),
    readLog(connection, serverTarget(connection), {
      tailLines: LOG_LINES,
      sinceSeconds: logSeconds,
    }),
    clusters.read(),
  ]);
  const logAskedSince = Date.now() - logSeconds * 1000;
  const bundle = parseBundle(own);
  const { text } = serverConfIn(
    connection.cluster,
    objects.find(({ kind }) => kind === 'ConfigMap'),
  );
  const configured = objects.filter(({ kind }) => kind !== 'Pod');
  const { storedBundles, storedDigest } = summarize(stored);
  const endpoint = readEndpoint(open, objects, text, exposure);
  requireOwnBundle(request.cluster, endpoint.conf.trustDomain, own);
  const endpointProblem =
    endpoint.url === undefined
      ? endpoint.problem
      : await within(signal, lastingEndpointProblem(open, { ...endpoint, url: endpoint.url, own, httpsProxy }, signal));
  const startedAt = containerStart(pod, connection.cluster.server);
  const aheadMs = clockAheadMs(connection);
  const { lastPolls, ...polled } = readPolls(log, storedBundles, request.pollIntervalMs, {
    readAt,
    startedAt,
    aheadMs,
    wholeSince: wholeLogSince(log, LOG_LINES, logAskedSince, aheadMs),
  });
  const rotation = rotationTimes(bundle);
  return {
    serverDown: false,
    server: {
      trustDomain: endpoint.conf.trustDomain,
      ownFingerprint: keysFingerprint(bundle),
      ...(rotation === undefined ? {} : { caExpiresAt: rotation.expiresAt, caRotatesAt: rotation.rotatesAt }),
      storedDigest,
      ...(storedDigest === request.knownStored ? {} : { stored: storedBundles }),
      ...polled,
      ...(request.logSeconds === undefined ? {} : { lastPolls }),
      startedAt,
      ...(aheadMs === 0 ? {} : { clockAheadMs: aheadMs }),
      ...(endpointProblem === undefined ? {} : { endpointProblem }),
      ...(endpoint.url === undefined ? {} : { endpointUrl: endpoint.url }),
      configDigest: configDigest(configured, text),
      refreshHintSeconds: endpoint.refreshHintSeconds,
      ...(agents === undefined ? {} : { agents }),
    },
  };
}

/**
 * One command after the other: each is a process in the container of a server that has other work, and what two at once
 * would gain is a fraction of a second.
 */
async function askServer(spire: SpireServer, { withAgents }: ReadClusterRequest, signal: AbortSignal) {
  const own = await spire.bundle(signal);
  const stored = await spire.storedBundles(signal);
  return { own, stored, agents: withAgents ? await spire.agents(signal) : undefined };
}

/** How the endpoint is exposed changes when the inventory does, or an operator leaves the cluster or comes to it. */
const EXPOSURE_HOLDS_MS = 30 * 60_000;
const exposures = new WeakMap<OpenCluster, { readAt: number; exposure: Promise<ExposureFacts> }>();

function exposureOf(open: OpenCluster): Promise<ExposureFacts> {
  const known = exposures.get(open);
  if (known !== undefined && Date.now() - known.readAt < EXPOSURE_HOLDS_MS) return known.exposure;
  const exposure = resolveExposure(open.connection);
  exposures.set(open, { readAt: Date.now(), exposure });
  exposure.catch(() => exposures.delete(open));
  return exposure;
}

/** Every object that the engine configures or depends on, from watches. */
async function readConfiguration(
  { connection, watches }: OpenCluster,
  exposure: ExposureFacts,
): Promise<KubernetesObject[]> {
  const { namespace, server } = connection.cluster;
  const endpoint = { namespace, name: BUNDLE_ENDPOINT_OBJECT };
  const references: ListReference[] = [
    CFTD,
    CLUSTER_SPIFFE_ID,
    { apiVersion: 'v1', kind: 'ConfigMap', namespace, name: server },
    { apiVersion: 'apps/v1', kind: 'StatefulSet', namespace, name: server },
    { apiVersion: 'v1', kind: 'Pod', namespace, name: `${server}-0` },
    { apiVersion: 'v1', kind: 'Service', ...endpoint },
    ...EXPOSING_KINDS.filter((each) => each.exposure === neededExposure(exposure)).map(({ apiVersion, kind }) => ({
      apiVersion,
      kind,
      ...endpoint,
    })),
  ];
  return (await Promise.all(references.map((reference) => watches.read(reference)))).flat();
}

interface EndpointReading {
  conf: ServerConf;
  refreshHintSeconds: number;
  url?: string;
  problem?: string;
}

function readEndpoint(
  { connection }: OpenCluster,
  objects: readonly KubernetesObject[],
  text: string,
  exposure: ExposureFacts,
): EndpointReading {
  const conf = readServerConf(text);
  const set = objects.find(({ kind }) => kind === 'StatefulSet') as StatefulSet | undefined;
  const context = exposureContext({
    namespace: connection.cluster.namespace,
    selector: set?.spec.selector.matchLabels ?? {},
    serverConf: conf,
    exposure,
    trustDomain: conf.trustDomain,
  });
  const url = exposureStrategy(exposure.type).endpointUrl(context, objects);
  return {
    conf,
    refreshHintSeconds: durationSeconds(conf.bundleEndpoint?.refreshHint) ?? DEFAULT_REFRESH_HINT_SECONDS,
    ...(url === undefined ? { problem: 'the bundle endpoint has no address' } : { url }),
  };
}

interface StoredSummary {
  storedBundles: Record<string, StoredBundle>;
  storedDigest: string;
}

const summaries = new WeakMap<ReadonlyMap<string, TrustBundle>, StoredSummary>();

/** What is told of stored bundles; the same for the same map, which is what a reading gets where nothing has changed. */
function summarize(bundles: ReadonlyMap<string, TrustBundle>): StoredSummary {
  const known = summaries.get(bundles);
  if (known !== undefined) return known;
  const storedBundles = Object.fromEntries(
    [...bundles]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([trustDomain, bundle]) => [
        trustDomain,
        { fingerprint: keysFingerprint(bundle), refreshHintSeconds: bundle.refreshHintSeconds ?? 0 },
      ]),
  );
  const storedDigest = createHash('sha256').update(JSON.stringify(storedBundles)).digest('hex').slice(0, 16);
  const summary = { storedBundles, storedDigest };
  summaries.set(bundles, summary);
  return summary;
}

/** A pod that is away may come back; one that nobody wants to run does not. */
function whyStopped({ namespace, server }: Cluster, set: StatefulSet | undefined): Stopped | undefined {
  if (set === undefined) {
    return {
      why: `there is no StatefulSet ${server} in namespace ${namespace}`,
      remedy: `Somebody deleted it: deploy SPIRE server again as it was, with its volume. See what is left: kubectl -n ${namespace} get statefulsets,persistentvolumeclaims`,
    };
  }
  if (set.spec.replicas !== 0) return undefined;
  return {
    why: `StatefulSet ${server} is scaled to 0`,
    remedy: `kubectl -n ${namespace} scale statefulset ${server} --replicas=1`,
  };
}

function containerStart(pod: Pod, container: string): number {
  const status = pod.status?.containerStatuses?.find(({ name }) => name === container);
  const startedAt: unknown = status?.state?.running?.startedAt;
  return typeof startedAt === 'string' ? Date.parse(startedAt) : 0;
}

/** Work whose outcome nobody waits for longer than the signal allows. */
async function within<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  signal.throwIfAborted();
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
