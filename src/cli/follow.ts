import { setTimeout as delay } from 'node:timers/promises';
import type { ChangeHandle, FederatorClient } from '../client.js';
import type { ChangeResult, StepProgress } from '../contract/change.js';
import { planOf } from '../contract/names.js';
import { errorColours as pc } from './colours.js';
import { detachment, sayDetached } from './detach.js';
import type { FollowOptions } from './options.js';
import { isTable } from './output.js';

const POLL_MS = 250;

const MARKS: Readonly<Record<StepProgress['state'], string>> = {
  pending: ' ',
  running: pc.cyan('…'),
  done: pc.green('✓'),
  unchanged: pc.dim('='),
  failed: pc.red('✗'),
  undoing: pc.yellow('↶'),
  undone: pc.yellow('↶'),
};

/**
 * Shows a change's progress until it ends. Ctrl-C and the end of the timeout detach: the change goes on, and the way back
 * is said.
 * @returns the result, or undefined when it was detached from
 * @throws FederatorError what failed the change
 */
export async function followChange(
  client: FederatorClient,
  handle: ChangeHandle,
  options: FollowOptions = {},
): Promise<ChangeResult | undefined> {
  const ended = new AbortController();
  const detached = detachment(options, ended.signal);
  const screen = new Screen(!isTable(options));
  const result = client.result(handle);
  const watching = watch(client, handle, screen, ended.signal);
  try {
    const outcome = await Promise.race([result, detached]);
    if (typeof outcome === 'object') {
      screen.show(outcome.steps);
      return outcome;
    }
    result.catch(() => undefined);
    sayDetached(outcome, handle, options, wayBack(handle));
    return undefined;
  } catch (error) {
    const last = await client.progress(handle);
    if (last !== undefined) screen.show(last.steps);
    throw error;
  } finally {
    ended.abort();
    await watching;
    screen.clear();
  }
}

/** The command by which a change is followed again; a plan has none: it is made anew as fast. */
export function wayBack({ workflowId, federation }: ChangeHandle): string | undefined {
  return planOf(workflowId) === undefined ? `attach ${federation}` : undefined;
}

async function watch(client: FederatorClient, handle: ChangeHandle, screen: Screen, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    const progress = await client.progress(handle);
    if (!ended.aborted && progress !== undefined) {
      screen.show(progress.steps);
      screen.status(running(progress.steps));
    }
    await delay(POLL_MS, undefined, { signal: ended }).catch(() => undefined);
  }
}

function running(steps: readonly StepProgress[]): string {
  return steps
    .filter(({ state }) => state === 'running' || state === 'undoing')
    .map(
      ({ title, startedAt }) =>
        `${title} ${startedAt === undefined ? '' : `${Math.max(0, Math.round((Date.now() - startedAt) / 1000))} s`}`,
    )
    .join(' · ');
}

/** Prints each step once it has ended, and below them, on a terminal, what is being done. */
class Screen {
  private readonly shown = new Set<string>();
  private readonly live = process.stderr.isTTY;

  constructor(private readonly quiet: boolean) {}

  show(steps: readonly StepProgress[]): void {
    if (this.quiet) return;
    for (const step of steps) {
      const ended =
        step.state === 'done' ||
        step.state === 'undone' ||
        step.state === 'failed' ||
        (step.state === 'unchanged' && step.startedAt !== undefined);
      const key = `${step.id} ${step.state}`;
      if (!ended || this.shown.has(key)) continue;
      this.shown.add(key);
      this.clear();
      console.error(stepLine(step));
    }
  }

  status(text: string): void {
    if (!this.live || this.quiet || text === '') return;
    const width = (process.stderr.columns ?? 80) - 4;
    process.stderr.write(`\r\x1b[K  ${pc.dim(text.length > width ? `${text.slice(0, width - 1)}…` : text)}`);
  }

  clear(): void {
    if (this.live && !this.quiet) process.stderr.write('\r\x1b[K');
  }
}

/** One step as a line: mark, cluster, what was done, how long it took, what was seen. */
export function stepLine({ state, cluster, title, elapsedMs, note }: StepProgress): string {
  const took = elapsedMs === undefined ? '' : pc.dim(` ${(elapsedMs / 1000).toFixed(1)} s`);
  return `${MARKS[state]} ${pc.bold(cluster.padEnd(12))} ${title}${took}${note === undefined ? '' : pc.dim(` (${note})`)}`;
}
