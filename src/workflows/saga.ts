import { CancellationScope, isCancellation, log } from '@temporalio/workflow';
import type { StepOutcome } from '../contract/activities.js';

interface Undo {
  cluster: string;
  title: string;
  stage: () => number;
  run: () => Promise<StepOutcome | void>;
}

/**
 * A change that leaves everything either finished or as it was.
 *
 * The undo of a step is registered *before* the step runs, since a step that failed or timed out may have taken effect;
 * so every undo must also be right when its step did nothing. On each cluster undos run stage by stage, the latest stage
 * first, those of one stage side by side; the clusters go on side by side, since one that cannot be reached must not
 * keep the others from being put back. Undos are not cancelled with the change.
 */
export class Saga {
  private readonly undos: Undo[] = [];
  private readonly running = new Set<Promise<unknown>>();

  /**
   * Registers how to undo what comes next.
   * @param stage undos of a higher stage run before those of a lower one of the same cluster; a function where that
   *   depends on how far the change has come
   */
  onUndo(stage: number | (() => number), cluster: string, title: string, run: () => Promise<StepOutcome | void>): void {
    this.undos.push({ cluster, title, stage: typeof stage === 'number' ? () => stage : stage, run });
  }

  /** Follows a step, so that nothing is undone while it may still be acting. */
  async follow<T>(work: Promise<T>): Promise<T> {
    this.running.add(work);
    try {
      return await work;
    } finally {
      this.running.delete(work);
    }
  }

  /** Waits for steps that were cancelled, then undoes what was done, as far as it can be. */
  async undo(observer: UndoObserver): Promise<Pick<SagaFailure, 'failedUndos' | 'stays'>> {
    await Promise.allSettled(this.running);
    const outcome: Pick<SagaFailure, 'failedUndos' | 'stays'> = { failedUndos: [], stays: [] };
    const clusters = [...new Set(this.undos.map(({ cluster }) => cluster))];
    await Promise.all(clusters.map((cluster) => this.undoOn(cluster, observer, outcome)));
    return outcome;
  }

  private async undoOn(
    cluster: string,
    observer: UndoObserver,
    { failedUndos: failed, stays }: Pick<SagaFailure, 'failedUndos' | 'stays'>,
  ): Promise<void> {
    const undos = this.undos
      .filter((each) => each.cluster === cluster)
      .map((each) => ({ ...each, stage: each.stage() }));
    const stages = [...new Set(undos.map(({ stage }) => stage))].sort((a, b) => b - a);
    for (const stage of stages) {
      await Promise.all(
        undos
          .filter((each) => each.stage === stage)
          .reverse()
          .map(async ({ title, run }) => {
            observer.undo(cluster, title, 'undoing');
            try {
              const outcome = await run();
              if (outcome?.stays !== undefined) stays.push(outcome.stays);
              observer.undo(cluster, title, 'undone');
            } catch (error) {
              log.error('Undo failed', { title, error });
              observer.undo(cluster, title, 'failed');
              failed.push({ title, error });
            }
          }),
      );
    }
  }
}

/** Is told of every undo as it begins and ends. */
export interface UndoObserver {
  undo(cluster: string, title: string, state: 'undoing' | 'undone' | 'failed'): void;
}

/** An undo that is left to a person, and why. */
export interface FailedUndo {
  title: string;
  error: unknown;
}

/** What came of a change that did not finish: why, and which undos could not be done. */
export interface SagaFailure {
  cause: unknown;
  cancelled: boolean;
  failedUndos: FailedUndo[];
  /** What cannot be put back as it was, for good: a sentence each. */
  stays: string[];
}

/**
 * Runs a change; when it throws or is cancelled, stops its other steps, undoes all of it and throws what `describe`
 * makes of the failure.
 */
export async function runSaga<T>(
  change: (saga: Saga) => Promise<T>,
  observer: UndoObserver,
  describe: (failure: SagaFailure) => Error,
): Promise<T> {
  const saga = new Saga();
  const scope = new CancellationScope();
  try {
    return await scope.run(() => change(saga));
  } catch (cause) {
    scope.cancel();
    const undone = await CancellationScope.nonCancellable(() => saga.undo(observer));
    throw describe({ cause, cancelled: isCancellation(cause), ...undone });
  }
}
