// Draw time series as SVG: axes with units, gaps as gaps, a band from least to most, a crosshair shared by all charts.
import { el, svg, text } from "./dom.js";
import { clock, day, moment } from "./format.js";

const LEFT = 46, RIGHT = 6, TOP = 6, BOTTOM = 17;
const STEPS = [60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800];
const charts = new Set();

// Return round values of an axis from 0 to at least `most`; powers of two for bytes.
export function ticks(most, binary = false, wanted = 3) {
  const rough = Math.max(most, 1e-9) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = binary ? 2 ** Math.ceil(Math.log2(rough)) : [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const found = [0];
  while (found[found.length - 1] < most * 0.999) found.push(found.length * step);
  return found;
}

// Return runs of neighbouring known points: [[first, last], …].
export function runs(times, values, gap) {
  const found = [];
  let first = -1;
  for (let i = 0; i <= values.length; i += 1) {
    const broken = i === values.length || values[i] === null || (first >= 0 && i > first && times[i] - times[i - 1] > gap);
    if (broken && first >= 0) { found.push([first, i - 1]); first = -1; }
    if (i < values.length && values[i] !== null && first < 0) first = i;
  }
  return found;
}

function timeTicks(since, until, width) {
  const step = STEPS.find((s) => (until - since) / s <= Math.max(2, width / 62)) ?? 172800;
  const shift = new Date(since * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let t = Math.ceil((since - shift) / step) * step + shift; t < until; t += step) found.push(t);
  return { step, found };
}

export class Chart {
  // lines: [{key, label}]; `unit` is that of the axis; `top`: a fixed upper end; `mark(status)`: a reference line.
  constructor(parent, { title, unit, lines, format, short = format, top = null, binary = false, least = 1, mark = null }) {
    Object.assign(this, { title, lines, format, short, top, binary, least, mark });
    this.value = el("strong", { class: "now" });
    this.legend = el("span", { class: "legend" });
    this.svg = svg("svg", { class: "plot", tabindex: "0", role: "img", focusable: "true" });
    this.tip = el("div", { class: "tip", role: "status" });
    this.tip.hidden = true;
    this.node = el("figure", { class: "card chart" }, el("figcaption", {}, el("span", { class: "name" }, title, el("small", {}, ` ${unit}`)), this.value, this.legend), el("div", { class: "box" }, this.svg, this.tip));
    this.keys = lines.map((line, i) => {
      const value = el("b");
      this.legend.append(el("span", { class: `key s${i}` }, svg("svg", { class: "swatch", viewBox: "0 0 16 6", "aria-hidden": "true" }, svg("path", { d: "M0 3h16" })), line.label, " ", value));
      return value;
    });
    if (lines.length === 1) this.legend.hidden = true;
    parent.append(this.node);
    this.data = null;
    this.at = null;
    this.svg.setAttribute("aria-label", `${title}, a chart without data so far`);
    new ResizeObserver(() => this.draw()).observe(this.svg);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => show(null));
    this.svg.addEventListener("blur", () => show(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    charts.add(this);
  }

  set(data, status) {
    this.data = data;
    this.reference = this.mark ? this.mark(status) : null;
    this.draw();
  }

  now(value, values) {
    text(this.value, value);
    values.forEach((one, i) => text(this.keys[i], one));
  }

  draw() {
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    if (!width || !this.data) return;
    const { until, times, series, gap } = this.data, since = this.begin();
    const rows = this.rows(series);
    const known = rows.flat().filter((v) => v !== null);
    const bands = this.lines.map(({ key }) => [series[`${key}_min`], series[`${key}_max`]]);
    const most = Math.max(this.least, this.reference ?? 0, ...known); // of the lines: one peak within a stretch must not flatten all

    const marks = this.top ? [0, this.top / 2, this.top] : ticks(most, this.binary);
    const top = marks[marks.length - 1];
    const x = (t) => LEFT + ((t - since) / (until - since)) * (width - LEFT - RIGHT);
    const y = (v) => TOP + (1 - Math.min(v / top, 1)) * (height - TOP - BOTTOM);
    Object.assign(this, { x, y, width, height, shown: rows });
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const add = (tag, attrs, ...children) => this.svg.append(svg(tag, attrs, ...children));
    for (const v of marks) {
      add("path", { class: "grid", d: `M${LEFT} ${y(v)}H${width - RIGHT}` });
      add("text", { class: "tick", x: LEFT - 5, y: y(v) + 3.5, "text-anchor": "end" }, this.short(v));
    }
    const { step, found } = timeTicks(since, until, width - LEFT);
    for (const t of found) {
      add("path", { class: "grid v", d: `M${x(t)} ${TOP}V${height - BOTTOM}` });
      if (x(t) > LEFT + 12 && x(t) < width - 18) add("text", { class: "tick", x: x(t), y: height - 4, "text-anchor": "middle" }, step >= 43200 ? day(t * 1000).split(",")[0] : clock(t * 1000));
    }
    for (const [from, to] of gaps(times, since, until, gap)) add("rect", { class: "gap", x: x(from), y: TOP, width: Math.max(0, x(to) - x(from)), height: height - TOP - BOTTOM });
    if (this.reference) add("path", { class: "ref", d: `M${LEFT} ${y(this.reference)}H${width - RIGHT}` });
    [...rows.keys()].reverse().forEach((i) => this.line(i, rows[i], bands[i], add));
    this.cross = svg("g", { class: "cross" });
    this.svg.append(this.cross);
    this.label(rows);
    if (this.at !== null) this.mark_at(this.at);
  }

  rows(series) {
    return this.lines.map(({ key }) => series[key] ?? []);
  }

  // Return where the picture begins: with the first sample, where the range begins before it.
  begin() {
    const { since, until, times } = this.data;
    return times.length ? Math.min(Math.max(since, times[0]), until - 120) : since;
  }

  line(i, values, band, add) {
    const { times, gap } = this.data;
    const { x, y } = this;
    const path = (first, last, row) => { let d = ""; for (let j = first; j <= last; j += 1) d += `${j === first ? "M" : "L"}${x(times[j]).toFixed(1)} ${y(row[j]).toFixed(1)}`; return d; };
    const back = (first, last, row) => { let d = ""; for (let j = last; j >= first; j -= 1) d += `L${x(times[j]).toFixed(1)} ${y(row ? row[j] : 0).toFixed(1)}`; return d; };
    for (const [first, last] of runs(times, values, gap)) {
      if (first === last) { add("circle", { class: `dot s${i}`, cx: x(times[first]), cy: y(values[first]), r: 2 }); continue; }
      if (this.lines.length === 1) add("path", { class: `area s${i}`, d: `${path(first, last, values)}${back(first, last, null)}Z` });
      if (band?.[0] && i === 0) add("path", { class: `range s${i}`, d: `${path(first, last, band[1])}${back(first, last, band[0])}Z` });
      add("path", { class: `line s${i}`, d: path(first, last, values) });
    }
  }

  // The text that a screen reader reads for the chart.
  label(rows) {
    const said = this.lines.map(({ label }, i) => {
      const values = rows[i].filter((v) => v !== null);
      if (!values.length) return `${label}: no data`;
      return `${label}: last ${this.format(values[values.length - 1])}, least ${this.format(Math.min(...values))}, most ${this.format(Math.max(...values))}`;
    });
    this.svg.setAttribute("aria-label", `${this.title}, a chart. ${said.join("; ")}. Arrow keys read the points.`);
  }

  point(event) {
    if (!this.data?.times.length || !this.x) return;
    const { until, times } = this.data, since = this.begin();
    const at = since + ((event.offsetX - LEFT) / (this.width - LEFT - RIGHT)) * (until - since);
    show(nearest(times, at), this);
  }

  step(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -1e9, End: 1e9 }[event.key];
    if (event.key === "Escape") show(null);
    if (!move || !this.data?.times.length) return;
    event.preventDefault();
    const last = this.data.times.length - 1;
    show(Math.min(last, Math.max(0, (this.at ?? last) + (this.at === null && move > -1e9 ? 0 : move))), this);
  }

  mark_at(index, tip = false) {
    this.at = index;
    if (!this.cross || !this.data) return;
    this.cross.replaceChildren();
    this.tip.hidden = !tip;
    if (index === null || index >= this.data.times.length) { this.tip.hidden = true; return; }
    const t = this.data.times[index], at = this.x(t);
    if (at < LEFT) { this.tip.hidden = true; return; }
    this.cross.append(svg("path", { d: `M${at} ${TOP}V${this.height - BOTTOM}` }));
    this.shown.forEach((row, i) => { if (row[index] !== null && row[index] !== undefined) this.cross.append(svg("circle", { class: `dot s${i}`, cx: at, cy: this.y(row[index]), r: 3 })); });
    if (!tip) return;
    const { series } = this.data;
    this.tip.replaceChildren(el("div", { class: "when" }, moment(t * 1000)), ...this.lines.map(({ key, label }, i) => {
      const [low, high] = [series[`${key}_min`]?.[index], series[`${key}_max`]?.[index]];
      const spread = low !== null && low !== undefined && low !== high ? ` (${this.format(low)} to ${this.format(high)})` : "";
      return el("div", { class: `key s${i}` }, svg("svg", { class: "swatch", viewBox: "0 0 16 6" }, svg("path", { d: "M0 3h16" })), `${label} `, el("b", {}, this.format(series[key]?.[index])), spread);
    }));
    const right = at > this.width / 2;
    this.tip.style.left = right ? "auto" : `${at + 10}px`;
    this.tip.style.right = right ? `${this.width - at + 10}px` : "auto";
  }
}

function show(index, where = null) {
  for (const chart of charts) chart.mark_at(index, chart === where);
}

function nearest(times, at) {
  let low = 0, high = times.length - 1;
  while (low < high) { const middle = (low + high) >> 1; if (times[middle] < at) low = middle + 1; else high = middle; }
  return low > 0 && at - times[low - 1] < times[low] - at ? low - 1 : low;
}

// Return the spans without measurements, from the first point on: [[from, to], …].
export function gaps(times, since, until, gap) {
  const found = [];
  for (let i = 1; i < times.length; i += 1) if (times[i] - times[i - 1] > gap) found.push([times[i - 1], times[i]]);
  if (times.length && times[0] - since > gap) found.push([since, times[0]]);
  if (times.length && until - times[times.length - 1] > gap) found.push([times[times.length - 1], until]);
  if (!times.length) found.push([since, until]);
  return found;
}
