import {
  ApplicationFailure,
  CancellationScope,
  allHandlersFinished,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  executeChild,
  isCancellation,
  log,
  ParentClosePolicy,
  patched,
  setCurrentDetails,
  setHandler,
  setWorkflowOptions,
  sleep,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { FederationHealth, FederationVerdict, RepairRecord } from '../contract/health.js';
import {
  APPROVE_UPDATE,
  CHECK_UPDATE,
  HEALTH_QUERY,
  MEMBERSHIP_SIGNAL,
  PAUSE_UPDATE,
  REPAIRED_SIGNAL,
  RESUME_UPDATE,
  STOP_SIGNAL,
  type MembershipChange,
  type MonitorInput,
  type PauseRequest,
  type RepairAttempts,
} from '../contract/monitor.js';
import { diagnoseWorkflowId, notifyWorkflowId } from '../contract/names.js';
import type { Policy } from '../contract/policy.js';
import { CHECKS_REPORTED } from '../contract/scheduledHealth.js';
import { healthDetails } from '../federation/healthDetails.js';
import { occurrenceOf, tellableVerdict } from '../federation/verdictChange.js';
import { WatchedFederation } from '../federation/watchedFederation.js';
import type { diagnose } from './diagnose.js';
import type { notify } from './notify.js';
import { readCluster, refreshEdges, runCheck } from './activities.js';
import { refreshRegions } from './regions.js';
import { inTraceOfItsOwn } from './traces.js';
import { movesOn } from './versioning.js';

const membershipChanged = defineSignal<[MembershipChange]>(MEMBERSHIP_SIGNAL);
const repaired = defineSignal<[RepairRecord[]]>(REPAIRED_SIGNAL);
const stop = defineSignal(STOP_SIGNAL);
const checkNow = defineUpdate<FederationHealth>(CHECK_UPDATE);
const pause = defineUpdate<FederationHealth, [PauseRequest]>(PAUSE_UPDATE);
const resume = defineUpdate<FederationHealth>(RESUME_UPDATE);
const approve = defineUpdate<FederationHealth, [string]>(APPROVE_UPDATE);
const health = defineQuery<FederationHealth>(HEALTH_QUERY);

/** The part of its interval over which a round begins its readings at most: they are work, which is not to come as one burst. */
const SPREAD = 1 / 2;
/** The part of its interval by which a round comes early at most, so that federations do not fall into step. */
const JITTER = 1 / 10;
/** Readings that a round begins at once when it hurries; the next ones follow a step later. */
const HURRIED = 20;
/** Between two looks at which readings are due: Temporal's timers are no finer (temporal: history.timerProcessorMaxTimeShift). */
const STEP_MS = 1_000;
/** How long one cluster may take to be read. */
const READING_MS = 20_000;
/** What is known is acted on after this long, though slow clusters have not answered. */
const ACT_AFTER_MS = 4_000;
/** After this many, whoever could not be told is told again, if it is still so: 15 minutes at SPIRE's usual interval. */
const ROUNDS_UNTOLD = 12;
/** Events after which a run hands over whatever it waits for: Temporal ends one of 51,200 (limit.historyCount.error). */
const HISTORY_AT_MOST = 15_000;
/** How long a fetch on demand may take: a peer that hangs is found out by it. */
const REFRESH_MS = 10_000;

/**
 * Watches over a federation for as long as it lives: reads every cluster once a round, judges every edge from these
 * readings, and has what is wrong repaired, or says what a person has to do.
 *
 * Timers, not the clock, say when something is due; what an edge is judged to be still compares times. A worker that has
 * just started may be queried before it is given the next workflow task; what came since the last one is then worked off
 * by the clock of that last one, and commands that depended on it would be others in every later replay.
 */
export async function monitor({ state, ...input }: MonitorInput): Promise<FederationHealth> {
  return new Monitor(new WatchedFederation(input, Date.now(), state), state?.told).run();
}

// It has no end on the version on which it began: it goes on with the current one, by replaying.
setWorkflowOptions(movesOn, monitor);

class Monitor {
  private readonly reading = new Set<string>();
  private readonly retrying = new Set<string>();
  private readonly trying = new Set<string>();
  private stopped = false;
  private woken = false;
  private inRound = false;
  /** A reading of this round shows that something has gone wrong. */
  private alarmed = false;
  /** A reading came after its round was evaluated. */
  private late = false;
  /** Evaluations begun, and rounds that are over. */
  private looks = 0;
  private evaluated = 0;
  /** Memberships heard of. */
  private memberships = 0;
  private shown: string | undefined;
  private tellings = 0;
  /** Those that are under way. */
  private tellingNow = 0;
  /** Of a verdict that nobody could be told: what they know, and from which round on it is tried again. */
  private untold: { before: FederationVerdict | undefined; again: number } | undefined;

  constructor(
    private readonly watched: WatchedFederation,
    private told: FederationVerdict | undefined,
  ) {
    setHandler(health, () => watched.health(Date.now()));
    setHandler(membershipChanged, (settings) => {
      // A signal cannot be refused; one that makes no sense must not end the monitor.
      if (!isMembership(settings) || settings.federation !== watched.federation)
        return log.warn('A membership that makes no sense is ignored');
      watched.become(settings);
      this.memberships++;
      this.woken = true;
    });
    setHandler(repaired, (records) => {
      if (!isRepairs(records)) return log.warn('Repairs that make no sense are ignored');
      watched.takeRepairs(records);
      this.woken = true;
    });
    setHandler(stop, () => {
      this.stopped = true;
    });
    setHandler(checkNow, () => this.checkNow());
    setHandler(pause, async ({ reason, forSeconds }: PauseRequest) => this.pause(reason, forSeconds), {
      validator: (request: Partial<PauseRequest> | undefined) => {
        if (typeof request?.reason !== 'string' || request.reason.trim() === '') throw invalid('Say why it is paused.');
        const { forSeconds } = request;
        if (forSeconds !== undefined && !(typeof forSeconds === 'number' && forSeconds > 0))
          throw invalid('forSeconds must be a number of seconds.');
      },
    });
    setHandler(
      resume,
      async () => {
        watched.paused = undefined;
        return this.checkNow();
      },
      {
        validator: () => {
          if (watched.paused === undefined) throw invalid('The monitor is not paused.');
        },
      },
    );
    setHandler(
      approve,
      async (id) => {
        watched.approve(id);
        return this.checkNow();
      },
      {
        validator: (id: string) => {
          const waiting = watched.waitingForApproval;
          if (!waiting.includes(id))
            throw invalid(
              `No finding ${id} waits for approval. ${waiting.length === 0 ? 'None does.' : `These do: ${waiting.join(', ')}`}`,
            );
        },
      },
    );
  }

  async run(): Promise<FederationHealth> {
    const { watched } = this;
    void this.endPause();
    this.coolDown(watched.cooling);
    for (;;) {
      const began = Date.now();
      await inTraceOfItsOwn('MonitorRound', () => this.round(began));
      const next = began + this.watched.roundMs * (1 - JITTER * Math.random());
      for (let isDue = false; !this.isOver && !this.woken && !isDue;) {
        isDue = !(await condition(() => this.isOver || this.woken || this.late, Math.max(1, next - Date.now())));
        if (this.late) await inTraceOfItsOwn('MonitorEvaluation', () => this.evaluate());
      }
      if (this.stopped) break;
      // Who waits for a round gets it from this run: there is none while the handover waits for them.
      if (this.runIsLong && allHandlersFinished() && !this.isTelling) {
        const known = this.untold === undefined ? this.told : this.untold.before;
        const told = known === undefined ? {} : { told: known };
        return continueAsNew<typeof monitor>({ ...watched.monitorSettings, state: { ...watched.state, ...told } });
      }
    }
    await condition(allHandlersFinished);
    return watched.health(Date.now());
  }

  private get isOver(): boolean {
    return this.stopped;
  }

  /** Somebody is being told: that they could not be is heard of by this run only, which waits for that, but not for ever. */
  private get isTelling(): boolean {
    return this.tellingNow > 0 && workflowInfo().historyLength < HISTORY_AT_MOST;
  }

  private get runIsLong(): boolean {
    const { roundsPerRun } = this.watched.monitorSettings;
    return workflowInfo().continueAsNewSuggested || (roundsPerRun !== undefined && this.evaluated >= roundsPerRun);
  }

  /** Reads all clusters that are not being read still, and acts on what is known. */
  private async round(now: number): Promise<void> {
    const { watched } = this;
    const isAwaited = this.woken || watched.lastRoundAt === undefined;
    this.woken = false;
    this.alarmed = false;
    this.inRound = true;
    refreshRegions(watched.rounds, watched.roundMs);
    await this.beginReadings(isAwaited);
    await condition(() => this.reading.size === 0 || this.stopped, ACT_AFTER_MS);
    watched.rounds++;
    watched.lastRoundAt = now;
    await this.evaluate();
    this.evaluated++;
    this.inRound = false;
  }

  /**
   * Begins to read one cluster after another, in the same order in every round. It hurries where somebody waits for the
   * round, and as soon as anything is found to be wrong: that is judged by readings of about the same time.
   */
  private async beginReadings(isAwaited: boolean): Promise<void> {
    const clusters = this.watched.names.filter((cluster) => !this.reading.has(cluster));
    // Readings take well below a second: further apart they are no less of a burst, and only later.
    const evenGapMs = Math.min(STEP_MS, (this.watched.roundMs * SPREAD) / clusters.length);
    const hurries = () => isAwaited || this.woken || this.alarmed;
    for (let begun = 0, steps = 0; begun < clusters.length && !this.stopped;) {
      const hurried = hurries();
      const even = Math.floor((steps * STEP_MS) / evenGapMs) + Math.max(1, Math.floor(STEP_MS / evenGapMs));
      const due = hurried ? begun + HURRIED : even;
      for (const cluster of clusters.slice(begun, due)) void this.read(cluster, isAwaited);
      begun = Math.max(begun, due);
      if (begun >= clusters.length) return;
      if (!(await condition(() => this.stopped || hurries() !== hurried, STEP_MS))) steps++;
    }
  }

  private async read(cluster: string, isAwaited: boolean): Promise<void> {
    const { watched } = this;
    this.reading.add(cluster);
    const { looks } = this;
    try {
      const knownStored = watched.knownStored(cluster);
      const reading = await readCluster(`Read ${cluster}`, {
        cluster,
        federation: watched.federation,
        pollIntervalMs: watched.pollIntervalMs,
        // Somebody looks, or has changed something; else it would be a command more in every round.
        withAgents: isAwaited || watched.lacksAgents(cluster),
        timeoutMs: READING_MS,
        ...(knownStored === undefined ? {} : { knownStored }),
      });
      if (watched.take(reading, Date.now())) this.alarmed = true;
      if (watched.paused === undefined) {
        for (const peer of watched.suspectedBy(cluster)) void this.tryNow(peer);
        await this.refresh(cluster, watched.suspicious(cluster));
      }
    } catch (error) {
      if (isCancellation(error)) return;
      // No worker could do it, which says nothing about the cluster.
      log.warn('A cluster could not be read', { cluster, error });
    } finally {
      this.reading.delete(cluster);
      if (looks !== this.looks) this.late = true;
    }
    await this.retry(cluster);
  }

  /** Has a cluster fetch what looks bad though it is not its turn; one that is being read does so in the end. */
  private async tryNow(cluster: string): Promise<void> {
    if (this.reading.has(cluster) || this.trying.has(cluster)) return;
    this.trying.add(cluster);
    await this.fetchAndLook(cluster, this.watched.suspicious(cluster));
    this.trying.delete(cluster);
    await this.retry(cluster);
  }

  /** What failed for the first time is tried again before the next round: a link may be cut for a moment. */
  private async retry(cluster: string): Promise<void> {
    const { watched } = this;
    const { trustDomains, retryInMs } = watched.failedJustNow(cluster);
    if (trustDomains.length === 0 || this.retrying.has(cluster)) return;
    this.retrying.add(cluster);
    await CancellationScope.nonCancellable(() => condition(() => this.stopped, Math.max(1, retryInMs)));
    if (!this.stopped && watched.paused === undefined) await this.fetchAndLook(cluster, trustDomains);
    this.retrying.delete(cluster);
  }

  private async fetchAndLook(cluster: string, trustDomains: string[]): Promise<void> {
    try {
      await this.refresh(cluster, trustDomains);
      // A round that is under way takes it in.
      this.late = true;
    } catch (error) {
      if (!isCancellation(error)) log.warn('Bundles could not be fetched', { cluster, error });
    }
  }

  /** What looks bad is tried: only a fetch that fails now makes it bad, and one that works mends it. */
  private async refresh(cluster: string, trustDomains: string[]): Promise<void> {
    const { watched } = this;
    if (trustDomains.length === 0) return;
    const title = `Have ${cluster} fetch the bundles of ${trustDomains.join(', ')}`;
    const refreshes = await refreshEdges(title, {
      cluster,
      federation: watched.federation,
      trustDomains,
      timeoutMs: REFRESH_MS,
    });
    if (watched.takeRefreshes(cluster, refreshes, Date.now())) this.alarmed = true;
  }

  /** Decides what is wrong, and has it repaired; nothing is wrong while a change runs or the monitor is paused. */
  private async evaluate(): Promise<void> {
    const { watched } = this;
    this.late = false;
    this.looks++;
    const isWorthIt = () => watched.changedClusters.length > 0 || watched.hasTrouble(Date.now());
    try {
      if (watched.paused === undefined && isWorthIt()) {
        const { change } = await runCheck('engineState', 'See whether a change runs', {
          federation: watched.federation,
        });
        if (change === undefined) await this.act();
      }
    } catch (error) {
      if (isCancellation(error)) throw error;
      // The next round does it.
      log.warn('What is wrong could not be acted on', { error });
    }
    this.show();
    await this.tell();
  }

  /** Has somebody told of a verdict that changed, by a workflow of its own: nothing here waits for a webhook. */
  private async tell(): Promise<void> {
    const { federation } = this.watched;
    const now = Date.now();
    const known = this.watched.health(now);
    const verdict = tellableVerdict(known);
    if (verdict === undefined) return;
    if (this.untold !== undefined && this.watched.rounds >= this.untold.again) this.told = this.untold.before;
    const { told } = this;
    const [occurrence, before] = [occurrenceOf(told, verdict), told ?? 'ok'];
    this.told = verdict;
    if (occurrence === undefined) return;
    this.untold = undefined;
    const telling = ++this.tellings;
    const isLost = () => {
      // What came since is of more interest.
      if (telling === this.tellings && this.told === verdict && patched('tellAgain'))
        this.untold = { before: told, again: this.watched.rounds + ROUNDS_UNTOLD };
    };
    const findings = known.findings.map(({ check, ...finding }) => ({ name: check, ...finding }));
    try {
      const child = await startChild<typeof notify>('notify', {
        workflowId: `${notifyWorkflowId(federation)}/${workflowInfo().runId.slice(0, 8)}-${telling}`,
        args: [
          {
            federation,
            source: { kind: 'monitor' },
            occurrence,
            verdict,
            before,
            at: now,
            findings: findings.slice(0, CHECKS_REPORTED),
            wrong: findings.length,
          },
        ],
        parentClosePolicy: ParentClosePolicy.ABANDON,
        staticSummary: `${federation}: ${before} → ${verdict}`,
      });
      this.tellingNow++;
      void child
        .result()
        .catch((error: unknown) => {
          if (!isCancellation(error)) isLost();
        })
        .finally(() => this.tellingNow--);
    } catch (error) {
      if (isCancellation(error)) throw error;
      log.warn('Nobody could be told', { error });
      isLost();
    }
  }

  private async act(): Promise<void> {
    const { watched, memberships } = this;
    // What was seen in the middle of a change, or before a pause, is no reason to put anything back.
    const isMoot = () => this.stopped || watched.paused !== undefined || this.memberships !== memberships;
    if (watched.changedClusters.length > 0) {
      const { names: clusters, knownPolicies: policies, unread, members } = watched;
      const digests = new Map(watched.digests);
      const diagnosis = await executeChild<typeof diagnose>('diagnose', {
        workflowId: `${diagnoseWorkflowId(watched.federation)}/${workflowInfo().runId.slice(0, 8)}-${watched.rounds}`,
        args: [
          { federation: watched.federation, clusters, unread, onlyWrong: true, policies, members, ...watched.told },
        ],
        parentClosePolicy: ParentClosePolicy.TERMINATE,
        staticSummary: `diagnose ${watched.federation}`,
      });
      if (isMoot()) return;
      const good = watched.takeDiagnosis(diagnosis, Date.now(), policies, unread, digests);
      await Promise.all(
        good.map((cluster) =>
          runCheck('keepGoodServerConf', `Remember the federation settings that ${cluster} runs well with`, {
            cluster,
            federation: watched.federation,
          }),
        ),
      );
      if (isMoot()) return;
    }
    const { opened, closed } = watched.reconcile(Date.now());
    for (const { id, evidence } of opened) log.warn('Found', { finding: id, evidence });
    for (const { id } of closed) log.info('Over', { finding: id });
    const { due } = watched;
    if (due.length === 0) return;
    this.coolDown(watched.begin(due, Date.now()));
    await runCheck('requestRepair', `Have repaired: ${due.map(({ id }) => id).join(', ')}`.slice(0, 200), {
      federation: watched.federation,
      members: watched.toMend(due),
      findings: due,
      policies: watched.knownPolicies,
      ...watched.told,
    });
  }

  private async checkNow(): Promise<FederationHealth> {
    const before = this.evaluated;
    // A round that is under way may have read before whatever it is that was done.
    const wanted = this.inRound || this.reading.size > 0 ? before + 2 : before + 1;
    while (this.evaluated < wanted && !this.stopped) {
      // Unless the round that is wanted is the one that is under way.
      if (!this.inRound || wanted > this.evaluated + 1) this.woken = true;
      const seen = this.evaluated;
      await condition(() => this.evaluated > seen || this.stopped);
    }
    return this.watched.health(Date.now());
  }

  private pause(reason: string, forSeconds: number | undefined): FederationHealth {
    const until = forSeconds === undefined ? {} : { until: Date.now() + forSeconds * 1000 };
    this.watched.paused = { reason, ...until };
    void this.endPause();
    this.show();
    return this.watched.health(Date.now());
  }

  /** Ends the pause that there is at its time, unless it is another one by then. */
  private async endPause(): Promise<void> {
    const { paused } = this.watched;
    if (paused?.until === undefined) return;
    const isOther = () => this.watched.paused !== paused;
    const ms = Math.max(1, paused.until - Date.now());
    if (await CancellationScope.nonCancellable(() => condition(isOther, ms))) return;
    this.watched.paused = undefined;
    // What went wrong meanwhile is acted on.
    this.late = true;
  }

  private coolDown(attempts: readonly RepairAttempts[]): void {
    for (const [end, ending] of this.watched.coolDownEnds(attempts)) {
      const ms = Math.max(1, end - Date.now());
      void CancellationScope.nonCancellable(() => sleep(ms)).then(() => {
        for (const each of ending) each.cooling = false;
      });
    }
  }

  private show(): void {
    const now = this.watched.health(Date.now());
    setCurrentDetails(healthDetails(now));
    const attributes = { Verdict: [now.verdict], TrustDomain: troubled(now) };
    const shown = JSON.stringify(attributes);
    if (shown === this.shown) return;
    this.shown = shown;
    upsertSearchAttributes(attributes);
  }
}

/** The trust domain whose SPIRE server the first finding is about; none where nothing is wrong. */
function troubled({ findings, clusters }: FederationHealth): string[] {
  const [at] = findings[0]?.scope.split('←') ?? [];
  return clusters.flatMap(({ cluster, trustDomain }) =>
    cluster === at && trustDomain !== undefined ? [trustDomain] : [],
  );
}

function invalid(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, 'InvalidInput');
}

function isMembership(value: unknown): value is MembershipChange {
  if (typeof value !== 'object' || value === null) return false;
  const { clusters, refreshHintSeconds, intervalSeconds, repair, observeOnly, policies } =
    value as Partial<MembershipChange>;
  return (
    Array.isArray(clusters) &&
    clusters.length >= 2 &&
    clusters.every((cluster) => typeof cluster === 'string') &&
    typeof refreshHintSeconds === 'number' &&
    (intervalSeconds === undefined || (typeof intervalSeconds === 'number' && intervalSeconds > 0)) &&
    (repair === undefined || typeof repair.automatic === 'boolean') &&
    (observeOnly === undefined || typeof observeOnly === 'boolean') &&
    (policies === undefined || isPolicies(policies))
  );
}

function isPolicies(value: unknown): value is Policy[] {
  return Array.isArray(value) && value.every((each) => typeof (each as Partial<Policy> | null)?.type === 'string');
}

function isRepairs(value: unknown): value is RepairRecord[] {
  return (
    Array.isArray(value) && value.every((each) => typeof (each as Partial<RepairRecord> | null)?.findingId === 'string')
  );
}
