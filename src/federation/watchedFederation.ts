import type { Diagnosis } from '../contract/diagnosis.js';
import { isRetryable, type FederatorErrorType } from '../contract/errors.js';
import type { Problem } from '../contract/facts.js';
import {
  findingId,
  type ClusterHealth,
  type ClusterReading,
  type EdgeHealth,
  type EdgeRefresh,
  type EdgeVerdict,
  type FederationHealth,
  type FederationVerdict,
  type Finding,
  type OpenFinding,
  type PollError,
  type RepairCount,
  type RepairRecord,
  type StoredBundle,
} from '../contract/health.js';
import type {
  ClusterState,
  EdgeJudgement,
  EdgeState,
  KnownMember,
  MemberToMend,
  MembershipChange,
  MonitorSettings,
  MonitorState,
  RepairAttempts,
} from '../contract/monitor.js';
import { edgeName } from '../contract/names.js';
import type { Policy } from '../contract/policy.js';
import { carryBundles, restoreBundles, type StoredBundles } from './carriedBundles.js';
import { clockFindings } from './clocks.js';
import { explainsEdge, isExplaining } from './consequences.js';
import { edgeFinding, endpointFinding, serverFinding, UNSERVED, unreadableFinding } from './edgeFinding.js';
import {
  FRESH,
  judgeEdge,
  peerIntervalMs,
  pollDueMs,
  pollIntervalMs,
  restartGraceMs,
  retryAfterMs,
} from './freshness.js';
import {
  coolDownMs,
  isDue,
  MAX_ATTEMPTS,
  MOST_RETURNS,
  mostReturns,
  RETURN_ROUNDS,
  returnsEvidence,
} from './repairPolicy.js';
import { trusts } from './settings.js';

/** Edges that are listed one by one; of more than that, only those that are not fresh. */
const EDGES_LISTED = 400;
/** Findings that are told of and worked on at the same time; the others come up as these are over. */
const FINDINGS_AT_MOST = 300;
/** Stored bundles that are not as expected which one run of the monitor hands to the next; more are simply read again. */
const BUNDLES_CARRIED = 2_000;
/** Edges of which one run tells the next, and how much of SPIRE's words: more would not fit into what a run may be given (2 MB). */
const EDGES_CARRIED = 1_000;
const WORDS_CARRIED = 200;
/** Repairs that are remembered. */
const REPAIRS_KEPT = 50;
/** Fetches on demand per cluster and round: a cluster that is cut off from all others is not flooded. */
const REFRESHES_PER_ROUND = 5;
/** Peers that try at once whether they reach a cluster that looks bad: more of them would tell nothing else. */
const WITNESSES = 3;

/** What keeps a cluster from being asked anything. */
const AWAY: ReadonlySet<FederatorErrorType> = new Set(['ClusterUnreachable', 'KubernetesUnavailable', 'NoWorker']);

/** A ClusterSPIFFEID tells of what was so up to 10 s before (spire-controller-manager: gcInterval), and a bit more. */
const STATISTICS_MS = 12_000;

const NOTHING_READ: EdgeJudgement = { verdict: 'unknown', evidence: 'nothing was read yet', suspicious: false };

interface Edge extends EdgeState {
  judgement: EdgeJudgement;
}

/**
 * What is known of a federation that is watched over: what was read of each cluster, what follows for each edge, and
 * what is being done about it. Pure: it is told the time, and asks nobody.
 */
export class WatchedFederation {
  private readonly clusters = new Map<string, ClusterState>();
  private readonly stored = new Map<string, StoredBundles>();
  private readonly storedDigests = new Map<string, string>();
  /** Each of them once: hundreds of clusters store the same. */
  private readonly distinctBundles = new Map<string, StoredBundle>();
  private readonly pollErrors = new Map<string, Record<string, PollError>>();
  private readonly silent = new Map<string, Record<string, number>>();
  private readonly untold = new Map<string, ReadonlySet<string>>();
  /** Of each member's configuration, as it was read last. */
  readonly digests = new Map<string, string>();
  private readonly crashLoops = new Map<string, string>();
  private readonly problems = new Map<string, Problem>();
  private readonly edges = new Map<string, Edge>();
  private readonly open = new Map<string, OpenFinding>();
  private readonly attempts = new Map<string, RepairAttempts>();
  private readonly returns = new Map<string, number[]>();
  private readonly approved = new Set<string>();
  private configFindings: Finding[] = [];
  /** Clusters that can be read, and of which the last thorough look could not be made. */
  private refused = new Set<string>();
  /** Since when thorough looks in a row have found what is wrong with ClusterSPIFFEIDs, by the finding's ID. */
  private identities = new Map<string, number>();
  private policies: Policy[] = [];
  private repairs: RepairRecord[] = [];
  private readonly repairCounts = new Map<string, RepairCount>();
  private since: number;
  rounds = 0;
  lastRoundAt: number | undefined;
  paused: { reason: string; until?: number } | undefined;

  constructor(
    private settings: MonitorSettings,
    now: number,
    state?: MonitorState,
  ) {
    this.since = state?.since ?? now;
    for (const cluster of settings.clusters) {
      this.clusters.set(cluster, state?.clusters[cluster] ?? { failures: 0 });
    }
    this.addEdges();
    if (state === undefined) return;
    for (const cluster of settings.clusters) {
      const carried = state.bundles?.[cluster];
      if (carried === undefined) continue;
      this.stored.set(cluster, restoreBundles(carried, this.expectedBundles(cluster)));
      if (carried.digest !== undefined) this.storedDigests.set(cluster, carried.digest);
    }
    this.rounds = state.rounds;
    this.lastRoundAt = state.lastRoundAt;
    this.paused = state.paused;
    this.policies = state.policies ?? [];
    this.repairs = state.repairs;
    for (const each of state.repairCounts ?? []) this.repairCounts.set(countKey(each), { ...each });
    for (const finding of state.findings) this.open.set(finding.id, finding);
    for (const [id, each] of Object.entries(state.attempts)) this.attempts.set(id, each);
    for (const [id, rounds] of Object.entries(state.returns ?? {})) this.returns.set(id, rounds);
    for (const id of state.approved) this.approved.add(id);
    for (const [name, edge] of this.edges) {
      const kept = state.edges[name];
      if (kept !== undefined) Object.assign(edge, kept);
      else if (state.edgesLeftOut !== true && state.lastRoundAt !== undefined)
        Object.assign(edge, { freshAt: state.lastRoundAt, judgement: FRESH });
    }
    const configured = new Set(state.configured);
    this.configFindings = state.findings.filter(({ id }) => configured.has(id));
    this.refused = new Set(state.refused);
    this.identities = new Map(Object.entries(state.identities ?? {}));
    for (const problem of state.problems ?? []) this.problems.set(problem.cluster, problem);
    for (const [cluster, why] of Object.entries(state.crashLoops ?? {})) this.crashLoops.set(cluster, why);
  }

  get names(): string[] {
    return [...this.clusters.keys()];
  }

  get federation(): string {
    return this.settings.federation;
  }

  /** Milliseconds between two regular polls of SPIRE, and between two rounds unless another interval was asked for. */
  get pollIntervalMs(): number {
    return pollIntervalMs(this.settings.refreshHintSeconds);
  }

  get roundMs(): number {
    return this.settings.intervalSeconds === undefined ? this.pollIntervalMs : this.settings.intervalSeconds * 1000;
  }

  /** Takes over other members or other settings; what is known of those that stay is kept. */
  become({ policies = [], ...settings }: MembershipChange): void {
    const {
      repair = this.settings.repair,
      observeOnly = this.settings.observeOnly,
      intervalSeconds = this.settings.intervalSeconds,
      roundsPerRun = this.settings.roundsPerRun,
    } = settings;
    this.settings = { ...settings, repair, observeOnly, intervalSeconds, roundsPerRun };
    for (const cluster of this.names.filter((each) => !settings.clusters.includes(each))) {
      for (const map of [
        this.clusters,
        this.stored,
        this.pollErrors,
        this.silent,
        this.untold,
        this.digests,
        this.crashLoops,
        this.problems,
        this.storedDigests,
      ]) {
        map.delete(cluster);
      }
    }
    for (const cluster of settings.clusters) {
      const known = this.clusters.get(cluster);
      // A change has been made: what was good before says nothing.
      delete known?.goodConfig;
      this.clusters.set(cluster, known ?? { failures: 0 });
    }
    for (const name of this.edges.keys()) {
      const [trusting = '', trusted = ''] = name.split('←');
      const isMember = this.clusters.has(trusting) && this.clusters.has(trusted);
      if (!isMember || !trusts(settings.hub, trusting, trusted)) this.edges.delete(name);
    }
    this.addEdges();
    this.configFindings = [];
    this.identities.clear();
    // It may have been a change of them. Those that it came to are missed when they are deleted before the next look.
    this.policies = policies;
    this.attempts.clear();
    this.approved.clear();
  }

  /** In the order in which they are shown. */
  private addEdges(): void {
    for (const trusting of this.names)
      for (const trusted of this.peersOf(trusting)) {
        const name = edgeName(trusting, trusted);
        if (!this.edges.has(name)) this.edges.set(name, { judgement: NOTHING_READ });
      }
  }

  /** Whether the agents of a cluster's SPIRE server were never counted. */
  lacksAgents(cluster: string): boolean {
    return this.clusters.get(cluster)?.agents === undefined;
  }

  knownStored(cluster: string): string | undefined {
    return this.stored.has(cluster) ? this.storedDigests.get(cluster) : undefined;
  }

  /** Takes in one reading and judges the cluster's edges anew. @returns whether it shows that anything has gone wrong */
  take(reading: ClusterReading, now: number): boolean {
    const { cluster } = reading;
    const state = this.clusters.get(cluster);
    if (state === undefined) return false;
    const { server, problem } = ofKnownTrustDomain(reading, state.trustDomain);
    const isLooping = reading.crashLoop !== undefined && !this.crashLoops.has(cluster);
    const isChanged =
      server !== undefined && ![this.digests.get(cluster), state.goodConfig].includes(server.configDigest);
    if (reading.crashLoop === undefined) this.crashLoops.delete(cluster);
    else this.crashLoops.set(cluster, reading.crashLoop);
    const isStopped = reading.stopped !== undefined && state.stopped === undefined;
    if (reading.stopped === undefined) delete state.stopped;
    else state.stopped = reading.stopped;
    this.problems.delete(cluster);
    if (server === undefined) {
      // One that only its log cannot be read of can be looked at thoroughly all the same.
      if (problem !== undefined && AWAY.has(problem.type)) this.problems.set(cluster, { cluster, ...problem });
      state.problem = problem?.message ?? 'nothing could be read';
      if (reading.serverDown) {
        state.downSince ??= reading.readAt;
        state.failures = 0;
      } else state.failures++;
      if (reading.serverDown || problem === undefined || isPassing(problem.type)) delete state.unreadable;
      else state.unreadable = (state.unreadable ?? 0) + 1;
    } else {
      if (server.stored !== undefined) this.stored.set(cluster, this.distinct(server.stored));
      // Where only the digest came, it is of what is known, unless that was changed while the reading was under way.
      if (server.stored !== undefined || this.storedDigests.get(cluster) === server.storedDigest)
        this.storedDigests.set(cluster, server.storedDigest);
      else this.storedDigests.delete(cluster);
      this.pollErrors.set(cluster, server.pollErrors);
      if (server.polls > 0) state.pollsLoggedSince = server.startedAt;
      // Where the log never showed a poll of this process, its silence says nothing.
      this.silent.set(cluster, state.pollsLoggedSince === server.startedAt ? server.silent : {});
      this.untold.set(cluster, new Set(server.untold));
      this.digests.set(cluster, server.configDigest);
      // Between two readings it may as well have been away without anybody seeing it.
      if (state.downSince !== undefined || (state.startedAt ?? server.startedAt) !== server.startedAt) {
        state.backAt = reading.readAt;
        this.forgetFailedFetches(cluster);
      }
      Object.assign(state, {
        startedAt: server.startedAt,
        trustDomain: server.trustDomain,
        ownFingerprint: server.ownFingerprint,
        // What exposes it may be gone just now: everybody knew the address that it had.
        endpointUrl: server.endpointUrl ?? state.endpointUrl,
        endpointProblem: server.endpointProblem,
        endpointFailsSince:
          server.endpointProblem === undefined ? undefined : (state.endpointFailsSince ?? reading.readAt),
        caRotatesAt: server.caRotatesAt,
        caExpiresAt: server.caExpiresAt,
        agents: server.agents ?? state.agents,
        clockAheadMs: server.clockAheadMs,
        readAt: reading.readAt,
        failures: 0,
        downSince: undefined,
        problem: undefined,
        unreadable: undefined,
      });
    }
    const turned = this.peersOf(cluster).flatMap((peer) => [
      this.judge(cluster, peer, now),
      this.judge(peer, cluster, now),
    ]);
    return isLooping || isStopped || isChanged || turned.includes(true);
  }

  /** Those from a cluster that was away tell nothing once it is back, unless they had told what is wrong before. */
  private forgetFailedFetches(cluster: string): void {
    for (const peer of this.trustersOf(cluster)) {
      const edge = this.edges.get(edgeName(peer, cluster));
      if (edge === undefined || edge.refresh?.ok === true || isKnownBroken(edge)) continue;
      delete edge.refresh;
      delete edge.fetchFailsSince;
    }
  }

  /** Trust domains that this cluster's SPIRE server should fetch now, to tell whether what looks bad is bad. */
  suspicious(cluster: string): string[] {
    const triedAt = (peer: string) => this.edges.get(edgeName(cluster, peer))?.refresh?.at ?? 0;
    return this.peersOf(cluster)
      .filter((peer) => this.isSuspicious(cluster, peer))
      .sort((a, b) => triedAt(a) - triedAt(b))
      .flatMap((peer) => this.clusters.get(peer)?.trustDomain ?? [])
      .slice(0, REFRESHES_PER_ROUND);
  }

  /** Some of those who should try now whether they still reach this cluster, rather than when they are read themselves. */
  suspectedBy(cluster: string): string[] {
    return this.trustersOf(cluster)
      .filter((peer) => this.isSuspicious(peer, cluster))
      .slice(0, WITNESSES);
  }

  private isSuspicious(trusting: string, trusted: string): boolean {
    return this.edges.get(edgeName(trusting, trusted))?.judgement.suspicious === true;
  }

  /** Trust domains that were fetched in vain, which may have been a moment's trouble, and when that can be told. */
  failedJustNow(cluster: string): { trustDomains: string[]; retryInMs: number } {
    const failed = this.peersOf(cluster).flatMap((peer) => {
      const retryInMs = this.edges.get(edgeName(cluster, peer))?.judgement.retryInMs;
      const trustDomain = this.clusters.get(peer)?.trustDomain;
      return retryInMs === undefined || trustDomain === undefined ? [] : [{ trustDomain, retryInMs }];
    });
    return {
      trustDomains: failed.map(({ trustDomain }) => trustDomain),
      retryInMs: Math.max(0, ...failed.map(({ retryInMs }) => retryInMs)),
    };
  }

  /** Takes in what came of fetches on demand. @returns whether it shows that anything has gone wrong */
  takeRefreshes(cluster: string, refreshes: Record<string, EdgeRefresh>, now: number): boolean {
    // It may have left meanwhile.
    if (!this.clusters.has(cluster)) return false;
    const stored = { ...this.stored.get(cluster) };
    for (const peer of this.peersOf(cluster)) {
      const trustDomain = this.clusters.get(peer)?.trustDomain ?? '';
      const refresh = refreshes[trustDomain];
      if (refresh === undefined) continue;
      const edge = this.edges.get(edgeName(cluster, peer));
      if (edge !== undefined) {
        // Two may overlap.
        if (edge.refresh !== undefined && edge.refresh.at > refresh.at) continue;
        edge.refresh = refresh;
        if (refresh.ok) {
          edge.gotThroughAt = refresh.at;
          delete edge.fetchFailsSince;
        } else edge.fetchFailsSince ??= refresh.at - (refresh.tookMs ?? 0);
      }
      const before = stored[trustDomain];
      if (refresh.stored === undefined) delete stored[trustDomain];
      else stored[trustDomain] = { refreshHintSeconds: before?.refreshHintSeconds ?? 0, fingerprint: refresh.stored };
      // A bundle that was just fetched has the hint that its endpoint serves.
      const { refreshHintSeconds } = this.settings;
      const after = stored[trustDomain];
      if (refresh.ok && after?.refreshHintSeconds === 0) stored[trustDomain] = { ...after, refreshHintSeconds };
    }
    this.stored.set(cluster, stored);
    // What is stored is no longer what the digest was of: it is read in full again.
    this.storedDigests.delete(cluster);
    return this.peersOf(cluster)
      .map((peer) => this.judge(cluster, peer, now))
      .includes(true);
  }

  /** Clusters whose configuration is not what was last found to be good. */
  get changedClusters(): string[] {
    return this.names.filter((cluster) => {
      const digest = this.digests.get(cluster);
      return digest !== undefined && digest !== this.clusters.get(cluster)?.goodConfig;
    });
  }

  /** Whether anything is, or was until now, wrong enough to do something about it. */
  hasTrouble(now: number): boolean {
    return this.open.size > 0 || this.currentFindings(now).length > 0;
  }

  /** Members as they are known. One that could not be read just now is asked only for what is to be mended on itself. */
  toMend(due: readonly Finding[]): MemberToMend[] {
    const concerned = new Set(due.flatMap(({ scope }) => scope.split('←')));
    return this.members.map((member) => {
      const { cluster } = member;
      // Of one whose trust domain is not known, the others would lose it.
      const isNeeded = concerned.has(cluster) || member.trustDomain === undefined;
      const unread = isNeeded ? undefined : this.unread.find((problem) => problem.cluster === cluster);
      return { ...member, ...(unread === undefined ? {} : { unread }) };
    });
  }

  get members(): KnownMember[] {
    return [...this.clusters].map(([cluster, { trustDomain, endpointUrl }]) => ({
      cluster,
      ...(trustDomain === undefined ? {} : { trustDomain }),
      ...(endpointUrl === undefined ? {} : { endpointUrl }),
    }));
  }

  /** Clusters that two readings in a row could not reach, and why. */
  get unread(): Problem[] {
    return [...this.problems.values()].filter(({ cluster }) => (this.clusters.get(cluster)?.failures ?? 0) >= 2);
  }

  /** What no member has any more somebody may have deleted everywhere. */
  get knownPolicies(): Policy[] {
    return this.policies;
  }

  /**
   * Takes in a thorough look, at all but those that it did not ask. Where nothing is wrong, the configuration as it was
   * read before counts as good.
   * @param now when it was over
   * @param asked the policies that it was told of
   * @param seen the digests that were known when it began
   * @returns the clusters whose configuration came to count as good
   */
  takeDiagnosis(
    { checks, findings, policies }: Diagnosis,
    now: number,
    asked: readonly Policy[] = this.policies,
    notAsked: readonly Problem[] = [],
    seen: ReadonlyMap<string, string> = this.digests,
  ): string[] {
    // A change that came meanwhile may have been one of policies.
    if (asked === this.policies) this.policies = policies ?? this.policies;
    const good: string[] = [];
    const unread = new Set(
      checks.filter(({ name, verdict }) => name === 'cluster' && verdict !== 'ok').map(({ scope }) => scope),
    );
    // What keeps a cluster from being looked at, though it can be read: a second look in a row has to see it too.
    const wasAsked = (name: string) => !notAsked.some(({ cluster }) => cluster === name);
    const refused = findings.filter(({ check, scope }) => check === 'cluster' && this.isRead(scope) && wasAsked(scope));
    const lasting = refused.filter(({ scope }) => this.refused.has(scope));
    this.refused = new Set(refused.map(({ scope }) => scope));
    // What SPIRE controller manager tells of a ClusterSPIFFEID may be over since: looks have to see it for longer.
    const identities = findings.filter(({ check }) => check === 'identity');
    this.identities = new Map(
      identities.map(findingId).map((id) => [id, Math.min(now, this.identities.get(id) ?? now)]),
    );
    const isDoubted = (finding: Finding) =>
      !this.open.has(findingId(finding)) && now - (this.identities.get(findingId(finding)) ?? 0) < STATISTICS_MS;
    const doubted = findings.filter(isDoubted);
    // Freshness is judged by every round, and by more than one look.
    this.configFindings = [
      ...findings.filter(
        (finding) => !['stored-bundle', 'endpoint', 'cluster'].includes(finding.check) && !doubted.includes(finding),
      ),
      ...lasting,
    ];
    // One that something else explains is no finding, and may still be there when that is over.
    const explained = checks.filter(({ name, verdict }) => name === 'identity' && verdict === 'failed');
    const found = [...this.configFindings, ...doubted, ...explained];
    for (const [cluster, digest] of seen) {
      const state = this.clusters.get(cluster);
      const wrong = found.some(({ scope }) => scope === cluster || scope.startsWith(`${cluster}←`));
      if (state === undefined) continue;
      if (wrong || unread.has(cluster)) delete state.goodConfig;
      // What was read since then was not looked at.
      else if (state.goodConfig !== digest && this.digests.get(cluster) === digest) {
        state.goodConfig = digest;
        good.push(cluster);
      }
    }
    return good;
  }

  /** Brings the list of what is wrong up to date. @returns what is new, and what is over */
  reconcile(now: number): { opened: OpenFinding[]; closed: OpenFinding[] } {
    const current = new Map(this.currentFindings(now).map((finding) => [findingId(finding), finding]));
    const closed = [...this.open.values()].filter(({ id }) => !current.has(id));
    for (const { id } of closed) {
      this.open.delete(id);
      this.attempts.delete(id);
      this.approved.delete(id);
    }
    const opened: OpenFinding[] = [];
    for (const [id, finding] of current) {
      const known = this.open.get(id);
      if (known === undefined) this.noteReturn(id);
      const attempts = this.attempts.get(id)?.count ?? 0;
      const next: OpenFinding = {
        ...finding,
        ...(this.returnsTooOften(finding)
          ? { evidence: `${finding.evidence}; ${returnsEvidence(finding.check)}` }
          : {}),
        id,
        since: known?.since ?? now,
        attempts,
        state: this.stateOf(id, finding, known),
      };
      this.open.set(id, next);
      if (known === undefined) opened.push(next);
    }
    return { opened, closed };
  }

  private get isAutomatic(): boolean {
    return this.settings.repair.automatic && this.settings.observeOnly !== true;
  }

  private noteReturn(id: string): void {
    const rounds = [...(this.returns.get(id) ?? []), this.rounds];
    this.returns.set(id, rounds.filter((round) => round > this.rounds - RETURN_ROUNDS).slice(-MOST_RETURNS - 1));
    for (const [other, [...seen]] of this.returns)
      if ((seen.at(-1) ?? 0) <= this.rounds - RETURN_ROUNDS) this.returns.delete(other);
  }

  /** Whether repairs of a finding do not last: more of them would only restart servers for ever. */
  private returnsTooOften(finding: Finding): boolean {
    return (this.returns.get(findingId(finding))?.length ?? 0) > mostReturns(finding.check);
  }

  /** Findings that are to be worked on now, the causes before what follows from them. */
  get due(): OpenFinding[] {
    return [...this.open.values()].filter(
      (finding) =>
        finding.action !== undefined &&
        (this.isAutomatic || this.approved.has(finding.id)) &&
        (finding.state === 'found' || finding.state === 'repairing') &&
        isDue(this.attempts.get(finding.id)),
    );
  }

  /** Notes that these are being worked on. @returns what has to cool down before it is again */
  begin(findings: readonly OpenFinding[], now: number): RepairAttempts[] {
    return findings.map(({ id }) => {
      const attempts = { count: (this.attempts.get(id)?.count ?? 0) + 1, at: now, cooling: true };
      this.attempts.set(id, attempts);
      const finding = this.open.get(id);
      if (finding !== undefined) Object.assign(finding, { state: 'repairing', attempts: attempts.count });
      return attempts;
    });
  }

  /** What cools down still. */
  get cooling(): RepairAttempts[] {
    return [...this.attempts.values()].filter(({ cooling }) => cooling);
  }

  /** What ends to cool down at the same time, by when that is, in milliseconds since the Unix epoch. */
  coolDownEnds(attempts: readonly RepairAttempts[]): Map<number, RepairAttempts[]> {
    const ends = new Map<number, RepairAttempts[]>();
    for (const each of attempts) {
      const end = each.at + coolDownMs(each.count, this.roundMs);
      ends.set(end, [...(ends.get(end) ?? []), each]);
    }
    return ends;
  }

  /** Takes in what repairs came to. */
  takeRepairs(records: readonly RepairRecord[]): void {
    this.repairs = [...this.repairs, ...records].slice(-REPAIRS_KEPT);
    for (const { cause, outcome } of records) {
      const count = (this.repairCounts.get(countKey({ cause, outcome }))?.count ?? 0) + 1;
      this.repairCounts.set(countKey({ cause, outcome }), { cause, outcome, count });
    }
    // What was repaired is looked at again as a whole.
    for (const state of this.clusters.values()) delete state.goodConfig;
  }

  /** @returns whether there was such a finding, waiting for it */
  approve(id: string): boolean {
    const finding = this.open.get(id);
    if (finding?.action === undefined) return false;
    this.approved.add(id);
    this.attempts.delete(id);
    this.returns.delete(id);
    finding.state = 'found';
    return true;
  }

  get waitingForApproval(): string[] {
    return [...this.open.values()]
      .filter(({ state, action }) => action !== undefined && (state === 'approval' || state === 'escalated'))
      .map(({ id }) => id);
  }

  health(now: number): FederationHealth {
    const counts = this.counts;
    const total = Object.values(counts).reduce((sum, each) => sum + each, 0);
    return {
      federation: this.settings.federation,
      verdict: this.verdict(counts),
      clusters: this.names.map((cluster) => this.clusterHealth(cluster)),
      edges: this.edgeHealths(now, total <= EDGES_LISTED ? () => true : ({ verdict }) => verdict !== 'fresh'),
      counts,
      findings: [...this.open.values()],
      repairs: this.repairs,
      repairCounts: [...this.repairCounts.values()],
      rounds: this.rounds,
      intervalSeconds: this.roundMs / 1000,
      since: this.since,
      ...(this.lastRoundAt === undefined ? {} : { lastRoundAt: this.lastRoundAt }),
      ...(this.paused === undefined ? {} : { paused: this.paused }),
    };
  }

  /** What the next run of the monitor needs to go on as if nothing had been. */
  get state(): MonitorState {
    const edges = [...this.edges].filter(([, edge]) => this.isWorthKeeping(edge));
    const carried = edges.sort(([a, x], [b, y]) => this.rankOf(a, x) - this.rankOf(b, y)).slice(0, EDGES_CARRIED);
    const bundles = this.carriedBundles;
    const configured = new Set(this.configFindings.map(findingId));
    return {
      since: this.since,
      rounds: this.rounds,
      clusters: Object.fromEntries(this.clusters),
      edges: Object.fromEntries(carried.map(([name, edge]) => [name, inFewWords(edge)])),
      ...(carried.length === edges.length ? {} : { edgesLeftOut: true }),
      findings: [...this.open.values()],
      attempts: Object.fromEntries(this.attempts),
      ...(this.returns.size === 0 ? {} : { returns: Object.fromEntries(this.returns) }),
      approved: [...this.approved],
      repairs: this.repairs,
      repairCounts: [...this.repairCounts.values()],
      ...(this.policies.length === 0 ? {} : { policies: this.policies }),
      ...(this.paused === undefined ? {} : { paused: this.paused }),
      ...(this.lastRoundAt === undefined ? {} : { lastRoundAt: this.lastRoundAt }),
      configured: [...this.open.keys()].filter((id) => configured.has(id)),
      refused: [...this.refused],
      ...(this.identities.size === 0 ? {} : { identities: Object.fromEntries(this.identities) }),
      problems: [...this.problems.values()],
      crashLoops: Object.fromEntries(this.crashLoops),
      ...(bundles === undefined ? {} : { bundles }),
    };
  }

  /** Whether more is known of an edge than that it is fresh. */
  private isWorthKeeping({ judgement, silentSince, fetchFailsSince, gotThroughAt = 0 }: Edge): boolean {
    const isNew = gotThroughAt > (this.lastRoundAt ?? 0) - this.pollIntervalMs;
    return judgement.verdict !== 'fresh' || silentSince !== undefined || fetchFailsSince !== undefined || isNew;
  }

  /** What cannot be read again comes first: what was found, and since when anything is wrong. */
  private rankOf(name: string, { judgement, differsSince, silentSince, fetchFailsSince, refresh }: Edge): number {
    if (judgement.cause !== undefined && this.open.has(findingId({ check: judgement.cause, scope: name }))) return 0;
    if (this.open.has(findingId({ check: 'stale', scope: name }))) return 0;
    if ([differsSince, silentSince, fetchFailsSince].some((since) => since !== undefined)) return 1;
    return refresh === undefined ? 3 : 2;
  }

  private get carriedBundles(): MonitorState['bundles'] {
    const carried = Object.fromEntries(
      [...this.stored].map(([cluster, stored]) => [
        cluster,
        carryBundles(stored, this.storedDigests.get(cluster), this.expectedBundles(cluster)),
      ]),
    );
    const differing = Object.values(carried).reduce((sum, each) => sum + Object.keys(each.differing ?? {}).length, 0);
    return differing > BUNDLES_CARRIED ? undefined : carried;
  }

  /** What a cluster stores when all is well, by trust domain. */
  private expectedBundles(cluster: string): StoredBundles {
    return Object.fromEntries(
      this.peersOf(cluster).flatMap((peer) => {
        const { trustDomain, ownFingerprint: fingerprint } = this.clusters.get(peer) ?? {};
        if (trustDomain === undefined || fingerprint === undefined) return [];
        const { refreshHintSeconds } = this.settings;
        return [[trustDomain, this.distinctBundle({ fingerprint, refreshHintSeconds })]];
      }),
    );
  }

  private distinct(bundles: StoredBundles): StoredBundles {
    return Object.fromEntries(Object.entries(bundles).map(([name, bundle]) => [name, this.distinctBundle(bundle)]));
  }

  private distinctBundle(bundle: StoredBundle): StoredBundle {
    const key = `${bundle.fingerprint} ${bundle.refreshHintSeconds}`;
    const known = this.distinctBundles.get(key) ?? bundle;
    this.distinctBundles.set(key, known);
    return known;
  }

  get monitorSettings(): MonitorSettings {
    return { ...this.settings, clusters: this.names };
  }

  /** How the federation was set up, for those who look at it or mend it. */
  get told(): { refreshHintSeconds: number; topology: 'mesh' | 'hub'; hub?: string } {
    const { refreshHintSeconds, hub } = this.settings;
    return { refreshHintSeconds, ...(hub === undefined ? { topology: 'mesh' } : { topology: 'hub', hub }) };
  }

  /** Members that a cluster trusts: all, or with a hub that one. */
  private peersOf(cluster: string): string[] {
    return this.names.filter((peer) => trusts(this.settings.hub, cluster, peer));
  }

  /** Members that trust a cluster: all, or with a hub that one. */
  private trustersOf(cluster: string): string[] {
    return this.names.filter((peer) => trusts(this.settings.hub, peer, cluster));
  }

  /** @returns whether the edge has gone wrong */
  private judge(trusting: string, trusted: string, now: number): boolean {
    const name = edgeName(trusting, trusted);
    const edge = this.edges.get(name);
    if (edge === undefined) return false;
    const [a, b] = [this.clusters.get(trusting), this.clusters.get(trusted)];
    const trustDomain = b?.trustDomain;
    const all = this.stored.get(trusting);
    const stored = all === undefined || trustDomain === undefined ? undefined : (all[trustDomain] ?? null);
    const own = b?.ownFingerprint;
    const readable = (state: ClusterState | undefined) => state !== undefined && state.failures < 2;
    if (stored !== undefined && own !== undefined && readable(a) && readable(b)) {
      if (stored?.fingerprint === own) {
        if (a?.failures === 0 && b?.failures === 0) edge.freshAt = Math.min(a.readAt ?? now, b.readAt ?? now);
        delete edge.differsSince;
      } else edge.differsSince ??= now;
    }
    const pollError = trustDomain === undefined ? undefined : this.pollErrors.get(trusting)?.[trustDomain];
    // Absent as long as it was not read in this run.
    const silent = this.silent.get(trusting);
    const lastPoll = trustDomain === undefined ? undefined : silent?.[trustDomain];
    // 0: the log as far as it was read shows none, so it is at least that long ago.
    if (lastPoll === undefined) {
      if (silent !== undefined) delete edge.silentSince;
    } else if (lastPoll > 0) edge.silentSince = lastPoll;
    else edge.silentSince ??= now - pollDueMs(peerIntervalMs(this.pollIntervalMs, stored?.refreshHintSeconds));
    // A regular poll has worked since; without a hint there is none for a long time.
    const isTold = silent !== undefined && !this.untold.get(trusting)?.has(trustDomain ?? '');
    const isOver = isTold && edge.differsSince === undefined && pollError === undefined && lastPoll === undefined;
    if (edge.refresh?.ok !== true && isOver && stored !== null && stored?.refreshHintSeconds !== 0) {
      delete edge.refresh;
      delete edge.fetchFailsSince;
    }
    const { verdict: before } = edge.judgement;
    edge.judgement = judgeEdge({
      now,
      trustingReadAt: a?.readAt ?? now,
      trustedReadAt: b?.readAt ?? now,
      wasBroken: isKnownBroken(edge),
      retryAfterMs: retryAfterMs(this.roundMs),
      pollIntervalMs: this.pollIntervalMs,
      trustingReadable: readable(a),
      trustedReadable: readable(b),
      ...(a?.downSince === undefined ? {} : { trustingDownSince: a.downSince }),
      ...(b?.downSince === undefined ? {} : { trustedDownSince: b.downSince }),
      ...(b?.backAt === undefined ? {} : { trustedBackAt: b.backAt }),
      ...(stored === undefined ? {} : { stored: stored?.fingerprint ?? null }),
      ...(own === undefined ? {} : { own }),
      ...(edge.differsSince === undefined ? {} : { differsSince: edge.differsSince }),
      ...(pollError === undefined ? {} : { pollError }),
      ...(edge.refresh === undefined ? {} : { refresh: edge.refresh }),
      ...(edge.fetchFailsSince === undefined ? {} : { fetchFailsSince: edge.fetchFailsSince }),
      ...(edge.gotThroughAt === undefined ? {} : { gotThroughAt: edge.gotThroughAt }),
      ...(b?.endpointFailsSince === undefined ? {} : { endpointFailsSince: b.endpointFailsSince }),
      ...(edge.silentSince === undefined ? {} : { silentSince: edge.silentSince }),
      ...(stored?.refreshHintSeconds === undefined ? {} : { storedHintSeconds: stored.refreshHintSeconds }),
    });
    return isWrong(edge.judgement.verdict) && !isWrong(before);
  }

  private currentFindings(now: number): Finding[] {
    const findings: Finding[] = [...this.configFindings];
    for (const [cluster, state] of this.clusters) {
      if ((state.unreadable ?? 0) >= 2) findings.push(unreadableFinding(cluster, state.problem ?? ''));
      if (state.downSince === undefined) continue;
      const { stopped } = state;
      const crashLoop = this.crashLoops.get(cluster);
      const mayComeBack = crashLoop === undefined && stopped === undefined;
      if (!mayComeBack || now - state.downSince > restartGraceMs(this.pollIntervalMs)) {
        findings.push(serverFinding(cluster, state.problem ?? '', { crashLoop, stopped }));
      }
    }
    for (const [cluster, { endpointProblem, downSince }] of this.clusters) {
      if (endpointProblem === undefined || downSince !== undefined) continue;
      if (findings.some(({ check, scope }) => scope === cluster && isExplaining(check))) continue;
      // Where the peers reach it, the engine's own way to it is what is broken, and no restart mends that; where they do
      // not, they have tried more than once.
      const unreached = this.names.some((peer) =>
        UNSERVED.has(this.edges.get(edgeName(peer, cluster))?.judgement.cause),
      );
      if (unreached) findings.push(endpointFinding(cluster, endpointProblem));
    }
    // A cluster that cannot be read now says nothing of any clock.
    const read = [...this.clusters].filter(([cluster]) => this.isRead(cluster));
    const clocks = clockFindings(
      Object.fromEntries(read.map(([cluster, { clockAheadMs = 0 }]) => [cluster, clockAheadMs])),
    );
    findings.push(...clocks);
    const causes = findings.filter(({ check }) => isExplaining(check) || check === 'clock');
    for (const [name, { judgement }] of this.edges) {
      const finding = edgeFinding(this.settings, name, judgement, (cluster) => this.clusters.get(cluster));
      // What is wrong with its configuration explains what is wrong with the edge.
      if (finding !== undefined && !causes.some((each) => explainsEdge(each, name, judgement.cause)))
        findings.push(finding);
    }
    if (findings.length <= FINDINGS_AT_MOST) return findings;
    // Those that are known stay, and what can be mended is not kept from it by what cannot.
    const rank = (finding: Finding) => (this.open.has(findingId(finding)) ? 0 : finding.action === undefined ? 2 : 1);
    return findings.sort((a, b) => rank(a) - rank(b)).slice(0, FINDINGS_AT_MOST);
  }

  /** Whether the newest reading of a cluster told of its SPIRE server. */
  private isRead(cluster: string): boolean {
    const { readAt, failures, downSince } = this.clusters.get(cluster) ?? { failures: 0 };
    return readAt !== undefined && failures === 0 && downSince === undefined;
  }

  private stateOf(id: string, finding: Finding, known: OpenFinding | undefined): OpenFinding['state'] {
    const { action, needsApproval } = finding;
    if (action === undefined) return 'person';
    if (needsApproval !== undefined && !this.approved.has(id)) return 'approval';
    if ((this.attempts.get(id)?.count ?? 0) >= MAX_ATTEMPTS || this.returnsTooOften(finding)) return 'escalated';
    if (!this.isAutomatic && !this.approved.has(id)) return 'approval';
    return known?.state === 'repairing' ? 'repairing' : 'found';
  }

  private verdict(counts: VerdictCounts): FederationVerdict {
    const states = [...this.open.values()].map(({ state }) => state);
    if (states.some((state) => state === 'person' || state === 'approval' || state === 'escalated')) return 'attention';
    if (states.length > 0) return 'repairing';
    if (counts.stale + counts.broken > 0) return 'repairing';
    if (counts.unknown > 0) return 'unknown';
    return counts.lagging > 0 ? 'lagging' : 'ok';
  }

  private get counts(): VerdictCounts {
    const counts: VerdictCounts = { fresh: 0, lagging: 0, stale: 0, broken: 0, unknown: 0 };
    for (const { judgement } of this.edges.values()) counts[judgement.verdict]++;
    return counts;
  }

  /** The first edges that are wanted, of which there may be a few among hundreds of thousands. */
  private edgeHealths(now: number, isWanted: (judgement: EdgeJudgement) => boolean): EdgeHealth[] {
    const healths: EdgeHealth[] = [];
    for (const [name, edge] of this.edges) {
      if (healths.length === EDGES_LISTED) break;
      if (isWanted(edge.judgement)) healths.push(this.edgeHealth(name, edge, now));
    }
    return healths;
  }

  private edgeHealth(name: string, { judgement, refresh, freshAt }: Edge, now: number): EdgeHealth {
    const [trusting = '', trusted = ''] = name.split('←');
    const { verdict, cause, evidence } = judgement;
    const peer = this.clusters.get(trusted);
    const stored = this.stored.get(trusting)?.[peer?.trustDomain ?? ''];
    const lastError =
      refresh?.ok === false ? refresh.message : this.pollErrors.get(trusting)?.[peer?.trustDomain ?? '']?.message;
    return {
      trusting,
      trusted,
      verdict,
      evidence,
      ...(cause === undefined ? {} : { cause }),
      ...(stored === undefined ? {} : { storedFingerprint: stored.fingerprint }),
      ...(peer?.ownFingerprint === undefined ? {} : { peerFingerprint: peer.ownFingerprint }),
      ...(freshAt === undefined ? {} : { freshnessAgeSeconds: Math.max(0, Math.round((now - freshAt) / 1000)) }),
      ...(lastError === undefined ? {} : { lastError }),
    };
  }

  private clusterHealth(cluster: string): ClusterHealth {
    const {
      trustDomain,
      failures = 0,
      downSince,
      problem,
      endpointProblem,
      readAt,
      caExpiresAt,
      caRotatesAt,
      agents,
    } = this.clusters.get(cluster) ?? { failures: 0 };
    const evidence = problem ?? endpointProblem;
    const known = readAt !== undefined && failures < 2;
    return {
      cluster,
      server: downSince !== undefined ? 'down' : known ? 'up' : 'unknown',
      endpoint: downSince !== undefined || !known ? 'unknown' : endpointProblem === undefined ? 'ok' : 'failed',
      ...(trustDomain === undefined ? {} : { trustDomain }),
      ...(evidence === undefined ? {} : { evidence }),
      ...(caRotatesAt === undefined ? {} : { caRotatesAt }),
      ...(caExpiresAt === undefined ? {} : { caExpiresAt }),
      ...(agents === undefined ? {} : { agents }),
      ...(readAt === undefined ? {} : { readAt }),
    };
  }
}

/**
 * The reading, if it is of the SPIRE server that this member is known by. One of another trust domain says nothing of
 * that one: judged by it, every peer would have to take over a trust domain that nobody federated with.
 */
function ofKnownTrustDomain(reading: ClusterReading, known: string | undefined): ClusterReading {
  const { server, ...rest } = reading;
  if (server === undefined || known === undefined || server.trustDomain === known) return reading;
  const message = `${rest.cluster}: its trust domain is ${server.trustDomain} by server.conf, and it was federated as ${known}. Put trust_domain ${known} back; if the other one is meant, remove ${rest.cluster} from the federation and add it again.`;
  return { ...rest, problem: { type: 'BundleMismatch', message } };
}

function countKey({ cause, outcome }: Pick<RepairCount, 'cause' | 'outcome'>): string {
  return `${cause} ${outcome}`;
}

/** Whether what kept a cluster from being read may be over by itself, or is the engine's own trouble. */
function isPassing(type: FederatorErrorType): boolean {
  return isRetryable(type) || type === 'NoWorker';
}

function inFewWords({ judgement, refresh, ...edge }: Edge): EdgeState {
  const cut = (words: string) => words.slice(0, WORDS_CARRIED);
  return {
    ...edge,
    judgement: { ...judgement, evidence: cut(judgement.evidence) },
    ...(refresh === undefined
      ? {}
      : { refresh: { ...refresh, ...(refresh.message === undefined ? {} : { message: cut(refresh.message) }) } }),
  };
}

/** Broken by what a fetch has told: of a server that did not run, none has. */
function isKnownBroken({ judgement: { verdict, cause } }: Edge): boolean {
  return verdict === 'broken' && cause !== 'serverDown';
}

function isWrong(verdict: EdgeVerdict): boolean {
  return verdict === 'stale' || verdict === 'broken';
}

/** How many edges have which verdict. */
export type VerdictCounts = Record<EdgeVerdict, number>;
