import { CHECKS, checkAnchor } from '../contract/checks.js';
import type { DiagnosedCheck, Diagnosis } from '../contract/diagnosis.js';
import { findingId, type RepairRecord } from '../contract/health.js';
import { worstVerdict } from '../contract/verify.js';
import { pc } from './colours.js';

/** What is said of a check: what was seen, and all that is known about it. */
interface Explained extends DiagnosedCheck {
  cause?: string;
  command?: string;
  anchor: string;
  /** What else is wrong for this reason. */
  also?: string[];
}

/** What programs get to read of a diagnosis, and of the repairs that followed it. */
export function explained(
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

/** Prints what is wrong and not explained by anything else that is wrong, each with its cause and what to do. */
export function printWrong(federation: string, checks: readonly DiagnosedCheck[]): void {
  for (const each of causesOf(federation, checks)) console.log(`${text(each)}\n`);
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
