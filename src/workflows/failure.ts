import { ApplicationFailure } from '@temporalio/workflow';
import type { FoundMembers } from '../contract/activities.js';
import type { Problem } from '../contract/facts.js';
import type { Check } from '../contract/verify.js';
import type { SagaFailure } from './saga.js';

/** What a failure's details say besides its message. */
interface Told {
  /** The message without what is not of the federation, where there is such. */
  withoutOthers?: string;
}

/** Everything that stands in the way of a change, at once; nothing was changed. */
export function preflightFailure(problems: readonly Problem[]): ApplicationFailure {
  const told = problems.map(({ withoutOthers, message }) => withoutOthers ?? message);
  return ApplicationFailure.nonRetryable(inTheWay(problems.map(({ message }) => message)), 'PreflightFailed', {
    problems,
    ...(problems.some((each) => each.withoutOthers !== undefined) ? { withoutOthers: inTheWay(told) } : {}),
  });
}

function inTheWay(messages: readonly string[]): string {
  const said = messages.length === 1 ? 'One thing stands' : `${messages.length} things stand`;
  return `${said} in the way; nothing was changed.\n${messages.map((message) => `- ${message}`).join('\n')}`;
}

/** The message of the innermost failure, which is what happened; the ones around it only say where. */
export function rootMessage(error: unknown): string {
  let current = error;
  while (current instanceof Error && current.cause instanceof Error && !(current instanceof ApplicationFailure))
    current = current.cause;
  return current instanceof Error ? current.message : String(current);
}

/** What a change that did not finish tells its caller: the cause, and that everything is as before (or what is not). */
export function changeFailure({ cause, cancelled, failedUndos, stays }: SagaFailure): Error {
  const undone =
    failedUndos.length === 0
      ? asBefore(stays)
      : `NOT undone, to be done by hand:\n${failedUndos.map(({ title, error }) => `- ${title}: ${rootMessage(error)}`).join('\n')}`;
  const failed = [cause, cause instanceof Error ? cause.cause : undefined].find(
    (each) => each instanceof ApplicationFailure,
  );
  // A workflow that ends as cancelled cannot say anything: Temporal keeps no message of it.
  const type = cancelled ? 'Cancelled' : (failed?.type ?? 'Internal');
  const what = cancelled ? 'The change was cancelled.' : rootMessage(cause);
  return ApplicationFailure.nonRetryable(`${what}\n${undone}`, failedUndos.length === 0 ? type : 'UndoFailed');
}

function asBefore(stays: readonly string[]): string {
  if (stays.length === 0) return 'Every cluster is as it was before.';
  return `Every cluster is as it was before, but for what cannot be taken back:\n${stays.map((each) => `- ${each}`).join('\n')}`;
}

/** What failed or stopped a change after members had left for good: not everything is as it was before. */
export function afterLeaving(error: unknown, left: readonly string[]): unknown {
  const note = `But ${left.join(', ')} had left the federation before, which is not undone.`;
  if (!(error instanceof ApplicationFailure)) return error;
  return ApplicationFailure.nonRetryable(`${error.message}\n${note}`, error.type ?? undefined);
}

/** A federation that no cluster of the inventory carries, as far as they could be asked: there may be others. */
export function nothingFound(
  federation: string,
  { others: free, unknown, federations }: FoundMembers,
): ApplicationFailure {
  if (unknown.length > 0) {
    const lines = unknown.map(({ message }) => `- ${message}`);
    return ApplicationFailure.nonRetryable(
      `No cluster that could be asked is a member of federation ${federation}. These could not be asked, and may be:\n${lines.join('\n')}`,
      unknown[0]?.type,
      withoutOthers(`No cluster that could be asked is a member of federation ${federation}; some could not be asked.`),
    );
  }
  const others = Object.entries(federations).map(([name, members]) => `${name} (${members.join(', ')})`);
  if (others.length > 0) {
    return ApplicationFailure.nonRetryable(
      `No cluster of the inventory is a member of federation ${federation}. There ${others.length === 1 ? 'is' : 'are'}: ${others.join('; ')}. Say which with --federation.`,
      'NotFound',
      withoutOthers(`No cluster of the inventory is a member of federation ${federation}.`),
    );
  }
  const setup = free.length > 2 ? 'setupMesh' : 'setupPair';
  return ApplicationFailure.nonRetryable(
    `No cluster of the inventory is a member of federation ${federation}. Name another with --federation, or set it up: npm run start-workflow ${setup} -- --federation ${federation}`,
    'NotFound',
  );
}

/** The details of a failure whose message tells of clusters and federations that not everybody may know of. */
export function withoutOthers(message: string): Told {
  return { withoutOthers: message };
}

/** A cluster that is to leave a federation it is not in. */
export function notAMember(federation: string, cluster: string, members: readonly string[]): ApplicationFailure {
  return ApplicationFailure.nonRetryable(
    `${cluster} is not a member of federation ${federation}. Its members: ${members.join(', ') || 'none'}.`,
    'NotFound',
  );
}

/** A change that did all its steps and yet did not lead to a federation that is right. */
export function verifyFailure(wrong: readonly Check[]): ApplicationFailure {
  const lines = wrong.map(
    ({ scope, name, evidence, remedy }) =>
      `- ${scope}: ${name}: ${evidence}${remedy === undefined ? '' : ` ${remedy}`}`,
  );
  return ApplicationFailure.nonRetryable(
    `The federation is not right after the change:\n${lines.join('\n')}`,
    'VerifyFailed',
  );
}

/** The innermost failure that says what happened, as this workflow's own. */
export function rootFailure(error: unknown): unknown {
  let current = error;
  while (current instanceof Error && current.cause instanceof Error) current = current.cause;
  if (!(current instanceof ApplicationFailure)) return error;
  return ApplicationFailure.nonRetryable(current.message, current.type ?? undefined, ...(current.details ?? []));
}
