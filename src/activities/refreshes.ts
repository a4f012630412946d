import { Context } from '@temporalio/activity';
import { setTimeout as delay } from 'node:timers/promises';
import { FederatorError } from '../contract/errors.js';
import type { FollowRefreshesRequest, LogCursor, LoggedPoll, RefreshWindow } from '../contract/rotation.js';
import { podReason, readPod, type Pod } from '../kubernetes/rollout.js';
import { linesOf, openStream } from '../kubernetes/stream.js';
import { keysFingerprint, parseBundle } from '../spire/bundle.js';
import { parsePollLine } from '../spire/pollLog.js';
import { serverTarget } from '../spire/server.js';
import type { Clusters, OpenCluster } from './clusters.js';

/** A pod that is not there is looked for again after this. */
const LOOK_AGAIN_MS = 2_000;
const ERROR_LENGTH = 300;

/** Following the logs of SPIRE servers for what they say of their polls. */
export function refreshActivities(clusters: Clusters) {
  return {
    /**
     * Follows a SPIRE server's log for a while, from where the cursor says, and reads which keys it holds then. Ends
     * early when the log does. Starting again from the same cursor gives the same lines again, and the newer ones.
     * What keeps it from reading is part of the answer, not an error.
     */
    async followRefreshes(request: FollowRefreshesRequest): Promise<RefreshWindow> {
      const { cancellationSignal } = Context.current();
      try {
        return await follow(await clusters.get(request.cluster), request, cancellationSignal);
      } catch (error) {
        if (cancellationSignal.aborted || !(error instanceof FederatorError)) throw error;
        await delay(LOOK_AGAIN_MS, undefined, { signal: cancellationSignal });
        return unread(request, error.message);
      }
    },
  };
}

async function follow(
  open: OpenCluster,
  request: FollowRefreshesRequest,
  cancelled: AbortSignal,
): Promise<RefreshWindow> {
  const { connection, spire } = open;
  const { cluster, trustDomains, windowMs, cursor, since } = request;
  const target = serverTarget(connection);
  const pod = await readPod(connection, target.namespace, target.pod);
  const status = pod?.status?.containerStatuses?.find(({ name }) => name === target.container);
  const started: unknown = status?.state?.running?.startedAt;
  if (pod === undefined || typeof started !== 'string') {
    await delay(LOOK_AGAIN_MS, undefined, { signal: cancelled });
    const why = pod === undefined ? `there is no pod ${target.pod}` : podReason(target.pod, pod);
    return unread(request, `${cluster}: SPIRE server is not running: ${why}.`);
  }
  const startedAt = Date.parse(started);
  const known = cursor?.podUid === pod.metadata.uid ? cursor : undefined;
  const polls: LoggedPoll[] = [];
  const take = (line: string) => {
    const poll = parsePollLine(line);
    if (poll === undefined || (poll.kind !== 'refreshed' && poll.kind !== 'failed')) return;
    const { at, trustDomain, kind, error } = poll;
    if (!trustDomains.includes(trustDomain)) return;
    const words = error === undefined ? {} : { error: error.slice(0, ERROR_LENGTH) };
    polls.push({ at, trustDomain, ok: kind === 'refreshed', ...words });
  };
  // By the log's own clock where there is something to go on from; the same second may hold more lines.
  const from =
    known?.readTo !== undefined
      ? { sinceTime: new Date(Math.floor(known.readTo / 1000) * 1000).toISOString() }
      : { sinceSeconds: String(Math.max(1, Math.ceil((Date.now() - since) / 1000))) };
  const path = `/api/v1/namespaces/${target.namespace}/pods/${target.pod}/log`;
  const log = { path, attempt: `follow the log of pod ${target.pod}` };
  // A container that was started again in its pod left a log of its own.
  if (known !== undefined && startedAt > (known.readTo ?? since) && (status?.restartCount ?? 0) > 0) {
    await readPrevious(open, { ...log, query: { container: target.container, ...from } }, take, cancelled);
  }
  const window = AbortSignal.timeout(windowMs);
  const signal = AbortSignal.any([cancelled, window]);
  let ended = false;
  try {
    const stream = await openStream(
      connection,
      { ...log, query: { container: target.container, follow: 'true', ...from } },
      signal,
    );
    for await (const line of linesOf(stream)) take(line);
    ended = true;
  } catch (error) {
    cancelled.throwIfAborted();
    // A connection that broke is opened again by the next window, which goes on where this one stopped.
    if (!window.aborted && error instanceof FederatorError) throw error;
  }
  const gap = lost(cursor, pod, startedAt);
  return {
    cluster,
    polls,
    startedAt,
    cursor: nextCursor(request, pod, polls, ended),
    ...(gap === undefined ? {} : { gap }),
    ...(await keys(spire, cancelled)),
  };
}

async function readPrevious(
  { connection }: OpenCluster,
  log: { path: string; attempt: string; query: Record<string, string> },
  take: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    const stream = await openStream(connection, { ...log, query: { ...log.query, previous: 'true' } }, signal);
    for await (const line of linesOf(stream)) take(line);
  } catch (error) {
    // Kubernetes may have removed it already: the count lacks what it said, as after a pod that is gone.
    if (!(error instanceof FederatorError)) throw error;
  }
}

/** Lines that nobody can read any more: the pod was replaced before its log was followed to its end. */
function lost(cursor: LogCursor | undefined, pod: Pod, startedAt: number): RefreshWindow['gap'] {
  if (cursor?.readTo === undefined || cursor.ended || cursor.podUid === pod.metadata.uid) return undefined;
  return { from: cursor.readTo, to: startedAt };
}

function nextCursor(
  { cursor, trustDomains }: FollowRefreshesRequest,
  pod: Pod,
  polls: readonly LoggedPoll[],
  ended: boolean,
): LogCursor {
  const podUid = pod.metadata.uid ?? '';
  const before = cursor?.podUid === podUid ? cursor.readTo : undefined;
  const times = polls.filter(({ trustDomain }) => trustDomains.includes(trustDomain)).map(({ at }) => at);
  const readTo = Math.max(before ?? 0, ...times);
  return { podUid, ended, ...(readTo === 0 ? {} : { readTo }) };
}

/** What it holds, which the log cannot tell for sure. */
async function keys(
  spire: OpenCluster['spire'],
  signal: AbortSignal,
): Promise<Pick<RefreshWindow, 'own' | 'stored' | 'problem'>> {
  try {
    const [own, stored] = await Promise.all([spire.bundle(signal), spire.storedBundles(signal)]);
    return {
      own: keysFingerprint(parseBundle(own)),
      stored: Object.fromEntries([...stored].map(([trustDomain, bundle]) => [trustDomain, keysFingerprint(bundle)])),
    };
  } catch (error) {
    if (signal.aborted || !(error instanceof FederatorError)) throw error;
    return { problem: error.message };
  }
}

function unread({ cluster, cursor }: FollowRefreshesRequest, problem: string): RefreshWindow {
  return { cluster, polls: [], problem, ...(cursor === undefined ? {} : { cursor }) };
}
