import { defineQuery, setCurrentDetails, setHandler } from '@temporalio/workflow';
import type { StepOutcome } from '../contract/activities.js';
import type { ChangeProgress, PlannedStep, StepProgress, StepState } from '../contract/change.js';
import { PROGRESS_QUERY } from '../contract/names.js';

const progressQuery = defineQuery<ChangeProgress>(PROGRESS_QUERY);

const SYMBOLS: Readonly<Record<StepState, string>> = {
  pending: '·',
  running: '…',
  done: '✓',
  unchanged: '=',
  failed: '✗',
  undoing: '↶',
  undone: '↶',
};

/** Where a change stands: answered to queries, and shown in the Temporal Web UI. */
export class Progress {
  private phase: ChangeProgress['phase'] = 'checking';
  private readonly steps = new Map<string, StepProgress>();

  constructor() {
    setHandler(progressQuery, () => ({ phase: this.phase, steps: this.list }));
  }

  get list(): StepProgress[] {
    return [...this.steps.values()];
  }

  plan(steps: readonly PlannedStep[]): void {
    for (const step of steps) {
      this.steps.set(step.id, { ...step, state: step.action === 'none' ? 'unchanged' : 'pending' });
    }
    this.enter('working');
  }

  enter(phase: ChangeProgress['phase']): void {
    this.phase = phase;
    this.show();
  }

  set(id: string, state: StepState, note?: string): void {
    const step = this.steps.get(id);
    if (step === undefined) return;
    step.state = state;
    if (note !== undefined) step.note = note;
    if (state === 'running' || state === 'undoing') step.startedAt ??= Date.now();
    else if (step.startedAt !== undefined) step.elapsedMs ??= Date.now() - step.startedAt;
    this.show();
  }

  /** Runs a step unless the plan found it done already, and shows how it goes. */
  async follow<T>(step: PlannedStep, run: () => Promise<T>): Promise<T | undefined> {
    if (step.action === 'none') return undefined;
    this.set(step.id, 'running');
    try {
      const outcome = await run();
      const { changed, note } = stepOutcome(outcome);
      this.set(step.id, changed || step.action === 'check' ? 'done' : 'unchanged', note);
      return outcome;
    } catch (error) {
      this.set(step.id, 'failed');
      throw error;
    }
  }

  /** Notes an undo; it has a line of its own, below the steps. */
  undo(cluster: string, title: string, state: 'undoing' | 'undone' | 'failed'): void {
    const id = `undo/${title}`;
    if (!this.steps.has(id)) this.steps.set(id, { id, cluster, title, action: 'change', state, startedAt: Date.now() });
    this.phase = 'undoing';
    this.set(id, state);
  }

  private show(): void {
    const lines = this.list.map(
      ({ state, title, elapsedMs, note }) =>
        `| ${SYMBOLS[state]} | ${title} | ${elapsedMs === undefined ? '' : `${(elapsedMs / 1000).toFixed(1)} s`} | ${note ?? ''} |`,
    );
    setCurrentDetails([`**${this.phase}**`, '', '| | step | took | |', '|-|-|-|-|', ...lines].join('\n'));
  }
}

/** What a step says of itself; one that says nothing changed nothing. */
export function stepOutcome(outcome: unknown): StepOutcome {
  if (typeof outcome === 'object' && outcome !== null && 'changed' in outcome) return outcome as StepOutcome;
  return { changed: false };
}
