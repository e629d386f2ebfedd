// Show the agents by project, who needs most first; those that ended are folded.
import { at, go, href, onChange } from "./address.js";
import { gone, picture } from "./bands.js";
import { key, on, state, waiting } from "./data.js";
import { attr, byId, chips, text } from "./dom.js";
import { clock, count, day } from "./format.js";
import * as row from "./row.js";
import { Rows } from "./rows.js";
import * as strip from "./strip.js";
import { doing, ICONS, lastPart, lastSign, nameOf, natural, NEEDING, ORDER, placeOf, rankOf } from "./words.js";

const SIZES = [["wide", 1120], ["middle", 800], ["narrow", 560], ["stacked", 0]];
const BY = {
  need: (a) => a.need,
  name: (a) => [nameOf(a)],
  activity: (a) => [ORDER.indexOf(a.state), nameOf(a)],
  sign: (a) => [-(lastSign(a) ?? -Infinity), nameOf(a)],
};
const unfolded = new Set();
let rows, table, shown = [], rename, drawn = 0, timer = 0, note;

const { ended } = row;

// Note which names several agents of a project share.
function compareNames(agents) {
  const counts = new Map(), name = (a) => `${placeOf(a)}\u0000${nameOf(a)}`;
  for (const agent of agents) counts.set(name(agent), (counts.get(name(agent)) ?? 0) + 1);
  for (const agent of agents) agent.shared = counts.get(name(agent)) > 1;
}

function fits(agent, words) {
  if (at.state && agent.state !== at.state) return false;
  return !words || [agent.agent_id, agent.name ?? "", placeOf(agent), agent.workspace ?? "", agent.state, doing(agent), agent.kind ?? "", agent.declared_status ?? ""].join(" ").toLowerCase().includes(words);
}

function compare(a, b) {
  for (let i = 0; i < a.length; i += 1) {
    const by = typeof a[i] === "number" && typeof b[i] === "number" ? (a[i] === b[i] ? 0 : a[i] - b[i]) : natural.compare(a[i], b[i]);
    if (by) return by;
  }
  return 0;
}

function draw() {
  timer = 0;
  drawn = performance.now();
  const past = gone.filter((agent) => !state.agents.has(key(agent)));
  for (const agent of past) agent.state = "ended";
  const all = [...state.agents.values(), ...past], words = (at.find ?? "").trim().toLowerCase();
  compareNames(all);
  counts(past.length);
  const listed = all.filter((agent) => fits(agent, words)), by = BY[at.sort ?? "need"];
  for (const agent of listed) agent.order = by === BY.need ? agent.need ?? [ORDER.length, -agent.inactiveAt, nameOf(agent)] : by(agent);
  listed.sort((a, b) => compare(a.order, b.order));
  const items = at.group === "none" ? part("", listed, words) : groups(listed).flatMap(([place, agents]) => [{ kind: "group", id: `g${place}`, place, agents }, ...part(place, agents, words)]);
  shown = items.filter((item) => item.kind === "agent").map((item) => item.agent);
  rows.set(items);
  attr(table, "aria-rowcount", String(items.length + 1));
  text(note, items.length ? "" : empty(words));
  note.hidden = items.length > 0;
  const [begin, end] = byId("axis").children;
  text(begin, `${state.range === "7d" ? day(picture().since * 1000) : clock(picture().since * 1000)} to`);
  text(end, "now");
}

// Return the agents of each project; first the projects in which somebody is needed.
function groups(agents) {
  const found = new Map();
  for (const agent of agents) { const place = placeOf(agent); if (!found.has(place)) found.set(place, []); found.get(place).push(agent); }
  const need = (members) => (at.sort && at.sort !== "need" ? 0 : Math.min(...members.map((a) => (a.gone ? ORDER.length : a.state === "ended" ? ORDER.length - 1 : Math.min(NEEDING, rankOf(a))))));
  return [...found].map(([place, members]) => [[need(members), lastPart(place), place], place, members]).sort((a, b) => compare(a[0], b[0])).map(([, place, members]) => [place, members]);
}

function part(place, agents, words) {
  const item = (agent) => ({ kind: "agent", id: `a${key(agent)}`, agent });
  if (words || at.state) return agents.map(item);
  const old = agents.filter(ended), open = unfolded.has(place);
  const fold = old.length ? [{ kind: "fold", id: `f${place}`, place, count: old.length, open }] : [];
  return [...agents.filter((a) => !ended(a)).map(item), ...fold, ...(open ? old.map(item) : [])];
}

function counts(past) {
  const numbers = { "": 0, ended: past };
  for (const agent of state.agents.values()) {
    numbers[agent.state] = (numbers[agent.state] ?? 0) + 1;
    if (agent.state !== "ended") numbers[""] += 1;
  }
  for (const what of ["", ...ORDER]) rename(what, `${what || "all"} ${count(numbers[what] ?? 0)}`, what !== "" && what !== at.state && !numbers[what]);
  const today = state.status?.agents.ended_today ?? 0;
  text(byId("today"), today ? `${count(today)} ended today` : "");
}

function empty(words) {
  if (words || at.state) return "No agent fits.";
  if (!state.agentsKnown) return waiting();
  if (state.status?.workspaces?.length === 0 && !state.status.redis.configured) return "No agent has been seen yet. Sessions of Claude Code and Codex appear by themselves; coordd watches no project: coordd run --workspace DIR";
  return "No agent has been seen yet. Sessions of Claude Code and Codex appear by themselves; others as soon as they beat: contrib/heartbeat.sh -d PROJECT NAME";
}

// Agents change many times a second; four redraws a second are enough for people, one where there are many.
function soon() {
  if (!document.hidden) timer ||= setTimeout(draw, Math.max(0, (state.agents.size > 300 ? 1000 : 250) - (performance.now() - drawn)));
}

function measure() {
  const size = SIZES.find(([, least]) => table.clientWidth >= least)[0];
  table.dataset.size = size;
  rows.kinds.agent.height = size === "stacked" ? 92 : 36;
  row.measured(size === "stacked" ? table.clientWidth - 16 : Math.round(byId("axis").parentElement.clientWidth));
  draw();
}

// Return the agent before or behind another one, as the list has them.
export function beside(id, step) {
  const place = shown.findIndex((agent) => key(agent) === id);
  return shown[place < 0 ? (step > 0 ? 0 : shown.length - 1) : Math.min(shown.length - 1, Math.max(0, place + step))] ?? null;
}

export const focus = (id) => rows.reveal(`a${id}`)?.parts?.link.focus({ preventScroll: true });
export const find = (id) => state.agents.get(id) ?? gone.find((agent) => key(agent) === id) ?? null;

function fold(place) {
  if (!unfolded.delete(place)) unfolded.add(place);
  draw();
}

function controls() {
  rename = chips(byId("states"), "state", [["", "all"], ...ORDER.map((s) => [s, s])], at.state ?? "", (value) => go(href({ state: value }), { replace: true }), ICONS);
  const field = byId("find"), sort = byId("sort"), group = byId("group");
  field.addEventListener("input", () => go(href({ find: field.value }), { replace: true }));
  sort.addEventListener("change", () => go(href({ sort: sort.value === "need" ? null : sort.value })));
  group.addEventListener("change", () => go(href({ group: group.checked ? null : "none" })));
  const show = () => {
    if (field.value !== (at.find ?? "")) field.value = at.find ?? "";
    sort.value = at.sort ?? "need";
    group.checked = at.group !== "none";
    const chosen = byId("states").querySelector(`[value="${CSS.escape(at.state ?? "")}"]`);
    if (chosen) chosen.checked = true;
    draw();
  };
  onChange(show);
  return show;
}

function tips() {
  const tip = byId("tip");
  table.addEventListener("pointermove", (event) => {
    const picture = event.target.closest(".strip");
    tip.hidden = !picture?.agent;
    if (tip.hidden) return;
    const box = picture.getBoundingClientRect();
    text(tip, strip.told(picture.agent, (event.clientX - box.left) / box.width));
    tip.style.left = `${Math.min(event.clientX + 12, innerWidth - 240)}px`;
    tip.style.top = `${box.bottom + 6}px`;
  });
  table.addEventListener("pointerleave", () => { tip.hidden = true; });
}

export function start() {
  table = byId("table");
  note = byId("none");
  rows = new Rows(byId("rows"), {
    agent: { make: row.makeAgent, fill: row.fillAgent, height: 36 },
    group: { make: row.makeGroup, fill: row.fillGroup, height: 44 },
    fold: { make: () => row.makeFold(fold), fill: row.fillFold, height: 32 },
  });
  const show = controls();
  new ResizeObserver(measure).observe(table);
  tips();
  for (const topic of ["agents", "status", "tasks", "link", "bands"]) on(topic, soon);
  document.addEventListener("visibilitychange", soon);
  show();
}

export const tick = () => { if (performance.now() - drawn > 900 && !timer) rows.draw(); };
