import { el, refill } from './dom.js';
import { edgeKey, edgeText, VERDICTS } from './format.js';

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** Who trusts whom as a table that stays readable at a hundred clusters: a row for who trusts, a column for whom. */
export class Matrix {
  /** @param {HTMLElement} parent @param {(key: string) => void} select */
  constructor(parent, select) {
    this.select = select;
    this.cells = new Map();
    this.table = el('table', { role: 'grid', 'aria-label': 'Edges: rows trust columns' });
    this.said = el('p', { class: 'hint said', 'aria-hidden': true });
    this.onlyWrong = el('input', { type: 'checkbox', onchange: () => this.build() });
    this.box = el('div', { class: 'matrix' }, this.table);
    for (const [event, handle] of [
      ['click', (cell) => this.select(cell.dataset.key)],
      ['focusin', (cell) => this.reach(cell)],
      ['mouseover', (cell) => this.say(cell.dataset.key)],
    ]) {
      this.table.addEventListener(event, ({ target }) => {
        const cell = target.closest('[data-key]');
        if (cell !== null) handle(cell);
      });
    }
    this.table.addEventListener('keydown', (event) => this.move(event));
    refill(
      parent,
      el('div', { class: 'matrix-bar' }, this.said, el('label', {}, this.onlyWrong, ' Only what is not fresh')),
      this.box,
    );
  }

  /** @param {{ clusters: object[], edges: Map<string, object>, selected?: string }} shown */
  draw({ clusters, edges, selected }) {
    this.edges = edges;
    this.selected = selected;
    const names = clusters.map(({ cluster }) => cluster).join('\n');
    const wrong = this.onlyWrong.checked
      ? [...edges]
          .filter(isWrong)
          .map(([key]) => key)
          .join('\n')
      : '';
    if (names !== this.names || wrong !== this.wrong) {
      this.all = clusters.map(({ cluster }) => cluster);
      this.build();
    } else this.mark();
    [this.names, this.wrong] = [names, wrong];
  }

  build() {
    const wrong = [...this.edges.values()].filter(({ verdict }) => verdict !== 'fresh');
    const kept = (end) => {
      if (!this.onlyWrong.checked) return this.all;
      const touched = new Set(wrong.map((edge) => edge[end]));
      return this.all.filter((name) => touched.has(name));
    };
    [this.rows, this.columns] = [kept('trusting'), kept('trusted')];
    const count = Math.max(this.rows.length, this.columns.length);
    this.table.className = count > 40 ? 'small' : count > 14 ? 'medium' : 'large';
    this.cells.clear();
    this.focused = undefined;
    const head = this.columns.map((name) => el('th', { scope: 'col', title: name }, el('span', {}, name)));
    const body = this.rows.map((row) =>
      el(
        'tr',
        {},
        el('th', { scope: 'row', title: row }, row),
        ...this.columns.map((column) => this.cell(row, column)),
      ),
    );
    this.table.replaceChildren(
      el('thead', {}, el('tr', {}, el('th', { class: 'corner' }, 'trusts ↓  trusted →'), ...head)),
      el('tbody', {}, ...body),
    );
    this.mark();
    const first = [...this.cells.values()].find(({ dataset }) => this.edges.has(dataset.key));
    if (first !== undefined) this.reach(first, false);
    if (first === undefined) this.said.textContent = 'Nothing to show: every edge is fresh.';
  }

  cell(row, column) {
    const key = edgeKey(row, column);
    if (row === column) return el('td', { class: 'self', 'aria-hidden': true });
    const cell = el('td', { role: 'gridcell', 'data-key': key, tabindex: -1 });
    this.cells.set(key, cell);
    return cell;
  }

  /** Brings the cells up to date, touching only those that changed. */
  mark() {
    for (const [key, cell] of this.cells) {
      const edge = this.edges.get(key);
      const look = `${edge === undefined ? 'none' : `v-${edge.verdict}`}${key === this.selected ? ' selected' : ''}`;
      const label = edge === undefined ? `${key.replace('←', ' does not trust ')}` : edgeText(edge);
      if (cell.className !== look) {
        cell.className = look;
        cell.textContent = VERDICTS[edge?.verdict]?.glyph ?? '';
      }
      if (cell.ariaLabel !== label) cell.ariaLabel = label;
    }
  }

  reach(cell, says = true) {
    if (this.focused !== undefined) this.focused.tabIndex = -1;
    cell.tabIndex = 0;
    this.focused = cell;
    this.say(says ? cell.dataset.key : undefined);
  }

  say(key) {
    const edge = this.edges.get(key);
    this.said.textContent =
      edge === undefined ? 'A row trusts its columns. Arrow keys move, Enter opens.' : edgeText(edge);
  }

  move(event) {
    const cell = event.target.closest('[data-key]');
    if (cell === null) return;
    if (event.key === 'Enter' || event.key === ' ') {
      this.select(cell.dataset.key);
      event.preventDefault();
    }
    const move = MOVES[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const [down, right] = move;
    const [trusting, trusted] = cell.dataset.key.split('←');
    let [row, column] = [this.rows.indexOf(trusting), this.columns.indexOf(trusted)];
    do {
      row += down;
      column += right;
    } while (this.rows[row] !== undefined && this.rows[row] === this.columns[column]);
    this.cells.get(edgeKey(this.rows[row], this.columns[column]))?.focus();
  }
}

const isWrong = ([, { verdict }]) => verdict !== 'fresh';
