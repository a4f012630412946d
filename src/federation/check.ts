import type { Check, Verdict } from '../contract/verify.js';

/**
 * Makes the checks of one cluster or edge.
 * @param about name of the one object of several that they are about
 */
export function checker(scope: string, about?: string) {
  return (name: string, verdict: Verdict, evidence: string, remedy?: string): Check => ({
    name,
    scope,
    verdict,
    evidence,
    ...(remedy === undefined ? {} : { remedy }),
    ...(about === undefined ? {} : { about }),
  });
}

/** Checks that an answer may list; Temporal refuses payloads of 2 MB, and a check has some 200 bytes. */
const CHECKS_LISTED = 4_000;

/**
 * The checks as they are answered: all of them where they fit, else one in the place of all that are ok, and of the
 * others the first, the worst of them before the rest.
 */
export function boundedChecks<T extends Check>(federation: string, checks: readonly T[]): (T | Check)[] {
  if (checks.length <= CHECKS_LISTED) return [...checks];
  const wrong = checks.filter(({ verdict }) => verdict !== 'ok');
  const listed = [...wrong].sort((a, b) => SEVERITY[b.verdict] - SEVERITY[a.verdict]).slice(0, CHECKS_LISTED);
  const check = checker(federation);
  const ok = checks.length - wrong.length;
  return [
    ...listed,
    ...(wrong.length > listed.length
      ? [check('more', 'warning', `${wrong.length - listed.length} more checks are not ok`)]
      : []),
    ...(ok > 0 ? [check('more', 'ok', `${ok} more checks are ok`)] : []),
  ];
}

const SEVERITY: Readonly<Record<Verdict, number>> = { ok: 0, warning: 1, unknown: 2, failed: 3 };
