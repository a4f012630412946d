import type { FederatorActivities } from '../../src/contract/activities.js';
import { firstScheduled, isUndo, lastClosed, type HistoricActivity } from './activityHistory.js';

type Name = keyof FederatorActivities;

/** Which undo answers each changing step. Listed latest first: in this order undos must come. */
const MIRROR: { undo: Name; of: Name[] }[] = [
  { undo: 'removeProbe', of: ['deployProbe'] },
  { undo: 'removeRelationship', of: ['applyRelationship', 'awaitBundle'] },
  { undo: 'restoreServer', of: ['editServerConf', 'rolloutServer'] },
  { undo: 'restoreObject', of: ['applyObject'] },
];

/** What an activity acts upon, alike for a step and its undo. */
function subject({ input }: HistoricActivity): string {
  const { cluster, object, reference, relationship, trustDomain } = input as {
    cluster: string;
    object?: { kind: string };
    reference?: { kind: string };
    relationship?: { trustDomain: string };
    trustDomain?: string;
  };
  return [cluster, object?.kind ?? reference?.kind ?? relationship?.trustDomain ?? trustDomain ?? ''].join(' ');
}

const subjects = (activities: readonly HistoricActivity[]) => [...new Set(activities.map(subject))].sort();

/**
 * Undone exactly is what was begun: each thing once, nothing while a step may still act, and no undo before those of
 * later stages have ended.
 */
export function expectUndone(history: readonly HistoricActivity[]): void {
  const undos = history.filter(isUndo);
  const steps = history.filter((activity) => !isUndo(activity));
  expect(lastClosed(steps)).toBeLessThan(firstScheduled(undos));
  expect(undos.filter(({ outcome }) => outcome !== 'completed')).toEqual([]);
  let previous: HistoricActivity[] = [];
  for (const { undo, of } of MIRROR) {
    const begun = steps.filter(({ name }) => of.includes(name));
    const undone = undos.filter(({ name }) => name === undo);
    expect({ undo, of: undone.map(subject).sort() }).toEqual({ undo, of: subjects(begun) });
    expect(lastClosed(previous)).toBeLessThan(firstScheduled(undone));
    previous = [...previous, ...undone];
  }
  expect(undos).toHaveLength(previous.length);
}
