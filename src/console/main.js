import { addressed, note } from './address.js';
import { showChange, showCluster, showEdge, showLegend, showVerify } from './detail.js';
import { askApproval, askPause } from './dialogs.js';
import { byId, el, focusKey, refill } from './dom.js';
import { allEdges } from './edges.js';
import { ChangeFeed } from './changeFeed.js';
import { ago, time, VERDICTS } from './format.js';
import { drawGraph } from './graph.js';
import { listChanges, listFindings, listRepairs } from './lists.js';
import { Matrix } from './matrix.js';
import { api, ApiError, events, token } from './session.js';

/** So long after a stream ended or broke off it is taken up again. */
const RETRY_MS = 4_000;
const REDRAW_MS = 4_000;
/** More clusters than this are easier read as a matrix. */
const GRAPH_CLUSTERS = 12;
const NOTHING = { clusters: [], edges: [], counts: {}, findings: [], repairs: [] };

const view = byId('view');
const detail = byId('detail');
const feed = new ChangeFeed(() => drawChanges());
/** What is shown: of which federation, how, and what of it was chosen. */
const state = {
  grants: [],
  federation: undefined,
  health: NOTHING,
  edges: new Map(),
  /** Of the clusters that have one. */
  regions: new Map(),
  view: undefined,
  /** The view that somebody asked for; otherwise it is by how many clusters there are. */
  asked: undefined,
  panel: undefined,
  /** What the address asks to be opened, once it is known. */
  opens: undefined,
};
let matrix;
/** @type {AbortController | undefined} */
let following;
let busy = false;

const at = (path, federation = state.federation) => `federations/${encodeURIComponent(federation)}/${path}`;
const allowed = (permission) =>
  state.grants.some(
    ({ federation, permissions }) =>
      (federation === '*' || federation === state.federation) && permissions.includes(permission),
  );

async function signedIn() {
  const listed = everyFederation();
  // It is awaited below; until then the token may be refused.
  listed.catch(() => undefined);
  const { name, grants } = await api('whoami');
  state.grants = grants;
  byId('who').textContent = name;
  byId('sign-in').hidden = true;
  byId('console').hidden = false;
  offer(await listed);
  goToAddress();
}

/** Lets one of these be chosen; the one that is shown stays so. */
function offer(federations) {
  const select = byId('federation');
  const chosen = select.value;
  select.replaceChildren(...federations.map((each) => el('option', {}, each.name)));
  if (isOffered(chosen)) select.value = chosen;
  state.members = new Map(federations.map(({ name, members }) => [name, members]));
}

function isOffered(federation) {
  return [...byId('federation').options].some(({ value }) => value === federation);
}

/** Shows what the address asks for, as far as there is such a thing. */
function goToAddress() {
  const { federation, view, selected } = addressed();
  const select = byId('federation');
  if (select.options.length === 0)
    return notice('There is no federation yet that you may see. Reload the page once there is one.');
  if (federation === undefined) return choose(select.value || select.options[0].value);
  if (isOffered(federation)) {
    select.value = federation;
    return choose(federation, { asked: view, opens: selected });
  }
  // Another one than somebody was sent to would be taken for it.
  select.value = null;
  leave();
  notice(`There is no federation ${federation} that you may see.`);
}

/** The same for an address that changed: it may be of what was made after the page was opened. */
async function goToNewAddress() {
  const { federation } = addressed();
  try {
    if (federation === undefined || !isOffered(federation)) offer(await everyFederation());
    goToAddress();
  } catch (error) {
    failed(error);
  }
}

async function everyFederation() {
  const found = [];
  for (let cursor = ''; cursor !== undefined;) {
    const { items, next } = await api(`federations?limit=500${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    found.push(...items);
    cursor = next;
  }
  return found;
}

function choose(federation, { asked, opens } = {}) {
  feed.stop();
  const nothing = { health: NOTHING, edges: new Map(), regions: new Map(), panel: undefined, selected: undefined };
  Object.assign(state, { federation, ...nothing, view: asked, asked, opens });
  note({ federation, view: asked, selected: opens });
  matrix = undefined;
  view.replaceChildren();
  void follow();
}

/** Follows what is known of the federation and shows it, until another one is chosen or nobody looks. */
async function follow() {
  following?.abort();
  const { signal } = (following = new AbortController());
  while (!signal.aborted) {
    try {
      for await (const { event, data } of events(at('health/events'), signal)) {
        if (signal.aborted) return;
        if (event === 'failure') throw new ApiError(data.status, data.detail);
        take(event, data);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError) failed(error);
      else {
        // Whatever it is, what comes next may be shown again.
        notice(`What the API tells cannot be shown: ${error.message}`);
        reportError(error);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

function take(event, data) {
  if (event === 'changes') {
    feed.take(at(''), data);
    drawChanges();
    // Nobody else tells who is a member now.
    if (state.health.monitored === false) void learnMembers();
  }
  if (event !== 'health') return;
  if (data === null) {
    notice('No monitor watches over this federation, so nothing is known of its edges. Verify looks at them once.');
    show(unwatched());
  } else {
    notice();
    show({ ...data, monitored: true });
  }
}

/** Without a monitor: the members, and nothing about their edges. */
function unwatched() {
  const members = [...(state.members.get(state.federation) ?? [])].sort();
  const clusters = members.map((cluster) => ({ cluster, server: 'unknown', endpoint: 'unknown' }));
  return { ...NOTHING, clusters, verdict: 'unknown', monitored: false };
}

function show(health) {
  const isAnother = clusterNames(health) !== clusterNames(state.health);
  state.health = health;
  if (isAnother) void learnMembers();
  state.edges = allEdges(health);
  state.view ??= health.clusters.length > GRAPH_CLUSTERS ? 'matrix' : 'graph';
  drawHead();
  drawView();
  drawActions();
  const { opens } = state;
  if (state.edges.has(opens) || health.clusters.some(({ cluster }) => cluster === opens)) {
    state.opens = undefined;
    select(opens);
  } else state.panel?.();
  if (state.panel === undefined) showLegend(detail);
  listFindings(byId('findings'), health.findings, approval());
  listRepairs(byId('repairs'), health.repairs);
  drawChanges();
}

const clusterNames = ({ clusters }) => clusters.map(({ cluster }) => cluster).join();

/** Who is a member, and the inventory's part of what is shown of a cluster, of which the monitor knows nothing. */
async function learnMembers() {
  const { federation } = state;
  try {
    const { items } = await api(at('members'));
    if (state.federation !== federation) return;
    state.regions = new Map(items.filter(({ region }) => region).map(({ cluster, region }) => [cluster, region]));
    const names = items.map(({ cluster }) => cluster);
    const isAnother = names.join() !== (state.members.get(federation) ?? []).join();
    state.members.set(federation, names);
    if (isAnother && state.health.monitored === false) show(unwatched());
    state.panel?.();
  } catch (error) {
    if (state.federation === federation) failed(error);
  }
}

function drawHead() {
  const { verdict, counts, lastRoundAt, paused, monitored } = state.health;
  const pill = byId('verdict');
  pill.className = `pill f-${verdict}`;
  if (pill.textContent !== verdict) pill.textContent = verdict;
  byId('round').textContent =
    paused === undefined
      ? monitored
        ? `looked ${ago(lastRoundAt)}`
        : 'not watched'
      : `paused: ${paused.reason}${paused.until === undefined ? '' : `, until ${time(paused.until)}`}`;
  byId('counts').replaceChildren(
    ...Object.entries(VERDICTS)
      .filter(([each]) => counts[each] > 0)
      .map(([each, { glyph }]) => el('span', { class: `mark v-${each}` }, `${glyph} ${counts[each]} ${each}`)),
  );
}

function drawView() {
  const { health, edges, selected, federation, asked, opens } = state;
  note({ federation, view: asked, selected: selected ?? opens });
  for (const each of ['graph', 'matrix'])
    byId(`view-${each}`).setAttribute('aria-pressed', String(state.view === each));
  const shown = { clusters: health.clusters, edges, selected, select };
  if (state.view === 'matrix') {
    matrix ??= new Matrix(view, select);
    matrix.draw(shown);
  } else {
    matrix = undefined;
    drawGraph(view, shown);
  }
}

function drawActions() {
  const { monitored, paused } = state.health;
  const button = (text, run, title) =>
    el('button', { 'data-key': text, title, disabled: busy, onclick: () => void acted(run) }, text);
  const rests = paused !== undefined;
  refill(
    byId('actions'),
    monitored && button('Check now', (post) => post('monitor/check').then(nowKnown)),
    button('Verify', verify, 'Look at every cluster and edge thoroughly; nothing is changed'),
    monitored && allowed('change') && (rests ? button('Resume', resume) : button('Pause …', pause)),
  );
}

/**
 * Does something for the federation that is shown. What comes of it is shown unless another one is by then.
 * @param {(post: (path: string, body?: unknown) => Promise<object>) => Promise<(() => void) | undefined>} run
 *   returns what shows it
 */
async function acted(run) {
  const { federation } = state;
  const isShown = () => state.federation === federation;
  busy = true;
  drawActions();
  try {
    const shown = await run((path, body) => api(at(path, federation), { method: 'POST', body }));
    if (isShown()) shown?.();
  } catch (error) {
    if (isShown() || error.status === 401) failed(error);
  }
  busy = false;
  if (state.federation !== undefined) drawActions();
}

/** What shows the health that a monitor answered with. */
const nowKnown = (health) => () => show({ ...health, monitored: true });

async function verify(post) {
  const result = await post('verify');
  return () => opened(() => showVerify(detail, result, close));
}

async function pause(post) {
  const asked = await askPause();
  return asked === undefined ? undefined : nowKnown(await post('monitor/pause', asked));
}

async function resume(post) {
  return nowKnown(await post('monitor/resume'));
}

/** What approving a finding does; undefined for who may not. */
function approval() {
  if (!allowed('approve')) return undefined;
  return (finding) =>
    void acted(async (post) => {
      if (!(await askApproval(finding))) return undefined;
      return nowKnown(await post('approvals', { findingId: finding.id }));
    });
}

function drawChanges() {
  listChanges(
    byId('changes'),
    feed.changes,
    (runId) => feed.progress.get(runId),
    (change) => {
      void acted(async () => {
        const full = await api(at(`changes/${change.runId}`));
        const panel = () =>
          showChange(detail, { ...full, progress: feed.progress.get(change.runId) ?? full.progress }, close);
        return () => opened(panel);
      });
    },
  );
}

/** Opens a cluster or an edge; what is shown of it stays current. */
function select(key) {
  opened(() => {
    const { health, edges, regions } = state;
    const shown = { health, edges, regions, select, close, approve: approval() };
    const cluster = health.clusters.find((each) => each.cluster === key);
    if (cluster !== undefined) showCluster(detail, cluster, shown);
    else if (edges.has(key)) showEdge(detail, edges.get(key), shown);
    else close();
  }, key);
}

function opened(panel, key) {
  state.panel = panel;
  state.selected = key;
  state.opens = undefined;
  panel();
  drawView();
  detail.focus({ preventScroll: true });
}

function close() {
  const { selected } = state;
  state.panel = undefined;
  state.selected = undefined;
  showLegend(detail);
  drawView();
  if (selected !== undefined) focusKey(view, selected);
}

function failed(error) {
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 401) signOut(error.message);
  else notice(error.message);
}

function notice(text = '') {
  byId('notice').hidden = text === '';
  if (byId('notice').textContent !== text) byId('notice').textContent = text;
}

/** Follows and shows no federation any more. */
function leave() {
  feed.stop();
  following?.abort();
  Object.assign(state, { federation: undefined, panel: undefined, selected: undefined, opens: undefined });
  for (const id of ['view', 'detail', 'findings', 'changes', 'repairs', 'actions', 'counts', 'verdict', 'round'])
    byId(id).replaceChildren();
  byId('verdict').className = 'pill';
}

function signOut(why = '') {
  token.forget();
  leave();
  notice();
  state.grants = [];
  for (const id of ['federation', 'who']) byId(id).replaceChildren();
  byId('console').hidden = true;
  byId('sign-in').hidden = false;
  byId('sign-in-error').textContent = why;
  byId('token').focus();
}

async function enter() {
  try {
    await signedIn();
  } catch (error) {
    if (error instanceof ApiError && error.status !== 401 && !byId('console').hidden) notice(error.message);
    else signOut(error.message);
  }
}

byId('sign-in').addEventListener('submit', (event) => {
  event.preventDefault();
  const field = byId('token');
  token.set(field.value.trim());
  field.value = '';
  void enter();
});
byId('sign-out').addEventListener('click', () => signOut());
byId('federation').addEventListener('change', ({ target }) => choose(target.value));
for (const each of ['graph', 'matrix']) {
  byId(`view-${each}`).addEventListener('click', () => {
    if (state.federation === undefined) return;
    state.view = each;
    state.asked = each;
    drawView();
  });
}
addEventListener('hashchange', () => {
  if (!byId('console').hidden) void goToNewAddress();
});
document.addEventListener('keydown', ({ key }) => {
  if (key === 'Escape' && state.panel !== undefined && !byId('dialog').open) close();
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) following?.abort();
  else if (state.federation !== undefined) void follow();
});
// How long ago something was goes on also while nothing is new.
setInterval(() => {
  if (state.federation !== undefined && !document.hidden) drawHead();
}, REDRAW_MS);
if (token.get() === null) signOut();
else void enter();
