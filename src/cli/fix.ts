import { createInterface } from 'node:readline/promises';
import type { FederatorClient } from '../client.js';
import type { Diagnosis } from '../contract/diagnosis.js';
import { FederatorError } from '../contract/errors.js';
import type { Finding, RepairAction, RepairRecord } from '../contract/health.js';
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

export interface FixOptions {
  /** Do it without asking. */
  yes: boolean;
  /** Say nothing on standard output but the result. */
  quiet: boolean;
}

/**
 * Shows the repairs that would be done, asks, and does them.
 * @returns their records; undefined when there is nothing that the engine can do, or it was told not to
 * @throws FederatorError InvalidInput when nobody can be asked
 */
export async function fix(
  client: FederatorClient,
  diagnosis: Diagnosis,
  findings: readonly Finding[],
  { yes, quiet }: FixOptions,
): Promise<RepairRecord[] | undefined> {
  const possible = findings.filter(({ action, needsApproval }) => action !== undefined && needsApproval === undefined);
  if (possible.length === 0) {
    console.error('There is nothing that the engine could repair by itself.');
    return undefined;
  }
  console.error(errorColours.bold('Repairs:'));
  for (const { check, scope, action } of possible)
    console.error(`  ${check} of ${scope}: ${action === undefined ? '' : ACTIONS[action]}`);
  if (!yes && !(await isWanted(quiet))) return undefined;
  const { federation, members, hub } = diagnosis;
  const records = await client.repair({
    federation,
    members,
    findings: [...possible],
    ...(hub === undefined ? {} : { hub }),
  });
  if (!quiet) for (const record of records) console.log(recordLine(record));
  return records;
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

function recordLine({ check, scope, outcome, evidenceAfter, durationMs }: RepairRecord): string {
  const mark = outcome === 'failed' ? pc.red('✗') : pc.green('✓');
  return `${mark} ${check} of ${scope} ${pc.dim(`${(durationMs / 1000).toFixed(1)} s`)}${outcome === 'failed' ? `: ${evidenceAfter}` : ''}`;
}
