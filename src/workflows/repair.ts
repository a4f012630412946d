import {
  allHandlersFinished,
  condition,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  log,
  setCurrentDetails,
  setHandler,
} from '@temporalio/workflow';
import { findingId, type RepairRecord } from '../contract/health.js';
import { REPAIR_SIGNAL, REPAIRED_SIGNAL, type RepairInput } from '../contract/monitor.js';
import { monitorWorkflowId } from '../contract/names.js';
import { runCheck } from './activities.js';
import { mend } from './mend.js';

const repairSignal = defineSignal<[RepairInput]>(REPAIR_SIGNAL);
const recordsQuery = defineQuery<RepairRecord[]>('repairs');

/**
 * Mends what the monitor found, one request after another, and tells it what came of it. It stops as soon as a change
 * runs: whatever that leaves is found again.
 */
export async function repair({ federation }: { federation: string }): Promise<RepairRecord[]> {
  const requests: { input: RepairInput; at: number }[] = [];
  const records: RepairRecord[] = [];
  setHandler(repairSignal, (input) => void requests.push({ input, at: Date.now() }));
  setHandler(recordsQuery, () => records);
  await condition(() => requests.length > 0);
  for (let request = requests.shift(); request !== undefined; request = requests.shift()) {
    const isFree = async () => {
      const { change } = await runCheck('engineState', 'See whether a change runs', { federation });
      return change === undefined;
    };
    const left = withoutRestarted(request.input, records, request.at);
    if (left.findings.length === 0) continue;
    if (!(await isFree())) break;
    const done = await mend(left, isFree);
    records.push(...done);
    setCurrentDetails(recordsTable(records));
    try {
      await getExternalWorkflowHandle(monitorWorkflowId(federation)).signal(REPAIRED_SIGNAL, done);
    } catch (error) {
      // A repair that somebody asked for by hand has no monitor to tell.
      log.warn('The monitor could not be told', { error });
    }
  }
  await condition(allHandlersFinished);
  return records;
}

/** Without what servers have been restarted for since it was asked for: the next look says whether it helped. */
function withoutRestarted(input: RepairInput, records: readonly RepairRecord[], askedAt: number): RepairInput {
  const restarted = new Set(
    records
      .filter(({ action, startedAt, durationMs }) => action === 'restart' && startedAt + durationMs > askedAt)
      .map((record) => record.findingId),
  );
  return { ...input, findings: input.findings.filter((finding) => !restarted.has(findingId(finding))) };
}

function recordsTable(records: readonly RepairRecord[]): string {
  return [
    '| finding | cause | before | action | after | outcome | took |',
    '|-|-|-|-|-|-|-|',
    ...records.map(
      ({ findingId, cause, evidenceBefore, action, evidenceAfter, outcome, durationMs }) =>
        `| ${[findingId, cause, evidenceBefore, action, evidenceAfter, outcome].map((each) => each.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} | ${(durationMs / 1000).toFixed(1)} s |`,
    ),
  ].join('\n');
}
