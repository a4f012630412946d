import { findingCard, stepList } from './detail.js';
import { el, externalLink, refill } from './dom.js';
import { ago, STATES } from './format.js';

const SHOWN = 50;

function list(parent, title, none, items) {
  const heading = el(
    'h2',
    { id: `${parent.id}-title` },
    title,
    ' ',
    el('span', { class: 'muted' }, items.length || ''),
  );
  refill(parent, heading, ...(items.length === 0 ? [el('p', { class: 'muted' }, none)] : items.slice(0, SHOWN)));
}

/** The open findings, those first that wait for a person. */
export function listFindings(parent, findings, approve) {
  const order = ['approval', 'escalated', 'person', 'repairing', 'found'];
  const sorted = [...findings].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  const cards = sorted.map((finding) =>
    el(
      'details',
      { 'data-key': `finding ${finding.id}`, open: sorted.length <= 2 },
      el(
        'summary',
        { 'data-key': `summary ${finding.id}` },
        `${finding.check} · ${finding.scope} `,
        el('span', { class: `state s-${finding.state}` }, STATES[finding.state] ?? finding.state),
      ),
      findingCard(finding, approve),
    ),
  );
  list(parent, 'Findings', 'Nothing is wrong.', cards);
}

/** Changes, the newest first; the steps of those that run are live. */
export function listChanges(parent, changes, progressOf, open) {
  const rows = changes.map((change) => {
    const { runId, type, status, startedAt, requestedBy, link } = change;
    const progress = progressOf(runId);
    const running = status === 'RUNNING';
    return el(
      'article',
      { class: 'row' },
      el(
        'div',
        {},
        el('button', { class: 'link', 'data-key': `change ${runId}`, onclick: () => open(change) }, type),
        el('span', { class: `state c-${status}` }, running ? (progress?.phase ?? 'running') : status.toLowerCase()),
        el('span', { class: 'grow' }),
        externalLink(link, 'Temporal'),
      ),
      el('div', { class: 'muted' }, `${ago(startedAt)}${requestedBy === undefined ? '' : ` by ${requestedBy}`}`),
      running && progress !== undefined && stepList(progress.steps),
    );
  });
  list(parent, 'Changes', 'None yet.', rows);
}

/** What the engine has mended, the newest first. */
export function listRepairs(parent, repairs) {
  const rows = [...repairs].reverse().map((repair) => {
    const { findingId, scope, cause, action, outcome, startedAt, durationMs, evidenceBefore, evidenceAfter } = repair;
    return el(
      'details',
      { 'data-key': `repair ${findingId} ${startedAt}` },
      el(
        'summary',
        { 'data-key': `summary ${findingId} ${startedAt}` },
        `${cause} · ${scope} `,
        el('span', { class: `state o-${outcome}` }, outcome),
        el('div', { class: 'muted' }, `${action}, ${ago(startedAt)}, took ${(durationMs / 1000).toFixed(1)} s`),
      ),
      el('p', {}, el('b', {}, 'Before '), evidenceBefore),
      el('p', {}, el('b', {}, 'After '), evidenceAfter),
    );
  });
  list(parent, 'Repairs', 'None so far.', rows);
}
