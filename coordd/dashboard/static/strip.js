// Draw a strip of bands as SVG: a state is told by height and pattern, and only then by colour.
import { bandsOf, gapsIn, picture, within } from "./bands.js";
import { attr, svg } from "./dom.js";
import { age, clock } from "./format.js";
import { ORDER } from "./words.js";

// How far up a band begins, of 16: what needs somebody fills the height, idling is a line.
const TOP = { waiting: 0, blocked: 0, stalled: 0, killed: 0, silent: 4, inactive: 4, unknown: 6, active: 6, working: 4, idle: 12, ended: 14 };
const BAR = { killed: 3 }; // what ends an agent is a mark, not a band: it lasts for as long as one looks
const HIGH = 16;

export function make(big = false) {
  return svg("svg", { class: big ? "strip big" : "strip", role: "img", preserveAspectRatio: "none" });
}

// Draw what an agent did, where that differs from what is drawn; width in pixels.
export function draw(node, agent, width) {
  const shown = picture(), bands = within(bandsOf(agent), shown);
  const x = (t) => Math.round(((t - shown.since) / (shown.until - shown.since)) * width);
  const paths = new Map();
  const add = (what, from, to, top) => { if (to > from) paths.set(what, `${paths.get(what) ?? ""}M${from} ${top}H${to}V${HIGH}H${from}z`); };
  for (const [begin, end] of gapsIn()) if (end > shown.since) add("gap", Math.max(0, x(begin)), x(end), 0);
  for (const [begin, end, what] of bands) {
    const from = x(begin), to = BAR[what] ? Math.min(width, from + BAR[what]) : Math.max(x(end), from + 1);
    add(what, Math.min(from, width - 2), Math.max(to, 2), TOP[what] ?? 6);
  }
  const drawn = [...paths].map(([what, d]) => what + d).join();
  if (node.drawn === drawn) return;
  node.drawn = drawn;
  attr(node, "viewBox", `0 0 ${Math.max(1, width)} ${HIGH}`);
  attr(node, "aria-label", said(bands, shown));
  const order = ["gap", ...ORDER.toReversed()];
  node.replaceChildren(...[...paths].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b)).map(([what, d]) => svg("path", { class: `b-${what}`, d })));
}

// Return the picture in words: how long what was done, of the time that is shown.
export function said(bands, { since, until }) {
  const sums = new Map();
  for (const [begin, end, what] of bands) sums.set(what, (sums.get(what) ?? 0) + end - begin);
  const parts = [...sums].sort((a, b) => b[1] - a[1]).map(([what, seconds]) => `${what} ${age(seconds)}`);
  return `In ${age(until - since)}: ${parts.join(", ") || "nothing known"}`;
}

// Return what the bands say at a place of a strip, 0 to 1.
export function told(agent, place) {
  const shown = picture(), t = shown.since + place * (shown.until - shown.since);
  if (gapsIn().some(([begin, end]) => begin <= t && t < end)) return `${clock(t * 1000)} coordd did not run`;
  const found = within(bandsOf(agent), shown).find(([begin, end]) => begin <= t && t < end);
  return found ? `${clock(found[0] * 1000)} to ${clock(found[1] * 1000)} ${found[2]}, ${age(found[1] - found[0])}` : `${clock(t * 1000)} not there`;
}
