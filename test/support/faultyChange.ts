import type { ChangeResult, StepProgress } from '../../src/contract/change.js';
import { line, type CommandResult, type Testbed } from './testbed.js';

/** The steps in which a change really does or checks something, by its own plan. */
export async function stepsOf(testbed: Testbed, change: readonly string[]): Promise<StepProgress[]> {
  const { code, stdout, stderr } = await testbed.federator(...change, '--plan', '--json');
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return (JSON.parse(stdout) as ChangeResult).steps.filter(({ action }) => action !== 'none');
}

/** What happens at a step; where the change ends without having got there, nothing is waited for. */
async function before<T>(ended: Promise<unknown>, step: string, event: Promise<T>): Promise<T> {
  const early = ended.then((outcome): never => {
    throw new Error(`the change ended before ${step}: ${JSON.stringify(outcome)}`);
  });
  // It ends some time, as a rule after the event.
  early.catch(() => undefined);
  return Promise.race([event, early]);
}

/** Runs a change by a worker that fails for good at a step. */
export async function runFailing(testbed: Testbed, change: readonly string[], step: string): Promise<CommandResult> {
  const worker = await testbed.startWorker({ step, mode: 'fail' });
  try {
    return await testbed.federator(...change);
  } finally {
    await testbed.stopWorker(worker);
  }
}

/** Runs a change and cancels it at a step, after that has taken effect. @returns the change's exit code */
export async function runCancelled(
  testbed: Testbed,
  change: readonly string[],
  step: string,
  federation: string,
): Promise<number | null> {
  const worker = await testbed.startWorker({ step, mode: 'hang' });
  try {
    const running = testbed.startFederator(...change);
    const ended = new Promise<number | null>((resolve) => running.once('exit', resolve));
    await before(ended, step, line(worker.stdout, /^FAULT/));
    const { code } = await testbed.federator('cancel', federation);
    expect({ step, code }).toEqual({ step, code: 0 });
    return await ended;
  } finally {
    await testbed.stopWorker(worker);
  }
}

/** Runs a change by a worker that is killed at a step, after that has taken effect, and by another one from then on. */
export async function runKilled(
  testbed: Testbed,
  change: readonly string[],
  step: string,
  use: (outcome: CommandResult) => Promise<void>,
): Promise<void> {
  const doomed = await testbed.startWorker({ step, mode: 'kill' });
  const killed = new Promise((resolve) => doomed.once('exit', (_code, signal) => resolve(signal)));
  const running = testbed.federator(...change);
  expect({ step, signal: await before(running, step, killed) }).toEqual({ step, signal: 'SIGKILL' });
  const worker = await testbed.startWorker();
  try {
    await use(await running);
  } finally {
    await testbed.stopWorker(worker);
  }
}
