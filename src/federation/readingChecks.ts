import type { ClusterReading, EdgeCause, EdgeRefresh, ServerReading } from '../contract/health.js';
import { edgeName } from '../contract/names.js';
import type { Check } from '../contract/verify.js';
import { checker } from './check.js';
import { clockFindings } from './clocks.js';
import { serverFinding } from './edgeFinding.js';
import { fetchAdvice, lagLimitMs, peerIntervalMs, silenceLimitMs } from './freshness.js';

/** SPIRE has the next CA ready for this share of a CA's lifetime before it signs with it: from one half to five sixths. */
const SIXTHS_READY = 2;
/** A peer must get this many regular chances to fetch the next CA: one poll may fail. */
const CHANCES = 2;

/** A member by its cluster and its trust domain. */
export interface ReadMember {
  cluster: string;
  trustDomain: string;
}

/** What is judged by is read once per cluster. Times are milliseconds since the Unix epoch. */
export interface ReadingEvidence {
  now: number;
  pollIntervalMs: number;
  readings: readonly ClusterReading[];
}

/** What SPIRE servers' own logs, polls and CAs say; the configuration is looked at elsewhere. Pure. */
export function readingChecks(
  { now, pollIntervalMs, readings }: ReadingEvidence,
  edges: readonly { trusting: ReadMember; trusted: ReadMember }[],
): Check[] {
  const servers = new Map(readings.flatMap(({ cluster, server }) => (server === undefined ? [] : [[cluster, server]])));
  return [
    ...readings.flatMap((reading) => serverChecks(reading, now, pollIntervalMs)),
    ...clockChecks(servers),
    ...edges.flatMap(({ trusting, trusted }) => {
      const server = servers.get(trusting.cluster);
      return server === undefined ? [] : edgeChecks(server, trusting, trusted, now, pollIntervalMs);
    }),
  ];
}

/** A reading after fetches on demand, which are newer than what the log says of polls. Pure. */
export function afterFetches(reading: ClusterReading, fetches: Readonly<Record<string, EdgeRefresh>>): ClusterReading {
  const { server } = reading;
  if (server === undefined) return reading;
  const pollErrors = { ...server.pollErrors };
  const lastPolls = { ...server.lastPolls };
  for (const [trustDomain, { ok, at, cause = 'endpointUnreachable', message = '' }] of Object.entries(fetches)) {
    if (ok) {
      lastPolls[trustDomain] = at;
      Reflect.deleteProperty(pollErrors, trustDomain);
    } else pollErrors[trustDomain] = { at, cause, message };
  }
  return { ...reading, server: { ...server, pollErrors, lastPolls } };
}

function serverChecks(
  { cluster, server, serverDown, problem, ...down }: ClusterReading,
  now: number,
  interval: number,
) {
  if (server !== undefined) return caCheck(cluster, server, now, interval);
  if (!serverDown) return [];
  const { check, evidence, remedy } = serverFinding(cluster, problem?.message ?? 'it does not run', down);
  return [checker(cluster)(check, 'failed', evidence, remedy)];
}

/** Whether the members' clocks agree well enough for certificates to be valid everywhere as soon as they are issued. */
function clockChecks(servers: ReadonlyMap<string, ServerReading>): Check[] {
  const ahead = [...servers].map(([cluster, { clockAheadMs = 0 }]) => [cluster, clockAheadMs] as const);
  const found = new Map(clockFindings(Object.fromEntries(ahead)).map((finding) => [finding.scope, finding]));
  return ahead.map(([cluster]) => {
    const check = checker(cluster);
    const finding = found.get(cluster);
    return finding === undefined
      ? check('clock', 'ok', "its clock agrees with the others'")
      : check('clock', 'failed', finding.evidence, finding.remedy);
  });
}

/** Whether SPIRE puts the next CA to use in time, and leaves its peers the time to learn of it. */
function caCheck(cluster: string, { caExpiresAt, caRotatesAt }: ServerReading, now: number, interval: number): Check[] {
  if (caExpiresAt === undefined || caRotatesAt === undefined) return [];
  const check = checker(cluster);
  const [expires, rotates] = [Date.parse(caExpiresAt), Date.parse(caRotatesAt)];
  if (now > rotates) {
    return [
      check(
        'ca-horizon',
        'failed',
        `SPIRE server's newest CA ${now > expires ? 'expired' : 'expires'} at ${caExpiresAt}, and the next one, due at ${caRotatesAt}, is not there`,
        'Read the log of SPIRE server for why it cannot make its next CA (upstream authority, key manager, disk), before every SVID of this cluster expires.',
      ),
    ];
  }
  const readyMs = (expires - rotates) * SIXTHS_READY;
  if (readyMs < CHANCES * interval) {
    return [
      check(
        'ca-horizon',
        'warning',
        `SPIRE server's CA expires at ${caExpiresAt}; the next one is ready for ${seconds(readyMs)} s before it is used, while peers poll every ${seconds(interval)} s`,
        'Raise ca_ttl, or lower the refresh hint of the federation: a peer that misses the next CA refuses this cluster once it is used.',
      ),
    ];
  }
  return [
    check('ca-horizon', 'ok', `the newest CA expires at ${caExpiresAt}, the next one is used from ${caRotatesAt}`),
  ];
}

function edgeChecks(
  { pollErrors, silent, untold = [], stored = {}, lastPolls = {}, polls, startedAt, clockAheadMs = 0 }: ServerReading,
  trusting: ReadMember,
  trusted: ReadMember,
  now: number,
  interval: number,
): Check[] {
  const check = checker(edgeName(trusting.cluster, trusted.cluster));
  const { trustDomain } = trusted;
  const lastPoll = lastPolls[trustDomain];
  const age = lastPoll === undefined ? undefined : now - lastPoll;
  const error = pollErrors[trustDomain];
  const bundle = stored[trustDomain];
  // A fetch on demand is no regular poll: of a poller that is silent, only the log tells since when. Where that never
  // showed a poll of this process, its silence says nothing.
  const logged = silent[trustDomain] === undefined ? (lastPoll ?? error?.at) : silent[trustDomain] || undefined;
  const quietSince = logged ?? (polls > 0 && !untold.includes(trustDomain) ? startedAt - clockAheadMs : undefined);
  const quietMs = quietSince === undefined || bundle === undefined ? 0 : now - quietSince;
  const polledMs = peerIntervalMs(interval, bundle?.refreshHintSeconds);
  const limit = silenceLimitMs(polledMs);
  // What fails just now is the way, and not the poller; an authority that is unknown stays so.
  const mayBeOver = error?.cause === 'endpointUnreachable' && now - error.at > limit;
  const stalled = quietMs > limit && (error === undefined || mayBeOver);
  const checks: Check[] = [];
  if (!stalled && error !== undefined && NAMED[error.cause] !== undefined) {
    // One poll may fail: the next one comes soon.
    const passing = error.cause === 'endpointUnreachable' && age !== undefined && age <= lagLimitMs(interval);
    checks.push(
      check(
        error.cause,
        passing ? 'warning' : 'failed',
        `the newest poll of ${trustDomain} failed ${seconds(now - error.at)} s ago: ${error.message}${age === undefined ? '' : `; the newest that worked was ${seconds(age)} s ago`}`,
        fetchAdvice(error.message) ?? NAMED[error.cause],
      ),
    );
  }
  if (bundle?.refreshHintSeconds === 0) {
    checks.push(
      check(
        'refresh-hint',
        'warning',
        `the stored bundle of ${trustDomain} has no refresh hint: SPIRE polls next after a fortieth of its CA's lifetime, not after ${seconds(interval)} s`,
        `Have it fetched now, in SPIRE server's pod of ${trusting.cluster}: ./spire-server federation refresh -id spiffe://${trustDomain}. If no regular poll follows, restart that server.`,
      ),
    );
  }
  if (stalled) {
    const failed = error === undefined ? '' : `; the newest failed: ${error.message}`;
    checks.push(
      check(
        'pollerStalled',
        'failed',
        `no poll of ${trustDomain} for ${seconds(quietMs)} s, neither a good one nor a failed one, where one is due every ${seconds(polledMs)} s${failed}`,
        `Look whether ${trusted.cluster} answers ${trusting.cluster} at all: a peer that accepts and never answers wedges the poller. Then restart SPIRE server of ${trusting.cluster}.`,
      ),
    );
  } else if (error === undefined && bundle !== undefined && quietSince !== undefined) {
    checks.push(check('pollerStalled', 'ok', `the newest poll of ${trustDomain} was ${seconds(quietMs)} s ago`));
  }
  return checks;
}

/** Failed polls that are named by their cause; others are told by the stored bundle and by the relationship. */
const NAMED: Readonly<Partial<Record<EdgeCause, string>>> = {
  endpointUnreachable:
    'Look at the way from one cluster to the other: DNS, router, firewall, network policy, proxy. The checks of the peer tell whether its endpoint serves at all.',
  unknownAuthority:
    'The stored bundle lost the CA of the peer, which SPIRE never mends by itself: have the bundles exchanged anew (diagnose --fix, or setupMesh again).',
  certificateTime: 'Set the clocks of both clusters right, and see that the endpoint’s certificate is renewed in time.',
  webCertificate:
    'See that the certificate of the endpoint is valid, for its host, and of an authority that SPIRE trusts.',
  wrongProfile: 'Restart SPIRE server of the trusting side, which does not ask as it is configured (diagnose --fix).',
};

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1000));
}
