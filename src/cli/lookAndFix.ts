import { FederatorClient } from '../client.js';
import { verifyInputSchema } from '../contract/change.js';
import type { DiagnosedCheck, Diagnosis } from '../contract/diagnosis.js';
import { FederatorError } from '../contract/errors.js';
import { findingId, type FederationHealth, type RepairRecord } from '../contract/health.js';
import { edgeName } from '../contract/names.js';
import { worstVerdict, type Verdict } from '../contract/verify.js';
import type { WorkloadReference } from '../contract/workload.js';
import { EXIT_CODES } from './exitCodes.js';
import { explained, printWrong } from './findings.js';
import { chooseRepairs, fix } from './fix.js';
import { checked } from './options.js';
import { isTable, printResult, type OutputOptions } from './output.js';

const EXIT_CODE_OF: Readonly<Record<Verdict, number>> = {
  ok: EXIT_CODES.ok,
  warning: EXIT_CODES.failed,
  failed: EXIT_CODES.failed,
  unknown: EXIT_CODES.unknown,
};

/** What is looked at: all of a federation where nothing is said. */
export interface Asked {
  cluster?: string | undefined;
  ends?: [string, string] | undefined;
  workload?: WorkloadReference | undefined;
  /** Only these are repaired, by their IDs, also what waits for approval; what they are about is looked at. */
  findings?: readonly string[];
}

/**
 * Looks at a federation, has repaired what the engine can repair where that is wanted, looks again, and prints what
 * there is to say. The exit code tells how things are in the end.
 * @param wanted absent: nothing is changed; `yes`: nobody is asked
 * @throws FederatorError NotFound, InvalidInput, ChangeInProgress, TimedOut
 */
export async function lookAndFix(
  federation: string,
  asked: Asked,
  wanted: { yes: boolean } | undefined,
  output: OutputOptions,
): Promise<void> {
  const forPeople = isTable(output);
  const client = await FederatorClient.connect();
  try {
    let diagnosis = await look(client, federation, asked);
    let repairs: RepairRecord[] | undefined;
    if (wanted !== undefined) {
      const health = await monitorHealth(client, federation);
      const shown = chosen(diagnosis, asked);
      const wrong = new Set(shown.filter(({ verdict }) => verdict !== 'ok').map(checkId));
      const choice = chooseRepairs(diagnosis.findings, (id) => wrong.has(id), asked.findings, health);
      if (forPeople) printWrong(federation, shown);
      if (wrong.size > 0 || asked.findings !== undefined)
        repairs = await fix(client, diagnosis, choice, { yes: wanted.yes, quiet: !forPeople });
      // What failed while it was broken says nothing of now.
      if (repairs !== undefined) diagnosis = await look(client, federation, asked, true);
    }
    const checks = chosen(diagnosis, asked);
    process.exitCode = EXIT_CODE_OF[worstVerdict(checks)];
    printResult(explained(diagnosis, checks, repairs), output, () => {
      if (wanted === undefined || repairs !== undefined) printWrong(federation, checks);
      const wrong = checks.filter(({ verdict }) => verdict !== 'ok').length;
      const summary = wrong === 0 ? 'nothing is wrong' : `${wrong} of ${checks.length} checks are not ok`;
      console.log(`Federation ${federation}: ${summary}.`);
    });
  } finally {
    await client.close();
  }
}

/** The federation as it is now, or one workload of it. @throws FederatorError NotFound, InvalidInput */
async function look(
  client: FederatorClient,
  federation: string,
  { cluster, ends, workload }: Asked,
  retryPolls = false,
): Promise<Diagnosis> {
  const named = [...(cluster === undefined ? [] : [cluster]), ...(ends ?? [])];
  const input = checked(verifyInputSchema, { federation });
  const diagnosis = await client.diagnose({
    ...input,
    readings: true,
    retryPolls,
    ...(workload === undefined ? {} : { workload }),
  });
  const outside = named.filter((name) => !diagnosis.clusters.includes(name));
  if (outside.length > 0) {
    throw new FederatorError(
      'NotFound',
      `${outside.join(', ')} is no member of federation ${federation}. Its members: ${diagnosis.clusters.join(', ')}.`,
    );
  }
  return diagnosis;
}

/** What the monitor knows; undefined where there is none. */
async function monitorHealth(client: FederatorClient, federation: string): Promise<FederationHealth | undefined> {
  try {
    return await client.health(federation);
  } catch (error) {
    if (error instanceof FederatorError && error.type === 'NotFound') return undefined;
    throw error;
  }
}

/** An edge depends on what its two clusters are like, so their own checks belong to it. */
function chosen({ checks }: Diagnosis, { cluster, ends, findings }: Asked): DiagnosedCheck[] {
  // The monitor may know by another name what is wrong there.
  const scopes = findings?.map((id) => id.slice(id.indexOf('@') + 1).split('/')[0] ?? '');
  return checks.filter(({ scope }) => {
    if (scopes !== undefined && !scopes.includes(scope)) return false;
    if (ends !== undefined && scope !== edgeName(...ends) && !ends.includes(scope)) return false;
    return cluster === undefined || scope.split('←').includes(cluster);
  });
}

function checkId({ name, scope }: DiagnosedCheck): string {
  return findingId({ check: name, scope });
}
