import Table from 'cli-table3';
import pc from 'picocolors';
import type { ChangeResult, StepAction } from '../contract/change.js';
import type { Check, Verdict, VerifyResult } from '../contract/verify.js';

const ACTIONS: Readonly<Record<StepAction, string>> = {
  create: pc.green('create'),
  change: pc.yellow('change'),
  restart: pc.yellow('restart'),
  delete: pc.red('delete'),
  check: pc.dim('check'),
  none: pc.dim('as it is'),
};

const VERDICTS: Readonly<Record<Verdict, string>> = {
  ok: pc.green('ok'),
  warning: pc.yellow('warning'),
  failed: pc.red('failed'),
  unknown: pc.yellow('unknown'),
};

/** Prints what came of a change. */
export function printChange(result: ChangeResult): void {
  if (result.planned) printPlan(result);
  else printOutcome(result);
  for (const line of result.leftAlone) console.log(pc.dim(`Left alone: ${line}`));
}

function printPlan({ federation, changed, steps }: ChangeResult): void {
  console.log(`Plan for federation ${federation}. Nothing was changed.\n`);
  const table = plainTable(['action', 'cluster', 'step']);
  for (const { action, cluster, title } of steps) table.push([ACTIONS[action], cluster, title]);
  console.log(table.toString());
  if (!changed) console.log('\nEverything is as it must be already: running it would change nothing.');
}

function printOutcome({ federation, changed, members, probes }: ChangeResult): void {
  if (!changed) {
    console.log(`\nFederation ${federation}: everything was as it must be already. Nothing was changed.`);
  } else {
    console.log(`\nFederation ${federation}: done.`);
  }
  if (members.length > 0) {
    const table = plainTable(['cluster', 'trust domain', 'bundle', 'restarted', 'bundle endpoint']);
    for (const { cluster, trustDomain, fingerprint, restarted, endpointUrl } of members) {
      table.push([cluster, trustDomain, fingerprint, restarted ? 'yes' : 'no', endpointUrl]);
    }
    console.log(`\n${table.toString()}`);
  }
  if (probes.length > 0) {
    const table = plainTable(['mTLS from', 'to', 'workload', 'outcome']);
    for (const { from, to, federated, ok, outcome } of probes) {
      table.push([from, to, federated ? 'federated' : 'not federated', ok ? pc.green(outcome) : pc.red(outcome)]);
    }
    console.log(`\n${table.toString()}`);
  }
}

/** Prints the checks of a verification; where something is wrong, what to do about it. */
export function printVerification({ federation, clusters, verdict, checks }: VerifyResult): void {
  const table = plainTable(['where', 'check', 'verdict', 'evidence']);
  for (const { scope, name, verdict: each, evidence } of checks) table.push([scope, name, VERDICTS[each], evidence]);
  console.log(table.toString());
  const wrong = checks.filter((check): check is Check & { remedy: string } => check.remedy !== undefined);
  if (wrong.length > 0) console.log('\nWhat to do:');
  for (const { scope, name, remedy } of wrong) console.log(`  ${scope}: ${name}: ${remedy}`);
  console.log(`\nFederation ${federation} of ${clusters.join(', ')}: ${VERDICTS[verdict]}`);
}

function plainTable(head: string[]): Table.Table {
  return new Table({ head: head.map((each) => pc.bold(each)), style: { head: [], border: [] }, wordWrap: true });
}
