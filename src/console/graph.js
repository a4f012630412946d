import { el, focusKey, refill, svg } from './dom.js';
import { age, edgeKey, edgeText, VERDICTS } from './format.js';

const WIDTH = 760;
const HEIGHT = 520;
/** A pair is a line, not a circle. */
const PAIR_HEIGHT = 260;
/** Beyond so many clusters the ages would lie upon each other, */
const LABELLED = 5;
/** and beyond so many the names have room at the circle's outside only. */
const ROOMY = 6;
/** Of more clusters than this, the fresh edges would hide the others. */
const CROWD = 30;

/**
 * Draws trust domains on a circle and an arrow from each that trusts to each that it trusts.
 * @param {HTMLElement} parent
 * @param {{ clusters: object[], edges: Map<string, object>, selected?: string, select: (key: string) => void }} shown
 */
export function drawGraph(parent, { clusters, edges, selected, select }) {
  const look = signature(clusters, edges, selected);
  if (parent.querySelector('svg')?.dataset.look === look) return;
  const height = clusters.length === 2 ? PAIR_HEIGHT : HEIGHT;
  const places = placed(
    clusters.map(({ cluster }) => cluster),
    height,
  );
  const size = clusters.length <= ROOMY ? 26 : Math.max(7, 150 / clusters.length + 6);
  const sorted = [...edges.values()].filter(({ trusting, trusted }) => places.has(trusting) && places.has(trusted));
  const shown = clusters.length > CROWD ? sorted.filter(({ verdict }) => verdict !== 'fresh') : sorted;
  // What is wrong is drawn last, above the others.
  shown.sort((a, b) => rank(b.verdict) - rank(a.verdict));
  const chart = svg(
    'svg',
    {
      viewBox: `0 0 ${WIDTH} ${height}`,
      'data-look': look,
      role: 'group',
      'aria-label': 'Clusters and whom they trust',
      class: `graph${clusters.length > ROOMY ? ' dense' : ''}`,
    },
    svg('defs', {}, Object.keys(VERDICTS).map(arrowhead)),
    svg(
      'g',
      {},
      shown.map((edge) => drawnEdge(edge, places, size, clusters.length, selected)),
    ),
    svg(
      'g',
      {},
      clusters.map((cluster) => drawnCluster(cluster, places.get(cluster.cluster), size, clusters.length, selected)),
    ),
  );
  const chosen = (event) => event.target.closest('[data-key]')?.dataset.key;
  chart.addEventListener('click', (event) => {
    const key = chosen(event);
    if (key !== undefined) select(key);
  });
  const keys = [
    ...clusters.map(({ cluster }) => cluster),
    ...shown.map(({ trusting, trusted }) => edgeKey(trusting, trusted)),
  ];
  chart.addEventListener('keydown', (event) => {
    const key = chosen(event);
    if (key === undefined) return;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === 'Enter' || event.key === ' ') select(key);
    else if (step === undefined) return;
    else focusKey(chart, keys[(keys.indexOf(key) + step + keys.length) % keys.length]);
    event.preventDefault();
  });
  const hint = `An arrow points from the cluster that trusts to the one it trusts.${clusters.length > CROWD ? ' Fresh edges are left out.' : ''}`;
  refill(parent, chart, el('p', { class: 'hint' }, hint));
}

/** What the picture depends on: a large one is drawn again for verdicts, not for each second of an age. */
function signature(clusters, edges, selected) {
  const aged = clusters.length <= 2 * ROOMY;
  return JSON.stringify([
    selected,
    clusters.map(({ cluster, trustDomain, server, endpoint }) => [cluster, trustDomain, server, endpoint]),
    [...edges].map(([key, { verdict, freshnessAgeSeconds }]) => [key, verdict, aged && freshnessAgeSeconds]),
  ]);
}

function placed(names, height) {
  const [x, y] = [WIDTH / 2, height / 2 - (names.length === 2 ? 10 : 0)];
  const [wide, high] =
    names.length === 2 ? [250, 0] : names.length <= ROOMY ? [265, 185] : names.length > CROWD ? [200, 185] : [250, 215];
  return new Map(
    names.map((name, index) => {
      const turn = (2 * Math.PI * index) / names.length - (names.length === 2 ? Math.PI : Math.PI / 2);
      return [name, { x: x + wide * Math.cos(turn), y: y + high * Math.sin(turn), turn }];
    }),
  );
}

const rank = (verdict) => Object.keys(VERDICTS).indexOf(verdict);

function arrowhead(verdict) {
  return svg(
    'marker',
    {
      id: `arrow-${verdict}`,
      viewBox: '0 0 8 8',
      refX: 7,
      refY: 4,
      markerWidth: 8,
      markerHeight: 8,
      markerUnits: 'userSpaceOnUse',
      orient: 'auto',
      class: `v-${verdict}`,
    },
    svg('path', { d: 'M0 0.5 8 4 0 7.5z', class: 'arrowhead' }),
  );
}

function drawnEdge(edge, places, size, count, selected) {
  const { trusting, trusted, verdict, freshnessAgeSeconds } = edge;
  const [from, to] = [places.get(trusting), places.get(trusted)];
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy);
  const [ux, uy] = [dx / length, dy / length];
  const bend = Math.min(46, length * 0.12);
  const middle = { x: (from.x + to.x) / 2 + uy * bend, y: (from.y + to.y) / 2 - ux * bend };
  const ends = (place, gap) => {
    const [ex, ey] = [middle.x - place.x, middle.y - place.y];
    const reach = Math.hypot(ex, ey);
    return `${(place.x + (ex / reach) * gap).toFixed(1)} ${(place.y + (ey / reach) * gap).toFixed(1)}`;
  };
  const line = `M${ends(from, size + 3)}Q${middle.x.toFixed(1)} ${middle.y.toFixed(1)} ${ends(to, size + 4)}`;
  const key = edgeKey(trusting, trusted);
  // On the line, so that it is clear whose age it is; off its middle where lines cross there.
  const along = count <= 3 ? 0.5 : 0.3;
  const [near, far] = [2 * along * (1 - along), along * along];
  const onLine = (axis) => (1 - near - far) * from[axis] + near * middle[axis] + far * to[axis];
  const label = { x: onLine('x').toFixed(1), y: (onLine('y') + 4).toFixed(1) };
  return svg(
    'g',
    {
      class: `edge v-${verdict}${selected === key ? ' selected' : ''}`,
      tabindex: 0,
      role: 'button',
      'data-key': key,
      'aria-label': edgeText(edge),
    },
    svg('title', {}, edgeText(edge)),
    svg('path', { d: line, class: 'hit' }),
    svg('path', { d: line, class: 'line', 'marker-end': `url(#arrow-${verdict})` }),
    count <= LABELLED &&
      svg('text', { ...label, class: 'age' }, `${VERDICTS[verdict]?.glyph} ${verdict} · ${age(freshnessAgeSeconds)}`),
  );
}

function drawnCluster({ cluster, trustDomain, server, endpoint }, { x, y, turn }, size, count, selected) {
  const state = server === 'down' || endpoint === 'failed' ? 'broken' : server === 'up' ? 'fresh' : 'unknown';
  const said = `Cluster ${cluster}, ${trustDomain ?? 'trust domain not known'}: SPIRE server ${server}, bundle endpoint ${endpoint}`;
  const below = Math.sin(turn) > -0.3 ? 1 : -1;
  const name = count > ROOMY ? outside(turn, size, count) : { y: below * (size + (below > 0 ? 18 : 22)) };
  return svg(
    'g',
    {
      class: `cluster v-${state}${selected === cluster ? ' selected' : ''}`,
      transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
      tabindex: 0,
      role: 'button',
      'data-key': cluster,
      'aria-label': said,
    },
    svg('title', {}, said),
    svg('circle', { r: size.toFixed(1) }),
    size > 14 && svg('text', { y: 6, class: 'glyph' }, VERDICTS[state].glyph),
    svg('text', { ...name, class: 'name' }, cluster),
    count <= ROOMY && trustDomain !== undefined && svg('text', { y: name.y + 16, class: 'domain' }, trustDomain),
  );
}

/** Where a name is written beside its node on a full circle; in a crowd along the radius. */
function outside(turn, size, count) {
  const right = Math.cos(turn) > 0;
  if (count > CROWD) {
    const degrees = (turn * 180) / Math.PI + (right ? 0 : 180);
    const x = right ? size + 4 : -size - 4;
    return {
      x,
      y: 3,
      transform: `rotate(${degrees.toFixed(1)})`,
      'text-anchor': right ? 'start' : 'end',
      'font-size': 9,
    };
  }
  const [x, y] = [Math.cos(turn) * (size + 8), Math.sin(turn) * (size + 14) + 4];
  const anchor = Math.abs(x) < 8 ? 'middle' : right ? 'start' : 'end';
  return { x: x.toFixed(1), y: y.toFixed(1), 'text-anchor': anchor, 'font-size': 13 };
}
