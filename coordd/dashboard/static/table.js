// A table of any length with elements for visible rows only; sortable, also by keyboard.
import { attr, el, text } from "./dom.js";

const MORE = 8; // rows beyond the edges
const ROW = 27;

export class Table {
  // columns: [{id, title, by(row) for sorting or null, class, fill(cell, row)}]; `first` sorts by default.
  constructor(parent, { label, columns, first, empty, onOpen = null }) {
    Object.assign(this, { columns, empty, onOpen, sort: null, down: false, rows: [], shown: [], first, active: 0 });
    for (const column of columns) column.class = `c-${column.id} ${column.class ?? ""}`.trim();
    this.heads = columns.map((column) => {
      if (!column.by) return el("th", { scope: "col", class: column.class }, column.title);
      const button = el("button", { type: "button", onclick: () => this.order(column) }, column.title, el("span", { class: "arrow", "aria-hidden": "true" }));
      return el("th", { scope: "col", class: column.class, "aria-sort": "none" }, button);
    });
    this.before = el("tr", { class: "pad", "aria-hidden": "true" }, el("td"));
    this.after = this.before.cloneNode(true);
    this.body = el("tbody", {}, this.before, this.after);
    this.table = el("table", { "aria-label": label }, el("thead", {}, el("tr", { "aria-rowindex": 1 }, ...this.heads)), this.body);
    this.note = el("p", { class: "empty" });
    this.scroller = el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label }, this.table, this.note);
    parent.append(this.scroller);
    this.pool = [];
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    this.body.addEventListener("keydown", (event) => this.move(event));
    this.body.addEventListener("click", (event) => {
      const row = this.shown[Number(event.target.closest("tr")?.dataset.index)];
      if (row && this.onOpen && !getSelection().toString()) this.onOpen(row);
    });
  }

  order(column) {
    this.down = this.sort === column ? !this.down : false;
    this.sort = this.sort === column && !this.down ? null : column;
    this.columns.forEach((one, i) => { if (one.by) attr(this.heads[i], "aria-sort", one === this.sort ? (this.down ? "descending" : "ascending") : "none"); });
    this.set(this.rows);
  }

  set(rows) {
    this.rows = rows;
    const by = this.sort?.by ?? this.first;
    const keyed = by ? rows.map((row) => [by(row), row]) : null;
    if (keyed) {
      const sign = this.down ? -1 : 1;
      keyed.sort(([a], [b]) => sign * compare(a, b));
      this.shown = keyed.map(([, row]) => row);
    } else this.shown = rows;
    attr(this.table, "aria-rowcount", String(rows.length + 1));
    text(this.note, rows.length ? "" : this.empty());
    this.note.hidden = rows.length > 0;
    this.draw();
  }

  draw() {
    const height = this.scroller.clientHeight;
    const from = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - MORE);
    const to = Math.min(this.shown.length, from + Math.ceil(height / ROW) + 2 * MORE);
    while (this.pool.length < to - from) this.pool.push(this.make());
    this.pool.forEach((row, i) => {
      const index = from + i;
      row.hidden = index >= to;
      if (index < to) this.fill(row, this.shown[index], index);
    });
    this.before.hidden = from === 0;
    this.after.hidden = to === this.shown.length;
    this.before.style.height = `${from * ROW}px`;
    this.after.style.height = `${(this.shown.length - to) * ROW}px`;
  }

  make() {
    const row = el("tr", {}, ...this.columns.map((column) => el(column.head ? "th" : "td", { class: column.class, scope: column.head ? "row" : null })));
    this.after.before(row);
    return row;
  }

  fill(row, value, index) {
    row.dataset.index = index;
    attr(row, "aria-rowindex", String(index + 2));
    attr(row, "data-state", value.status ?? value.state ?? null);
    this.columns.forEach((column, i) => column.fill(row.cells[i], value));
    const button = row.querySelector("button");
    if (button) button.tabIndex = index === this.active ? 0 : -1;
  }

  move(event) {
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 }[event.key];
    if (!by || !event.target.closest("button")) return;
    event.preventDefault();
    this.active = Math.min(this.shown.length - 1, Math.max(0, Number(event.target.closest("tr").dataset.index) + by));
    const top = this.active * ROW, height = this.scroller.clientHeight - ROW;
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    if (top + ROW > this.scroller.scrollTop + height) this.scroller.scrollTop = top + ROW - height;
    this.draw();
    this.pool.find((row) => !row.hidden && Number(row.dataset.index) === this.active)?.querySelector("button")?.focus({ preventScroll: true });
  }
}

const natural = new Intl.Collator("en", { numeric: true });

function compare(a, b) {
  if (Array.isArray(a)) { for (let i = 0; i < a.length; i += 1) { const c = compare(a[i], b[i]); if (c) return c; } return 0; }
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  return typeof a === "number" ? a - b : natural.compare(a, b);
}
