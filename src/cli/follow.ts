import { setTimeout as delay } from 'node:timers/promises';
import pc from 'picocolors';
import type { ChangeHandle, FederatorClient } from '../client.js';
import type { ChangeResult, StepProgress } from '../contract/change.js';

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
 * Shows a change's progress until it ends. Ctrl-C detaches: the change goes on, and the way back is said.
 * @returns the result, or undefined when the user detached
 * @throws FederatorError what failed the change
 */
export async function followChange(
  client: FederatorClient,
  handle: ChangeHandle,
  { quiet = false }: { quiet?: boolean } = {},
): Promise<ChangeResult | undefined> {
  const ended = new AbortController();
  const detached = new Promise<undefined>((resolve) => {
    const onInterrupt = () => resolve(undefined);
    process.once('SIGINT', onInterrupt);
    ended.signal.addEventListener('abort', () => process.off('SIGINT', onInterrupt));
  });
  const screen = new Screen(quiet);
  const result = client.result(handle);
  const watching = watch(client, handle, screen, ended.signal);
  try {
    const outcome = await Promise.race([result, detached]);
    if (outcome === undefined) {
      result.catch(() => undefined);
      console.error(
        `\nDetached. The change goes on; follow it again with: npm run federator -- attach ${handle.federation}`,
      );
    } else {
      screen.show(outcome.steps);
    }
    return outcome;
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
