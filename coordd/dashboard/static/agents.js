// Show all agents, those that are not active first; the age of a beat grows as time passes.
import { key, on, since, state, waiting } from "./data.js";
import { attr, byId, chips, el, icon, text } from "./dom.js";
import { ago, count, DASH, duration, plain } from "./format.js";
import { open } from "./agent.js";
import { Table } from "./table.js";

export const STATUSES = ["active", "inactive", "unknown"];
const RANK = { inactive: 0, unknown: 1, active: 2 };
let wanted = "", words = "", table, rename, drawn = 0, timer = 0;

// Show a status by shape and word, and only then by colour.
export function verdict(cell, status, label = status) {
  if (cell.dataset.status !== status) {
    cell.dataset.status = status;
    cell.replaceChildren(icon(STATUSES.includes(status) ? status : "unknown"), el("span"));
  }
  text(cell.lastChild, label);
}

export function naming(cell, id, title) {
  if (!cell.firstChild) cell.append(el("button", { type: "button", class: "id" }));
  text(cell.firstChild, plain(id));
  attr(cell.firstChild, "title", title);
}

const uptime = (a) => (a.uptime === null ? null : a.status === "active" ? a.uptime + (since(a.seenAt) ?? 0) : a.uptime);
const project = (a) => (a.workspace ? a.workspace.split("/").pop() : "Redis");

const COLUMNS = [
  { id: "agent", title: "Agent", head: true, by: (a) => a.agent_id, fill: (c, a) => naming(c, a.agent_id, plain(a.agent_id)) },
  { id: "status", title: "Status", class: "verdict", by: (a) => [RANK[a.status], a.agent_id], fill: (c, a) => verdict(c, a.status) },
  { id: "reason", title: "Reason", class: "wide", by: (a) => a.reason, fill: (c, a) => text(c, plain(a.reason)) },
  { id: "project", title: "Project", class: "wider", by: (a) => a.workspace, fill: (c, a) => { text(c, plain(project(a))); attr(c, "title", plain(a.workspace)); } },
  { id: "tasks", title: "Tasks", class: "n", by: (a) => (a.active_tasks === null ? null : -a.active_tasks), fill: (c, a) => text(c, count(a.active_tasks)) },
  { id: "uptime", title: "Uptime", class: "n wide", by: (a) => (a.uptime === null ? null : -uptime(a)), fill: (c, a) => text(c, duration(uptime(a))) },
  { id: "beat", title: "Last beat", class: "n", by: (a) => (a.beatAt === null ? null : -a.beatAt), fill: (c, a) => text(c, a.beatAt === null ? DASH : ago(since(a.beatAt))) },
];

function fits(agent) {
  if (wanted && agent.status !== wanted) return false;
  return !words || `${agent.agent_id} ${agent.workspace ?? "redis"} ${agent.reason} ${agent.declared_status ?? ""}`.toLowerCase().includes(words);
}

function draw() {
  timer = 0;
  drawn = performance.now();
  const counts = { "": state.agents.size, active: 0, inactive: 0, unknown: 0 };
  const rows = [];
  for (const agent of state.agents.values()) {
    counts[agent.status] += 1;
    if (fits(agent)) rows.push(agent);
  }
  table.set(rows);
  rename("", `all ${count(counts[""])}`);
  for (const status of STATUSES) rename(status, `${status} ${count(counts[status])}`);
}

function empty() {
  if (state.agents.size) return "No agent fits.";
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
    label: "Agents", columns: COLUMNS, first: (a) => [RANK[a.status], a.agent_id], onOpen: (agent) => open(key(agent)),
    empty,
  });
  byId("find").addEventListener("input", (event) => { words = event.target.value.trim().toLowerCase(); draw(); });
  on("agents", soon);
}

export const tick = () => table.draw();
