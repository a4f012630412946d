import { el, externalLink, refill } from './dom.js';
import { age, ago, edgeKey, edgeText, STATES, time, VERDICTS } from './format.js';

/** Facts as a list of terms; those without a value are left out. */
function facts(entries) {
  const known = Object.entries(entries).filter(([, value]) => value !== undefined && value !== '');
  return el('dl', {}, ...known.flatMap(([term, value]) => [el('dt', {}, term), el('dd', {}, value)]));
}

export function verdictMark(verdict) {
  return el('span', { class: `mark v-${verdict}` }, `${VERDICTS[verdict]?.glyph ?? '·'} ${verdict}`);
}

function panel(parent, close, title, ...content) {
  const shut =
    close && el('button', { class: 'close', onclick: close, 'aria-label': 'Close', 'data-key': 'close' }, '×');
  refill(parent, el('div', { class: 'panel-head' }, el('h2', {}, title), shut), ...content);
}

/** What a finding says, what to do about it, and the button for who may approve its repair. */
export function findingCard(finding, approve) {
  const { id, check, scope, evidence, remedy, state, since, needsApproval, attempts, action } = finding;
  const waits = (state === 'approval' || state === 'escalated') && action !== undefined;
  return el(
    'article',
    { class: `finding s-${state}` },
    el('h3', {}, `${check} · ${scope}`),
    el(
      'p',
      { class: 'muted' },
      [STATES[state] ?? state, `since ${ago(since)}`, attempts > 0 && `${attempts} attempts`]
        .filter(Boolean)
        .join(' · '),
    ),
    el('p', {}, evidence),
    needsApproval !== undefined && el('p', {}, `Needs approval: ${needsApproval}.`),
    el('p', { class: 'remedy' }, el('b', {}, 'Remedy '), remedy),
    waits &&
      approve !== undefined &&
      el('button', { class: 'primary', 'data-key': `approve ${id}`, onclick: () => approve(finding) }, 'Approve …'),
  );
}

function findingsOf(scope, { findings }, approve) {
  return findings.filter((finding) => finding.scope === scope).map((finding) => findingCard(finding, approve));
}

export function showEdge(parent, edge, { health, approve, select, edges, close }) {
  const { trusting, trusted, verdict, cause, evidence, storedFingerprint, peerFingerprint, lastError } = edge;
  const back = edges.get(edgeKey(trusted, trusting));
  const jump = (key, text) =>
    el('button', { class: 'link', 'data-key': `jump ${key}`, onclick: () => select(key) }, text);
  panel(
    parent,
    close,
    `${trusting} → ${trusted}`,
    el('p', {}, verdictMark(verdict), ' ', el('span', { class: 'muted' }, VERDICTS[verdict]?.meaning ?? '')),
    el('p', {}, evidence ?? 'Fresh: the monitor lists only the others one by one.'),
    ...findingsOf(edgeKey(trusting, trusted), health, approve),
    facts({
      Cause: cause,
      'Proven fresh': edge.freshnessAgeSeconds === undefined ? undefined : `${age(edge.freshnessAgeSeconds)} ago`,
      Stored: storedFingerprint,
      'Peer has': peerFingerprint,
      'Last error': lastError,
      Trusting: jump(trusting, trusting),
      Trusted: jump(trusted, trusted),
      'Other way': back && jump(edgeKey(trusted, trusting), edgeText(back)),
    }),
  );
}

export function showCluster(parent, cluster, { health, approve, select, edges, regions, close }) {
  const { cluster: name, trustDomain, server, endpoint, evidence, agents, readAt, caRotatesAt, caExpiresAt } = cluster;
  const own = [...edges.values()].filter(({ trusting, trusted }) => trusting === name || trusted === name);
  const wrong = own.filter(({ verdict }) => verdict !== 'fresh');
  const listed = (own.length <= 12 ? own : wrong).slice(0, 40);
  panel(
    parent,
    close,
    name,
    el('p', { class: 'muted' }, trustDomain ?? 'trust domain not known'),
    evidence !== undefined && el('p', {}, evidence),
    ...findingsOf(name, health, approve),
    facts({
      Region: regions.size === 0 ? undefined : (regions.get(name) ?? 'none'),
      'SPIRE server': server,
      'Bundle endpoint': endpoint,
      Agents: agents === undefined ? undefined : String(agents),
      'CA rotates': caRotatesAt && time(caRotatesAt),
      'CA expires': caExpiresAt && time(caExpiresAt),
      'Last read': readAt === undefined ? undefined : ago(readAt),
      Edges: `${own.length - wrong.length} of ${own.length} fresh`,
    }),
    el(
      'ul',
      { class: 'plain' },
      ...listed.map((edge) => {
        const key = edgeKey(edge.trusting, edge.trusted);
        const open = { class: 'link', 'data-key': `jump ${key}`, onclick: () => select(key) };
        return el('li', {}, verdictMark(edge.verdict), ' ', el('button', open, `${edge.trusting} → ${edge.trusted}`));
      }),
    ),
  );
}

/** Nothing is selected: what the glyphs mean. */
export function showLegend(parent) {
  panel(
    parent,
    undefined,
    'Edges',
    el(
      'ul',
      { class: 'plain legend' },
      ...Object.entries(VERDICTS).map(([verdict, { meaning }]) =>
        el('li', {}, verdictMark(verdict), ' ', el('span', { class: 'muted' }, meaning)),
      ),
    ),
    el('p', { class: 'hint' }, 'Choose a cluster or an edge for its evidence and remedy. Escape closes it again.'),
  );
}

export function showVerify(parent, { verdict, checks }, close) {
  const wrong = checks.filter((check) => check.verdict !== 'ok');
  panel(
    parent,
    close,
    `Verify: ${verdict}`,
    el('p', {}, `${checks.length - wrong.length} of ${checks.length} checks are ok.`),
    ...wrong
      .slice(0, 100)
      .map(({ name, scope, verdict: found, evidence, remedy }) =>
        el(
          'article',
          { class: 'finding' },
          el('h3', {}, `${name} · ${scope}`),
          el('p', { class: 'muted' }, found),
          el('p', {}, evidence),
          remedy !== undefined && el('p', { class: 'remedy' }, el('b', {}, 'Remedy '), remedy),
        ),
      ),
  );
}

export function showChange(parent, change, close) {
  const { type, status, startedAt, endedAt, requestedBy, link, progress, result, error } = change;
  panel(
    parent,
    close,
    type,
    facts({
      Status: status.toLowerCase(),
      Started: time(startedAt),
      Ended: endedAt && time(endedAt),
      'Asked for by': requestedBy,
      Failure: error && `${error.type}: ${error.message}`,
    }),
    el('p', {}, externalLink(link, 'Open in Temporal') ?? ''),
    stepList((progress ?? result)?.steps ?? []),
  );
}

const STEP_GLYPHS = { done: '✓', unchanged: '=', running: '…', failed: '✕', undone: '↶', pending: '·' };

/** Steps of a change, each with where it stands. */
export function stepList(steps) {
  return el(
    'ol',
    { class: 'steps' },
    ...steps.map(({ state, title, note, elapsedMs }) =>
      el(
        'li',
        { class: `step-${state}` },
        el('span', { class: 'glyph', 'aria-hidden': true }, STEP_GLYPHS[state] ?? '·'),
        el('span', {}, title, note !== undefined && el('span', { class: 'muted' }, ` ${note}`)),
        el('span', { class: 'muted' }, state, elapsedMs !== undefined && ` ${(elapsedMs / 1000).toFixed(1)} s`),
      ),
    ),
  );
}
