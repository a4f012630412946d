import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  executeChild,
  isCancellation,
  setCurrentDetails,
  setHandler,
  setWorkflowOptions,
  workflowInfo,
} from '@temporalio/workflow';
import { changeWorkflowId, DEFAULT_REFRESH_HINT_SECONDS } from '../contract/names.js';
import {
  ROTATE_WATCH_QUERY,
  ROTATE_WATCH_STOP_SIGNAL,
  type CountedEdge,
  type LogCursor,
  type RotateRequest,
  type RotateWatchInput,
  type RotateWatchReport,
  type RotationProof,
} from '../contract/rotation.js';
import { durationSeconds } from '../contract/serverConf.js';
import { pollIntervalMs } from '../federation/freshness.js';
import { RefreshCount, watchLimitMs } from '../federation/refreshes.js';
import { refreshDetails } from '../federation/refreshDetails.js';
import { federationSettings, trusts } from '../federation/settings.js';
import { followNow, runStep } from './activities.js';
import { nothingFound, preflightFailure, rootFailure } from './failure.js';
import { findMembers } from './facts.js';
import { refreshRegions } from './regions.js';
import type { rotateCa } from './rotateCa.js';
import { movesOn } from './versioning.js';

const report = defineQuery<RotateWatchReport>(ROTATE_WATCH_QUERY);
const stop = defineSignal(ROTATE_WATCH_STOP_SIGNAL);

const ATTEMPTS = 3;
/** How long a log is followed in one go: what it says is shown after this at the latest. */
const WINDOW_MS = 10_000;
/** Logs that are followed at once without a break; of more clusters, each log is read now and then. */
const FOLLOWED_AT_ONCE = 40;
const GLANCE_MS = 1_000;
const PAUSE_MS = 2_000;

/**
 * Watches bundle refreshes on all members at once and counts them, edge by edge; rotates one member's CA meanwhile when
 * asked to.
 */
export async function rotateWatch({ state, ...input }: RotateWatchInput): Promise<RotateWatchReport> {
  const since = state?.since ?? Date.now();
  const edges = state?.count.edges ?? (await countedEdges(input.federation, input.rotate));
  const watch = new RotateWatch(input, since, edges, new RefreshCount(edges, state?.count), {
    cursors: state?.cursors ?? {},
    ...(state?.rotation === undefined ? {} : { rotation: state.rotation }),
  });
  return watch.run();
}

// It may count for weeks, longer than anybody keeps an older version for; the rotation is a change of its own.
setWorkflowOptions(movesOn, rotateWatch);

class RotateWatch {
  private stopped = false;
  private rotating = false;
  private failure: unknown;
  private windows = 0;
  private draining = false;
  private readonly cursors: Map<string, LogCursor>;
  private rotation: RotationProof | undefined;

  constructor(
    private readonly input: Omit<RotateWatchInput, 'state'>,
    private readonly since: number,
    private readonly edges: readonly CountedEdge[],
    private readonly count: RefreshCount,
    { cursors, rotation }: { cursors: Record<string, LogCursor>; rotation?: RotationProof },
  ) {
    this.cursors = new Map(Object.entries(cursors));
    this.rotation = rotation;
    setHandler(report, () => this.report(false));
    setHandler(stop, () => {
      this.stopped = true;
    });
  }

  async run(): Promise<RotateWatchReport> {
    const clusters = [...new Set(this.edges.map(({ trusting }) => trusting))];
    const scope = new CancellationScope();
    const work = scope.run(() => Promise.all(clusters.map((cluster) => this.follow(cluster, clusters.length))));
    work.catch((error: unknown) => {
      if (!isCancellation(error)) this.failure = error;
    });
    const { rotate } = this.input;
    const rotation = rotate !== undefined && this.rotation === undefined ? this.rotate(rotate) : undefined;
    const isHandedOver = () => this.runIsLong && !this.rotating;
    await condition(() => this.isOver || isHandedOver(), Math.max(1, this.deadline - Date.now()));
    if (!this.isOver && isHandedOver()) {
      this.draining = true;
      await work;
      return continueAsNew<typeof rotateWatch>({
        ...this.input,
        state: {
          since: this.since,
          count: this.count.state,
          cursors: Object.fromEntries(this.cursors),
          ...(this.rotation === undefined ? {} : { rotation: this.rotation }),
        },
      });
    }
    // A rotation that is under way is brought to its end.
    await rotation;
    if (this.failure !== undefined) {
      scope.cancel();
      throw rootFailure(this.failure);
    }
    this.draining = true;
    await work;
    return this.show(true);
  }

  private get deadline(): number {
    const { forMs, rotations } = this.input;
    const limitMs = forMs ?? (rotations === undefined ? undefined : watchLimitMs(this.edges, rotations));
    return limitMs === undefined ? Date.now() + 24 * 3_600_000 : this.since + limitMs;
  }

  private get isOver(): boolean {
    const { rotations, forMs, rotate } = this.input;
    if (this.failure !== undefined) return true;
    if (this.rotating) return false;
    if (this.stopped) return true;
    if (rotations !== undefined) return this.count.hasAll(rotations);
    return rotate !== undefined && forMs === undefined;
  }

  private get runIsLong(): boolean {
    const { windowsPerRun } = this.input;
    return workflowInfo().continueAsNewSuggested || (windowsPerRun !== undefined && this.windows >= windowsPerRun);
  }

  /** Follows one server's log window by window, each from where the one before ended. */
  private async follow(cluster: string, clusters: number): Promise<void> {
    const { federation } = this.input;
    const trustDomains = this.edges.filter(({ trusting }) => trusting === cluster).map((each) => each.trustDomain);
    const isFollowed = clusters <= FOLLOWED_AT_ONCE;
    while (!this.draining) {
      const cursor = this.cursors.get(cluster);
      refreshRegions(this.windows, WINDOW_MS / clusters);
      const window = await followNow({
        cluster,
        federation,
        trustDomains,
        since: this.since,
        ...(cursor === undefined ? {} : { cursor }),
        windowMs: isFollowed ? WINDOW_MS : GLANCE_MS,
      });
      this.count.take(window);
      if (window.cursor !== undefined) this.cursors.set(cluster, window.cursor);
      this.windows++;
      this.show(false);
      if (window.cursor?.ended === true || !isFollowed)
        await condition(() => this.draining, isFollowed ? PAUSE_MS : WINDOW_MS);
    }
  }

  private async rotate(request: RotateRequest): Promise<void> {
    const { federation } = this.input;
    const { cluster } = request;
    this.rotating = true;
    try {
      const trustDomain = this.edges.find(({ trusted }) => trusted === cluster)?.trustDomain ?? '';
      const { rotation } = await executeChild<typeof rotateCa>('rotateCa', {
        workflowId: changeWorkflowId(federation),
        args: [{ ...request, federation, trustDomain, edges: [...this.edges] }],
        parentClosePolicy: 'REQUEST_CANCEL',
        staticSummary: `rotateCa ${federation}: ${cluster}`,
      });
      this.rotation = rotation;
    } catch (error) {
      if (isCancellation(error) && CancellationScope.current().consideredCancelled) throw error;
      this.failure =
        error instanceof WorkflowExecutionAlreadyStartedError
          ? ApplicationFailure.nonRetryable(
              `A change of federation ${federation} runs, so no CA is rotated. Wait for it (npm run federator -- attach ${federation}), then run this again.`,
              'ChangeInProgress',
            )
          : error;
    } finally {
      this.rotating = false;
    }
  }

  private report(finished: boolean): RotateWatchReport {
    const { federation, rotations } = this.input;
    const counted = this.count.report(federation, {
      since: this.since,
      until: Date.now(),
      finished,
      ...(rotations === undefined ? {} : { rotations }),
    });
    return this.rotation === undefined ? counted : { ...counted, rotation: this.rotation };
  }

  private show(finished: boolean): RotateWatchReport {
    const now = this.report(finished);
    setCurrentDetails(refreshDetails(now));
    return now;
  }
}

/** Every edge of the federation, by who its members are and what they serve. */
async function countedEdges(federation: string, rotate: RotateRequest | undefined): Promise<CountedEdge[]> {
  const found = await findMembers(federation);
  const { members } = found;
  if (members.length === 0) throw nothingFound(federation, found);
  if (rotate !== undefined && !members.includes(rotate.cluster)) {
    throw ApplicationFailure.nonRetryable(
      `${rotate.cluster} is not a member of federation ${federation}, so its CA is not rotated. Its members: ${members.join(', ')}.`,
      'NotFound',
    );
  }
  const results = await Promise.all(
    members.map((cluster) =>
      runStep('readFacts', { id: `readFacts/${cluster}`, title: `Read ${cluster}` }, ATTEMPTS, {
        cluster,
        federation,
      }),
    ),
  );
  const facts = results.flatMap((each) => each.facts ?? []);
  if (facts.length < members.length) throw preflightFailure(results.flatMap(({ problems }) => problems));
  const { hub } = federationSettings(federation, facts);
  return facts.flatMap(({ cluster: trusting }) =>
    facts
      .filter(({ cluster }) => trusts(hub, trusting, cluster))
      .map(({ cluster: trusted, trustDomain, serverConf }) => ({
        trusting,
        trusted,
        trustDomain,
        expectedMs: pollIntervalMs(
          durationSeconds(serverConf.bundleEndpoint?.refreshHint) ?? DEFAULT_REFRESH_HINT_SECONDS,
        ),
      })),
  );
}
