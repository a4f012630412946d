/** Verdicts of an edge, the worst first, each with the glyph that says it besides the colour. */
export const VERDICTS = {
  broken: { glyph: '✕', meaning: 'cannot become fresh by itself' },
  stale: { glyph: '!', meaning: 'keys differ for longer than a poll takes' },
  unknown: { glyph: '?', meaning: 'a cluster cannot be asked' },
  lagging: { glyph: '~', meaning: 'keys differ, the next poll brings them' },
  fresh: { glyph: '✓', meaning: 'the current trust bundle is held' },
};

/** What the states of a finding mean to who reads them. */
export const STATES = {
  found: 'found',
  repairing: 'being repaired',
  approval: 'waits for approval',
  escalated: 'repairs failed: needs you',
  person: 'needs you',
};

/** @param {number | undefined} seconds */
export function age(seconds) {
  if (seconds === undefined) return 'never';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** @param {number | string | undefined} moment milliseconds since the Unix epoch, or ISO 8601 */
export function ago(moment) {
  if (moment === undefined) return 'never';
  return `${age(Math.max(0, (Date.now() - new Date(moment).getTime()) / 1000))} ago`;
}

/** @param {number | string | undefined} moment as `ago` takes it */
export function time(moment) {
  if (moment === undefined) return 'not known';
  return new Date(moment).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

/** "trusting←trusted", as findings name an edge. */
export const edgeKey = (trusting, trusted) => `${trusting}←${trusted}`;

/** What is said of an edge in one line. */
export function edgeText({ trusting, trusted, verdict, freshnessAgeSeconds }) {
  const proven =
    freshnessAgeSeconds === undefined
      ? verdict === 'fresh'
        ? ''
        : ', never proven fresh'
      : `, proven fresh ${age(freshnessAgeSeconds)} ago`;
  return `${trusting} trusts ${trusted}: ${verdict}${proven}`;
}
