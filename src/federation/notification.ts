import type { NotifiedFinding, NotifyRequest, Occurrence } from '../contract/scheduledHealth.js';
import { redactText } from './redaction.js';

/** Findings that are told of; the link leads to the others. */
const FINDINGS_TOLD = 20;
/** Characters of one finding's evidence or remedy. */
const LONGEST_TEXT = 500;
/** Findings that are named in the text for people. */
const FINDINGS_IN_TEXT = 5;

const WORDS: Readonly<Record<Occurrence, string>> = {
  new: 'something is wrong',
  escalated: 'it got worse',
  eased: 'it got better, but is not well',
  healed: 'all is well again',
};
const SEVERITIES: Readonly<Record<string, 'info' | 'warning' | 'critical'>> = {
  ok: 'info',
  lagging: 'info',
  repairing: 'warning',
  warning: 'warning',
  unknown: 'warning',
  attention: 'critical',
  failed: 'critical',
};

/** What a webhook is sent. `text` is for people, as Slack and its like show it. */
export interface NotificationBody {
  version: 1;
  /** The same for every attempt to send it. */
  id: string;
  federation: string;
  source: NotifyRequest['source'];
  occurrence: Occurrence;
  verdict: string;
  before: string;
  severity: 'info' | 'warning' | 'critical';
  /** ISO 8601. */
  at: string;
  text: string;
  findings: NotifiedFinding[];
  /** How many findings there are; at most 20 are listed. */
  wrong: number;
  link: string;
}

/** A notification as it is sent, without secrets: evidence quotes logs, and it leaves for somewhere else. */
export function notificationBody(request: NotifyRequest, { id, link }: { id: string; link: string }): NotificationBody {
  const { federation, source, occurrence, verdict, before, at, wrong } = request;
  const findings = request.findings.slice(0, FINDINGS_TOLD).map(toldFinding);
  const lines = findings
    .slice(0, FINDINGS_IN_TEXT)
    .map(({ name, scope, evidence, remedy }) => `• ${name} of ${scope}: ${evidence}${remedy ? ` ${remedy}` : ''}`);
  const more = wrong - lines.length;
  return {
    version: 1,
    id,
    federation,
    source,
    occurrence,
    verdict,
    before,
    severity: SEVERITIES[verdict] ?? 'warning',
    at: new Date(at).toISOString(),
    text: [
      `Federation ${federation}: ${WORDS[occurrence]} (${before} → ${verdict}).`,
      ...lines,
      ...(more > 0 ? [`… and ${more} more`] : []),
      link,
    ].join('\n'),
    findings,
    wrong,
    link,
  };
}

function toldFinding({ name, scope, evidence, remedy, state }: NotifiedFinding): NotifiedFinding {
  const told = (text: string) => redactText(text).slice(0, LONGEST_TEXT);
  return {
    name,
    scope,
    evidence: told(evidence),
    ...(remedy === undefined ? {} : { remedy: told(remedy) }),
    ...(state === undefined ? {} : { state }),
  };
}
