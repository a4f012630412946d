import { createInterface } from 'node:readline/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { FederatorClient } from '../client.js';
import type { Diagnosis } from '../contract/diagnosis.js';
import { FederatorError } from '../contract/errors.js';
import {
  findingId,
  type FederationHealth,
  type Finding,
  type RepairAction,
  type RepairRecord,
} from '../contract/health.js';
import { errorColours, pc } from './colours.js';

/** What is done about a finding, the least force first. */
const ACTIONS: Readonly<Record<RepairAction, string>> = {
  refresh: 'have SPIRE server fetch the bundle now',
  restore: 'put back what is missing or differs',
  recreateRelationship: 'make the relationship anew',
  rebootstrap: "exchange the bundle anew, by the peer's own words through its Kubernetes API",
  restart: 'put the settings right where they differ, and restart SPIRE server',
  restoreServerConf: 'put back the federation settings that SPIRE server last ran well with, and replace its pod',
};

/** So long a repair that was allowed is waited for. */
const PATIENCE_MS = 10 * 60_000;
const POLL_MS = 500;

export interface FixOptions {
  /** Do it without asking. */
  yes: boolean;
  /** Say nothing on standard output but the result. */
  quiet: boolean;
}

/** What is to become of findings. */
export interface Choice {
  /** The engine can repair them, and may. */
  now: Finding[];
  /** The same, once the monitor is allowed to: by itself it does not, or not any more. */
  byMonitor: Finding[];
  /** Nobody has named them, and they are not repaired without that. */
  held: Finding[];
}

/**
 * Chooses what is repaired, and how. Pure.
 * @param found what a look at the federation has found
 * @param isAsked whether a finding is, by its ID, where nobody names any
 * @param named IDs of findings that somebody wants repaired, whatever waits for approval; absent: all that need none
 * @param health what the monitor knows; absent: there is none
 * @throws FederatorError InvalidInput when one that is named is not there, or takes a person
 */
export function chooseRepairs(
  found: readonly Finding[],
  isAsked: (id: string) => boolean,
  named: readonly string[] | undefined,
  health?: Pick<FederationHealth, 'findings' | 'paused'>,
): Choice {
  const open = new Map(health?.findings.map((finding) => [finding.id, finding]));
  // A look at one moment may call the same matter otherwise.
  const asking = new Map(
    [...open.values()]
      .filter(({ state, needsApproval }) => state === 'approval' && needsApproval !== undefined)
      .map((finding): [string, Finding] => [finding.scope, finding]),
  );
  const present = new Map<string, Finding>(open);
  // What was just seen is newer.
  for (const finding of found) present.set(findingId(finding), finding);
  for (const id of named ?? []) requireRepairable(id, present);
  const now: Finding[] = [];
  const byMonitor: Finding[] = [];
  const held = new Set<Finding>();
  for (const id of new Set(named ?? found.map(findingId).filter(isAsked))) {
    const finding = present.get(id);
    if (finding?.action === undefined) continue;
    const state = open.get(id)?.state;
    const unapproved = asking.get(finding.scope) ?? (finding.needsApproval === undefined ? undefined : finding);
    if (named === undefined && unapproved !== undefined) held.add(unapproved);
    // A monitor that rests would only note that it may.
    else if ((state === 'approval' || state === 'escalated') && health?.paused === undefined) byMonitor.push(finding);
    else now.push(finding);
  }
  return { now, byMonitor, held: [...held] };
}

function requireRepairable(id: string, present: ReadonlyMap<string, Finding>): void {
  const finding = present.get(id);
  if (finding === undefined) {
    const there = present.size === 0 ? 'There is none.' : `There are: ${[...present.keys()].join(', ')}`;
    throw new FederatorError('InvalidInput', `There is no finding ${id}. ${there}`);
  }
  if (finding.action === undefined)
    throw new FederatorError('InvalidInput', `The engine cannot repair ${id}: ${finding.remedy}`);
}

/**
 * Shows the repairs that would be done, asks, and does them.
 * @returns their records; undefined when there is nothing that the engine can do, or it was told not to
 * @throws FederatorError InvalidInput when nobody can be asked; ChangeInProgress, TimedOut
 */
export async function fix(
  client: FederatorClient,
  { federation, members, hub }: Diagnosis,
  { now, byMonitor, held }: Choice,
  { yes, quiet }: FixOptions,
): Promise<RepairRecord[] | undefined> {
  for (const finding of held) {
    const command = `npm run federator -- repair '${findingId(finding)}' --federation ${federation}`;
    console.error(`Not repaired without asking for it, as ${finding.needsApproval ?? ''}: ${command}`);
  }
  const possible = [...now, ...byMonitor];
  if (possible.length === 0) {
    console.error('There is nothing that the engine could repair by itself.');
    return undefined;
  }
  console.error(errorColours.bold('Repairs:'));
  for (const { check, scope, action } of possible)
    console.error(`  ${check} of ${scope}: ${action === undefined ? '' : ACTIONS[action]}`);
  if (!yes && !(await isWanted(quiet))) return undefined;
  const records = await Promise.all([
    now.length === 0
      ? []
      : client.repair({ federation, members, findings: now, ...(hub === undefined ? {} : { hub }) }),
    byMonitor.length === 0 ? [] : repairByMonitor(client, federation, byMonitor.map(findingId)),
  ]);
  if (!quiet) for (const record of records.flat()) console.log(`${recordText(record)}\n`);
  return records.flat();
}

/**
 * Allows the monitor to repair what waits for it, and waits until it has.
 * @returns the newest record of each; none of what is over without one
 * @throws FederatorError TimedOut
 */
async function repairByMonitor(
  client: FederatorClient,
  federation: string,
  ids: readonly string[],
): Promise<RepairRecord[]> {
  const known = new Set((await client.health(federation)).repairs.map(recordKey));
  await Promise.all(ids.map((id) => client.approve(federation, id)));
  console.error('Allowed; the monitor does it unless a change is running …');
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const { repairs, findings } = await client.health(federation);
    const done = repairs.filter((record) => ids.includes(record.findingId) && !known.has(recordKey(record)));
    const records = new Map(done.map((record) => [record.findingId, record]));
    const missing = findings.filter(({ id }) => ids.includes(id) && !records.has(id));
    if (missing.length === 0) return [...records.values()];
    if (Date.now() > deadline) {
      throw new FederatorError(
        'TimedOut',
        `The monitor may repair ${missing.map(({ id }) => id).join(', ')}, and has not within ${PATIENCE_MS / 60_000} min. See what keeps it: npm run federator -- status --federation ${federation}`,
      );
    }
    await delay(POLL_MS);
  }
}

function recordKey({ findingId: id, startedAt }: RepairRecord): string {
  return `${id} ${startedAt}`;
}

async function isWanted(quiet: boolean): Promise<boolean> {
  if (!process.stdin.isTTY || quiet)
    throw new FederatorError('InvalidInput', 'Nobody can be asked whether to do this. Say --yes to have it done.');
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await prompt.question('Do this? [y/N] ')).trim());
  } finally {
    prompt.close();
  }
}

function recordText({
  findingId: id,
  action,
  outcome,
  evidenceBefore,
  evidenceAfter,
  durationMs,
}: RepairRecord): string {
  const mark = outcome === 'failed' ? pc.red('✗') : pc.green('✓');
  return [
    `${mark} ${pc.bold(id)}: ${outcome} ${pc.dim(`${(durationMs / 1000).toFixed(1)} s`)}`,
    `  cause   ${evidenceBefore}`,
    `  action  ${action === 'none' ? action : ACTIONS[action]}`,
    `  now     ${evidenceAfter}`,
  ].join('\n');
}
