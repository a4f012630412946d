import { Command } from 'commander';
import { FederatorClient } from '../client.js';
import { verifyInputSchema } from '../contract/change.js';
import { CHECKS, checkAnchor } from '../contract/checks.js';
import type { DiagnosedCheck, Diagnosis } from '../contract/diagnosis.js';
import { FederatorError } from '../contract/errors.js';
import { findingId, type RepairRecord } from '../contract/health.js';
import { DEFAULT_FEDERATION, edgeName } from '../contract/names.js';
import { worstVerdict, type Verdict } from '../contract/verify.js';
import { parseWorkloadReference, type WorkloadReference } from '../contract/workload.js';
import { pc } from './colours.js';
import { addExamples } from './examples.js';
import { EXIT_CODES } from './exitCodes.js';
import { fix } from './fix.js';
import { addInventoryOption, checked, inventoryClusters, requireKnown } from './options.js';
import { looking } from './looking.js';
import { addOutputOption, isTable, printResult, type OutputOptions } from './output.js';

const EXIT_CODE_OF: Readonly<Record<Verdict, number>> = {
  ok: EXIT_CODES.ok,
  warning: EXIT_CODES.failed,
  failed: EXIT_CODES.failed,
  unknown: EXIT_CODES.unknown,
};

interface DiagnoseOptions extends OutputOptions {
  federation: string;
  cluster?: string;
  edge?: string;
  workload?: string;
  fix?: boolean;
  yes?: boolean;
  inventory?: string;
}

/** What is looked at: all of a federation where nothing is said. */
interface Asked {
  cluster?: string | undefined;
  ends?: [string, string] | undefined;
  workload?: string | undefined;
}

/** What `diagnose` says of a check: what was seen, and all that is known about it. */
interface Explained extends DiagnosedCheck {
  cause?: string;
  command?: string;
  anchor: string;
  /** What else is wrong for this reason. */
  also?: string[];
}

/** `diagnose`: what is wrong, why, and what to do about it; changes nothing unless `--fix` is said. */
export function diagnoseCommand(): Command {
  const command = new Command('diagnose')
    .description('what is wrong, why, and the command for it; exit code 0, 1, or 2: could not look')
    .option('--federation <name>', 'name of the federation', DEFAULT_FEDERATION)
    .option('--cluster <name>', 'only what is about this cluster')
    .option('--edge <edge>', 'only one edge: <trusting>:<trusted>, or <trusting>←<trusted>')
    .option('--workload <workload>', 'only one workload: <namespace>/<pod>, the UID of a pod, or a SPIFFE ID')
    .option('--fix', 'show what the engine can repair of it, ask, and repair it')
    .option('--yes', 'with --fix: do not ask')
    .action((options: DiagnoseOptions) => looking(() => diagnose(options)));
  return addExamples(
    addOutputOption(addInventoryOption(command)),
    'npm run federator -- diagnose --federation prod',
    'npm run federator -- diagnose --federation prod --edge client-1:server-1 --fix',
  );
}

async function diagnose(options: DiagnoseOptions): Promise<void> {
  const { federation, cluster, edge, workload, inventory } = options;
  if (options.yes === true && options.fix !== true)
    throw new FederatorError('InvalidInput', '--yes goes with --fix: without it nothing is changed.');
  if (workload !== undefined && (edge !== undefined || options.fix === true))
    throw new FederatorError('InvalidInput', '--workload goes with --cluster only: its remedies take a person.');
  const forPeople = isTable(options);
  const asked: Asked = { cluster, ends: edge === undefined ? undefined : parseEdge(edge), workload };
  requireKnown(
    [...(cluster === undefined ? [] : [cluster]), ...(asked.ends ?? [])],
    await inventoryClusters(inventory),
  );
  const client = await FederatorClient.connect();
  try {
    let diagnosis = await look(client, federation, asked);
    let repairs: RepairRecord[] | undefined;
    if (options.fix === true) {
      const wrong = chosen(diagnosis, asked).filter(({ verdict }) => verdict !== 'ok');
      if (forPeople) printWrong(federation, wrong);
      const ids = new Set(wrong.map(({ name, scope }) => findingId({ check: name, scope })));
      const findings = diagnosis.findings.filter((finding) => ids.has(findingId(finding)));
      if (wrong.length > 0)
        repairs = await fix(client, diagnosis, findings, { yes: options.yes === true, quiet: !forPeople });
      // What failed while it was broken says nothing of now.
      if (repairs !== undefined) diagnosis = await look(client, federation, asked, true);
    }
    const checks = chosen(diagnosis, asked);
    process.exitCode = EXIT_CODE_OF[worstVerdict(checks)];
    printResult(explained(diagnosis, checks, repairs), options, () =>
      print(federation, checks, options.fix === true && repairs === undefined),
    );
  } finally {
    await client.close();
  }
}

/** The federation as it is now, or one workload of it. @throws FederatorError NotFound, InvalidInput */
async function look(client: FederatorClient, federation: string, asked: Asked, retryPolls = false): Promise<Diagnosis> {
  const named = [...(asked.cluster === undefined ? [] : [asked.cluster]), ...(asked.ends ?? [])];
  const input = checked(verifyInputSchema, { federation });
  const workload = asked.workload === undefined ? {} : { workload: parseWorkload(asked.workload) };
  const diagnosis = await client.diagnose({ ...input, readings: true, retryPolls, ...workload });
  const outside = named.filter((name) => !diagnosis.clusters.includes(name));
  if (outside.length > 0) {
    throw new FederatorError(
      'NotFound',
      `${outside.join(', ')} is no member of federation ${federation}. Its members: ${diagnosis.clusters.join(', ')}.`,
    );
  }
  return diagnosis;
}

function parseWorkload(text: string): WorkloadReference {
  const workload = parseWorkloadReference(text);
  if (workload !== undefined) return workload;
  throw new FederatorError(
    'InvalidInput',
    `${text} is no workload. Write <namespace>/<pod>, the UID of a pod, or a SPIFFE ID.`,
  );
}

function parseEdge(edge: string): [string, string] {
  const [trusting, trusted, ...rest] = edge.split(/[:←]/);
  if (!trusting || !trusted || rest.length > 0 || trusting === trusted) {
    throw new FederatorError('InvalidInput', `${edge} is no edge. Write <trusting>:<trusted>, e.g. client-1:server-1.`);
  }
  return [trusting, trusted];
}

/** An edge depends on what its two clusters are like, so their own checks belong to it. */
function chosen({ checks }: Diagnosis, { cluster, ends }: Asked): DiagnosedCheck[] {
  return checks.filter(({ scope }) => {
    if (ends !== undefined && scope !== edgeName(...ends) && !ends.includes(scope)) return false;
    return cluster === undefined || scope.split('←').includes(cluster);
  });
}

/** What is wrong and not explained by anything else that is shown, each with what follows from it. */
function causesOf(federation: string, checks: readonly DiagnosedCheck[]): Explained[] {
  const wrong = checks.filter(({ verdict }) => verdict !== 'ok');
  const idOf = ({ name, scope }: DiagnosedCheck) => findingId({ check: name, scope });
  const shown = new Set(wrong.map(idOf));
  const parents = new Map(wrong.map((check) => [idOf(check), check.because]));
  const rootOf = (id: string): string => {
    const parent = parents.get(id);
    return parent === undefined || !shown.has(parent) ? id : rootOf(parent);
  };
  return wrong
    .filter((check) => check.because === undefined || !shown.has(check.because))
    .map((check) => {
      const known = CHECKS[check.name];
      const also = wrong
        .filter((each) => idOf(each) !== idOf(check) && rootOf(idOf(each)) === idOf(check))
        .map(({ name, scope }) => `${name} of ${scope}`);
      return {
        ...check,
        ...(known === undefined ? {} : { cause: known.cause, command: known.command(federation) }),
        anchor: checkAnchor(check.name),
        ...(also.length === 0 ? {} : { also }),
      };
    });
}

/** What programs get to read. */
function explained(
  { federation, clusters, findings }: Diagnosis,
  checks: readonly DiagnosedCheck[],
  repairs: RepairRecord[] | undefined,
) {
  const wrong = causesOf(federation, checks);
  const proposals = findings
    .filter(({ action }) => action !== undefined)
    .filter(({ check, scope }) => wrong.some((each) => each.name === check && each.scope === scope))
    .map(({ check, scope, action, needsApproval }) => ({ check, scope, action, needsApproval }));
  return { federation, clusters, verdict: worstVerdict(checks), checks: checks.length, wrong, proposals, repairs };
}

function print(federation: string, checks: readonly DiagnosedCheck[], printed: boolean): void {
  const wrong = checks.filter(({ verdict }) => verdict !== 'ok');
  if (!printed) printWrong(federation, wrong);
  console.log(
    `Federation ${federation}: ${wrong.length === 0 ? 'nothing is wrong' : `${wrong.length} of ${checks.length} checks are not ok`}.`,
  );
}

function printWrong(federation: string, checks: readonly DiagnosedCheck[]): void {
  for (const each of causesOf(federation, checks)) console.log(`${text(each)}\n`);
}

function text({ scope, name, verdict, evidence, cause, remedy, command, anchor, also }: Explained): string {
  return [
    `${pc.bold(`${name} of ${scope}`)}: ${verdict === 'failed' ? pc.red(verdict) : pc.yellow(verdict)}`,
    `  seen    ${evidence}`,
    ...(cause === undefined ? [] : [`  cause   ${cause}`]),
    ...(remedy === undefined ? [] : [`  remedy  ${remedy}`]),
    ...(command === undefined ? [] : [`  look    ${command}`]),
    ...(also === undefined ? [] : [`  also    ${also.join(', ')}`]),
    pc.dim(`  more    ${anchor}`),
  ].join('\n');
}
