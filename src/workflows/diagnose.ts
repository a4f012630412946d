import { ApplicationFailure, sleep } from '@temporalio/workflow';
import type { DiagnosedCheck, DiagnoseInput, Diagnosis } from '../contract/diagnosis.js';
import type { ClusterFacts } from '../contract/facts.js';
import type { ClusterReading, EdgeRefresh } from '../contract/health.js';
import { worstVerdict } from '../contract/verify.js';
import type { WorkloadReference } from '../contract/workload.js';
import { boundedChecks } from '../federation/check.js';
import { diagnoseFederation, diagnoseThoroughly } from '../federation/diagnosis.js';
import { pollIntervalMs } from '../federation/freshness.js';
import { policiesOf } from '../federation/policy.js';
import { afterFetches, type ReadingEvidence } from '../federation/readingChecks.js';
import { federationSettings, hubAmong } from '../federation/settings.js';
import type { MemberObservation } from '../federation/verify.js';
import { workloadChecks } from '../federation/workloadChecks.js';
import { readCluster, refreshEdges } from './activities.js';
import { askMembers } from './members.js';
import { showWorkload } from './showWorkload.js';
import { observeMembers, possibleMembers } from './verify.js';

const DIAGNOSE = { id: 'diagnose', title: 'Diagnose' };
const ATTEMPTS = 3;
/** How long one cluster may take to be read. */
const READING_MS = 20_000;
/** A fetch of one bundle may take this long. */
const REFRESH_MS = 10_000;
/** A fetch that fails is tried so often. */
const FETCHES = 6;
const FETCH_PAUSE_MS = 2_000;
/** So far back a poll is looked for in SPIRE server's log. */
const LOG_SECONDS = 3600;

/** A thorough look at a federation, which changes nothing: all checks, and what has to be done about those that failed. */
export async function diagnose({
  federation,
  clusters,
  unread = [],
  readings = false,
  onlyWrong = false,
  retryPolls = false,
  policies = [],
  members: remembered = [],
  workload,
  ...told
}: DiagnoseInput): Promise<Diagnosis> {
  const known = clusters.length > 0 ? [...clusters] : await possibleMembers(federation);
  const observed = await observeMembers(DIAGNOSE, federation, known, unread, remembered);
  const members = clusters.length > 0 ? observed : [...observed, ...(await forgottenMembers(federation, observed))];
  const facts = members.flatMap((member) => member.facts ?? []);
  const { refreshHintSeconds } = federationSettings(federation, facts);
  const hub = hubAmong(federation, members, told) || undefined;
  const interval = pollIntervalMs(refreshHintSeconds);
  const all = readings
    ? diagnoseThoroughly(federation, members, await readAll(federation, members, interval, retryPolls), told)
    : diagnoseFederation(federation, members, policies, told);
  const { checks, findings } = workload === undefined ? all : await ofWorkload(workload, members, all.checks);
  return {
    federation,
    clusters: members.map(({ cluster }) => cluster),
    verdict: worstVerdict(checks),
    checks: onlyWrong ? checks.filter(({ verdict }) => verdict !== 'ok') : boundedChecks(federation, checks),
    findings,
    members: members.map((member) => ({ cluster: member.cluster, ...addressOf(federation, member.facts, facts) })),
    policies: policiesOf(federation, facts, policies),
    ...(hub === undefined ? {} : { hub }),
  };
}

/** Only what is about one workload. Its remedies take a person. */
async function ofWorkload(
  workload: WorkloadReference,
  members: readonly MemberObservation[],
  checks: readonly DiagnosedCheck[],
): Promise<Pick<Diagnosis, 'checks' | 'findings'>> {
  const clusters = members.map(({ cluster }) => cluster);
  const shown = await showWorkload({ workload, clusters, peers: clusters });
  if (shown.reports.length === 0 && shown.unknown.length === 0) {
    throw ApplicationFailure.nonRetryable(
      `There is no such workload on ${clusters.join(', ')}. A pod is named <namespace>/<pod>.`,
      'NotFound',
    );
  }
  return { checks: workloadChecks(shown, checks), findings: [] };
}

/** Where what exposes an endpoint is gone, its peers know the address that it had. */
function addressOf(
  federation: string,
  facts: ClusterFacts | undefined,
  all: readonly ClusterFacts[],
): { trustDomain?: string; endpointUrl?: string } {
  if (facts === undefined) return {};
  const { trustDomain } = facts;
  const known = all
    .flatMap(({ relationships }) => relationships)
    .find((each) => each.federation === federation && each.trustDomain === trustDomain);
  const endpointUrl = facts.endpointUrl ?? known?.bundleEndpointURL;
  return { trustDomain, ...(endpointUrl === undefined ? {} : { endpointUrl }) };
}

/** Clusters that members trust and that have nothing of the federation themselves any more. */
async function forgottenMembers(
  federation: string,
  members: readonly MemberObservation[],
): Promise<MemberObservation[]> {
  const facts = members.flatMap((member) => member.facts ?? []);
  const trusted = facts
    .flatMap(({ relationships }) => relationships)
    .filter((relationship) => relationship.federation === federation)
    .map(({ trustDomain }) => trustDomain);
  const missing = trusted.filter((trustDomain) => !facts.some((each) => each.trustDomain === trustDomain));
  if (missing.length === 0) return [];
  const { others } = await askMembers(federation, ATTEMPTS, { id: 'findForgotten' });
  const observed = await observeMembers(
    { id: 'forgotten', title: 'Look for members that lost everything' },
    federation,
    others.filter((cluster) => !members.some((member) => member.cluster === cluster)),
  );
  return observed.filter((member) => missing.includes(member.facts?.trustDomain ?? ''));
}

async function readAll(
  federation: string,
  members: readonly MemberObservation[],
  interval: number,
  retryPolls: boolean,
): Promise<ReadingEvidence> {
  const readings = await Promise.all(
    members.map(async ({ cluster }) => {
      const reading = await read(federation, cluster, interval);
      const failed = Object.keys(reading.server?.pollErrors ?? {});
      if (!retryPolls || failed.length === 0) return reading;
      return afterFetches(reading, await fetchAgain(federation, cluster, failed));
    }),
  );
  return { now: Date.now(), pollIntervalMs: interval, readings };
}

/** Until all of them are there, for as long as a router takes to learn of an endpoint that was just put back. */
async function fetchAgain(
  federation: string,
  cluster: string,
  trustDomains: string[],
): Promise<Record<string, EdgeRefresh>> {
  const outcomes: Record<string, EdgeRefresh> = {};
  for (let attempt = 1, missing = trustDomains; missing.length > 0 && attempt <= FETCHES; attempt++) {
    if (attempt > 1) await sleep(FETCH_PAUSE_MS);
    const title = `Have ${cluster} fetch the bundles of ${missing.join(', ')} again`;
    const request = { cluster, federation, trustDomains: missing, timeoutMs: REFRESH_MS };
    Object.assign(outcomes, await refreshEdges(title, request));
    missing = missing.filter((trustDomain) => outcomes[trustDomain]?.ok !== true);
  }
  return outcomes;
}

function read(federation: string, cluster: string, interval: number): Promise<ClusterReading> {
  return readCluster(`Read polls and CA of ${cluster}`, {
    cluster,
    federation,
    pollIntervalMs: interval,
    withAgents: false,
    logSeconds: LOG_SECONDS,
    timeoutMs: READING_MS,
  });
}
