import type { DumpedPart, DumpInput } from '../contract/sysdump.js';
import type { Diagnosis } from '../contract/diagnosis.js';
import { redactText } from '../federation/redaction.js';
import { runCheck } from './activities.js';
import { diagnose } from './diagnose.js';
import { rootMessage } from './failure.js';

/** Checks and findings that are listed; where more are wrong, one cause makes most of them. */
const LISTED = 1_000;

/** Collects one part of a bug report. Changes nothing; what cannot be had is part of the answer. */
export async function sysdump({ part, ...input }: DumpInput): Promise<DumpedPart> {
  try {
    switch (part.kind) {
      case 'cluster':
        return await runCheck('dumpCluster', `Collect what ${part.cluster} tells`, { ...input, cluster: part.cluster });
      case 'engine':
        return await runCheck('dumpEngine', 'Collect what ran', input);
      case 'diagnosis':
        return await diagnosis(input.federation);
    }
  } catch (error) {
    return { missing: [{ what: 'everything', why: redactText(rootMessage(error)) }] };
  }
}

/** What is wrong; of what is well, only how much that is, as there are checks for every edge. */
async function diagnosis(federation: string): Promise<DumpedPart> {
  const { checks, findings, ...found } = await diagnose({ federation, clusters: [], readings: true });
  const wrong = checks.filter(({ verdict }) => verdict !== 'ok');
  const shown: Diagnosis & Record<'wrong' | 'well', number> = {
    ...found,
    wrong: wrong.length,
    well: checks.length - wrong.length,
    checks: wrong.slice(0, LISTED),
    findings: findings.slice(0, LISTED),
  };
  return { texts: { 'diagnosis.json': redactText(`${JSON.stringify(shown, undefined, 2)}\n`) }, missing: [] };
}
