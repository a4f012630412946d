import { ApplicationFailure, isCancellation } from '@temporalio/workflow';
import { rootFailure, rootMessage } from './failure.js';

/**
 * Waits for all: one that fails does not leave the others half-way, and every failure is told.
 * @throws the failure, or one with the messages of all; a cancellation before any other
 */
export async function settleAll<T>(works: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(works);
  const failures = settled.flatMap((each): unknown[] => (each.status === 'rejected' ? [each.reason] : []));
  if (failures.length === 0) return Promise.all(works);
  const [first] = failures;
  const cancelled = failures.find((each) => isCancellation(each));
  if (failures.length === 1 || cancelled !== undefined) throw cancelled ?? first;
  const root = rootFailure(first);
  throw ApplicationFailure.nonRetryable(
    failures.map(rootMessage).join('\n'),
    root instanceof ApplicationFailure ? (root.type ?? undefined) : undefined,
  );
}
