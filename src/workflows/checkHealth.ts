import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  executeChild,
  isCancellation,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { ProbeMatrixInput } from '../contract/change.js';
import { changeWorkflowId } from '../contract/names.js';
import { CHECKS_REPORTED, type HealthCheckInput, type HealthReport } from '../contract/scheduledHealth.js';
import { worstVerdict, type Check } from '../contract/verify.js';
import { occurrenceOf } from '../federation/verdictChange.js';
import { runCheck, runNotify } from './activities.js';
import { diagnose } from './diagnose.js';
import { rootMessage } from './failure.js';
import type { probe } from './probe.js';

/** Shorter than the shortest interval is pointless, longer would hold up the next look; that one tells it again. */
const PATIENCE = '1 minute';

/**
 * One look at a federation: all checks, and mTLS if asked. It tells when the verdict is another one than was told last,
 * which it knows from the run before it. It does not fail, as the next run would not know then.
 */
export async function checkHealth(input: HealthCheckInput): Promise<HealthReport> {
  const { federation } = input;
  const told = lastReport()?.told;
  const report: HealthReport = { ...(await look(input)), ...(told === undefined ? {} : { told }) };
  const { verdict = 'skipped' } = report;
  upsertSearchAttributes({ Federation: [federation], Verdict: [verdict] });
  const done = await tell(input, report);
  setCurrentDetails(details(done));
  return done;
}

/** What the run before this one of the same schedule came to. */
function lastReport(): HealthReport | undefined {
  const { lastResult } = workflowInfo();
  return (Array.isArray(lastResult) ? lastResult[0] : lastResult) as HealthReport | undefined;
}

async function look({ federation, probe: probing }: HealthCheckInput): Promise<HealthReport> {
  const at = Date.now();
  const none = { federation, at, checks: [], wrong: 0, well: 0 };
  const quiet = await quietBecause(federation);
  if (quiet !== undefined) return { ...none, skipped: quiet };
  try {
    const { checks } = await diagnose({ federation, clusters: [], readings: true });
    const probed = probing === undefined ? { checks: [] } : await proveMtls(federation, probing);
    const all: Check[] = [...checks, ...probed.checks];
    const wrong = all.filter(({ verdict }) => verdict !== 'ok');
    return {
      ...none,
      verdict: worstVerdict(all),
      checks: wrong.slice(0, CHECKS_REPORTED),
      wrong: wrong.length,
      well: all.length - wrong.length,
      ...(probed.skipped === undefined ? {} : { skipped: probed.skipped }),
    };
  } catch (error) {
    if (isCancellation(error)) throw error;
    const check: Check = { name: 'cluster', scope: federation, verdict: 'unknown', evidence: rootMessage(error) };
    return { ...none, verdict: 'unknown', checks: [check], wrong: 1 };
  }
}

/** Why nothing is looked at: what a change leaves for a moment is no fault, and somebody who pauses wants silence. */
async function quietBecause(federation: string): Promise<string | undefined> {
  const [{ change }, { paused }] = await Promise.all([
    runCheck('engineState', 'See whether a change runs', { federation }),
    runCheck('monitorPause', 'See whether the monitor is paused', { federation }),
  ]);
  if (change !== undefined) return `a change runs: ${change}`;
  return paused === undefined ? undefined : `the monitor is paused: ${paused}`;
}

/** Handshakes between test workloads. It makes objects, so it is a change: none other may run beside it. */
async function proveMtls(federation: string, input: ProbeMatrixInput): Promise<{ checks: Check[]; skipped?: string }> {
  try {
    const { probes } = await executeChild<typeof probe>('probe', {
      workflowId: changeWorkflowId(federation),
      args: [input],
      staticSummary: `probe ${federation}`,
    });
    return {
      checks: probes.map(({ from, to, federated, outcome, ok }) => ({
        name: 'probe',
        scope: `${from} → ${to}`,
        verdict: ok ? 'ok' : 'failed',
        evidence: `${federated ? 'federated' : 'unfederated'} workload: ${outcome}`,
      })),
    };
  } catch (error) {
    if (isCancellation(error)) throw error;
    if (error instanceof WorkflowExecutionAlreadyStartedError)
      return { checks: [], skipped: 'mTLS was not proved: a change has begun' };
    const evidence = `mTLS could not be proved: ${rootMessage(error)}`;
    return { checks: [{ name: 'probe', scope: federation, verdict: 'unknown', evidence }] };
  }
}

/** Tells of another verdict than was told last; where that fails, the next run finds it untold. */
async function tell({ federation, schedule }: HealthCheckInput, report: HealthReport): Promise<HealthReport> {
  const { verdict, told, at, checks, wrong } = report;
  if (verdict === undefined) return report;
  const occurrence = occurrenceOf(told, verdict);
  if (occurrence === undefined) return { ...report, told: verdict };
  try {
    const { note } = await runNotify(
      {
        federation,
        source: { kind: 'schedule', name: schedule ?? '' },
        occurrence,
        verdict,
        before: told ?? 'ok',
        at,
        findings: checks.map(({ name, scope, evidence, remedy }) => ({
          name,
          scope,
          evidence,
          ...(remedy === undefined ? {} : { remedy }),
        })),
        wrong,
      },
      PATIENCE,
    );
    return { ...report, told: verdict, notified: `${occurrence}: ${note}` };
  } catch (error) {
    if (isCancellation(error)) throw error;
    return { ...report, notified: `${occurrence}: nobody could be told: ${rootMessage(error)}` };
  }
}

function details({ verdict, skipped, checks, wrong, well, notified }: HealthReport): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');
  return [
    `**${verdict ?? 'not looked'}**: ${wrong} of ${wrong + well} checks are not ok`,
    ...(skipped === undefined ? [] : ['', skipped]),
    ...(notified === undefined ? [] : ['', notified]),
    ...(checks.length === 0 ? [] : ['', '| check | scope | verdict | evidence |', '|-|-|-|-|']),
    ...checks.map(({ name, scope, verdict: each, evidence }) => `| ${name} | ${scope} | ${each} | ${cell(evidence)} |`),
  ].join('\n');
}
