// Show the agents that live or need somebody, who needs most first; those that ended in order are a number.
import { key, on, since, state, waiting } from "./data.js";
import { attr, byId, chips, el, icon, text } from "./dom.js";
import { age, count, DASH, plain } from "./format.js";
import { open } from "./agent.js";
import { Table } from "./table.js";
import { doing, nameOf, needOf, placeOf, projectOf, sinceOf, stateOf, tokens } from "./words.js";

const STATUSES = ["active", "inactive", "unknown"];
const ICONS = { waiting: "late", killed: "inactive", stalled: "warn", blocked: "warn", silent: "inactive", inactive: "inactive", unknown: "unknown", working: "hold", active: "active", idle: "wait", ended: "ok" };
const BEGINNING = 8; // characters of an id beside a name that several agents of a project have
let wanted = "", words = "", unfolded = false, table, fold, today, rename, drawn = 0, timer = 0;

// Show a state by shape and word, and only then by colour.
function mark(cell, agent) {
  const now = stateOf(agent);
  if (cell.dataset.doing !== now) {
    cell.dataset.doing = now;
    cell.replaceChildren(icon(ICONS[now]), el("span", {}, now));
  }
}

export function naming(cell, id, title) {
  if (!cell.firstChild) cell.append(el("button", { type: "button", class: "id" }));
  text(cell.firstChild, plain(id));
  attr(cell.firstChild, "title", title);
}

function label(agent) {
  const name = nameOf(agent);
  return agent.shared && name !== agent.agent_id ? `${name} ${agent.agent_id.length > BEGINNING ? `${agent.agent_id.slice(0, BEGINNING)}…` : agent.agent_id}` : name;
}

// Note which names several agents of a project share.
function compareNames(agents) {
  const counts = new Map(), name = (a) => `${placeOf(a)}\u0000${nameOf(a)}`;
  for (const agent of agents) counts.set(name(agent), (counts.get(name(agent)) ?? 0) + 1);
  for (const agent of agents) agent.shared = counts.get(name(agent)) > 1;
}

const COLUMNS = [
  { id: "agent", title: "Agent", head: true, by: label, fill: (c, a) => naming(c, label(a), plain(a.agent_id)) },
  { id: "project", title: "Project", class: "wide", by: placeOf, fill: (c, a) => { text(c, plain(projectOf(a))); attr(c, "title", plain(a.workspace ?? placeOf(a))); } },
  { id: "does", title: "Does", class: "doing", by: needOf, fill: mark },
  { id: "for", title: "For", class: "n", by: sinceOf, fill: (c, a) => text(c, age(since(sinceOf(a)))) },
  { id: "what", title: "What", by: doing, fill: (c, a) => { const what = doing(a); text(c, what); attr(c, "title", what); } },
  { id: "context", title: "Context", class: "n wide", by: (a) => ((a.context_tokens ?? null) === null ? null : -a.context_tokens), fill: (c, a) => text(c, tokens(a.context_tokens)) },
  { id: "tasks", title: "Tasks", class: "n wide", by: (a) => (a.active_tasks === null ? null : -a.active_tasks), fill: (c, a) => text(c, count(a.active_tasks)) },
];

function fits(agent) {
  if (wanted && agent.status !== wanted) return false;
  return !words || [agent.agent_id, agent.name ?? "", placeOf(agent), agent.workspace ?? "", stateOf(agent), doing(agent), agent.kind ?? "", agent.declared_status ?? ""].join(" ").toLowerCase().includes(words);
}

function draw() {
  timer = 0;
  drawn = performance.now();
  const counts = { "": 0, active: 0, inactive: 0, unknown: 0 };
  const present = [], gone = [];
  for (const agent of state.agents.values()) (stateOf(agent) === "ended" ? gone : present).push(agent);
  for (const agent of present) { counts[""] += 1; counts[agent.status] += 1; }
  const listed = unfolded ? [...present, ...gone] : present;
  compareNames(listed);
  table.set(listed.filter(fits));
  rename("", `all ${count(counts[""])}`);
  for (const status of STATUSES) rename(status, `${status} ${count(counts[status])}`);
  folded(gone.length);
}

// Say how many ended in order: those that are still listed can be shown, of all of today there is the number.
function folded(n) {
  const all = state.status?.agents.ended_today ?? 0;
  fold.hidden = n === 0;
  text(fold, `${count(n)} ended`);
  attr(fold, "aria-pressed", String(unfolded));
  text(today, all > n ? `${n ? "· " : ""}${count(all)} ended today` : "");
  fold.parentElement.hidden = n === 0 && all === 0;
}

function empty() {
  if (state.agents.size) return words || wanted ? "No agent fits." : "Every agent has ended in order.";
  if (!state.agentsKnown) return waiting();
  if (state.status?.workspaces?.length === 0 && !state.status.redis.configured) return "coordd watches no project yet. Name one: coordd run --workspace DIR";
  return "No agent has been seen yet. One is seen as soon as it beats: contrib/heartbeat.sh -d PROJECT NAME";
}

// A thousand agents beat 33 times a second; four redraws a second are enough for people.
function soon() {
  timer ||= setTimeout(draw, Math.max(0, (state.agents.size > 300 ? 1000 : 250) - (performance.now() - drawn)));
}

export function start() {
  const parent = byId("agents");
  rename = chips(byId("statuses"), "status", [["", "all"], ...STATUSES.map((s) => [s, s])], "", (value) => { wanted = value; draw(); });
  table = new Table(parent, {
    label: "Agents", columns: COLUMNS, first: needOf, onOpen: (agent) => open(key(agent)),
    empty,
  });
  fold = el("button", { type: "button", class: "foldbutton", onclick: () => { unfolded = !unfolded; draw(); } });
  today = el("span", { class: "muted" });
  parent.append(el("p", { class: "fold", hidden: true }, fold, today));
  byId("find").addEventListener("input", (event) => { words = event.target.value.trim().toLowerCase(); draw(); });
  on("agents", soon);
  on("status", soon);
}

export const tick = () => table.draw();
