/** `unknown`: it could not be looked at, which is nobody's fault but the connection's. */
export type Verdict = 'ok' | 'warning' | 'failed' | 'unknown';

/** One thing that was looked at. */
export interface Check {
  /** Stable name, e.g. "stored-bundle". */
  name: string;
  /** A cluster, or an edge "trusting←trusted". */
  scope: string;
  verdict: Verdict;
  /** What was seen. */
  evidence: string;
  /** Name of the one object of several that it is about. */
  about?: string;
  /** What to do about it; absent when all is well. */
  remedy?: string;
  /** It is about an object of somebody else, who has to correct it. */
  foreign?: true;
}

const ORDER: readonly Verdict[] = ['ok', 'warning', 'unknown', 'failed'];

/** The worst verdict; ok when there is nothing to look at. */
export function worstVerdict(checks: readonly Check[]): Verdict {
  return checks.reduce<Verdict>(
    (worst, { verdict }) => (ORDER.indexOf(verdict) > ORDER.indexOf(worst) ? verdict : worst),
    'ok',
  );
}

export interface VerifyResult {
  federation: string;
  clusters: string[];
  /** The worst of the checks. */
  verdict: Verdict;
  checks: Check[];
}
