// Show what needs a human, before all else: the entries of `attention`, in their order, each with the next command.
import { href, ofAgent, ofTask } from "./address.js";
import * as copy from "./copy.js";
import { key, moment, on, since, state } from "./data.js";
import { attr, byId, el, icon, text } from "./dom.js";
import { age, count, plain } from "./format.js";
import { lastPart, nameOf, projectOf } from "./words.js";

const MOST = 20; // as many as coordctl shows
const OF_CLAIMS = ["orphaned", "split"];
const ICONS = { waiting: "wait", killed: "dead", mass: "dead", blocked: "block" };
// What several entries of a kind are called where problems count them.
const COUNTED = /^\d+ more: (agents that wait|groups of agents that fell together|killed agents|stalled agents|agents that their providers refuse|orphaned claims|tasks that several agents hold)$/;
const rows = new Map();
let list, more;

export const needs = (status) => (Array.isArray(status?.attention) ? status.attention : null);

// Return the problems that are not told as something that needs a human already.
export function ownProblems(status) {
  const entries = needs(status);
  if (Array.isArray(status.own_problems)) return status.own_problems;
  if (!entries?.length) return status.problems;
  const told = (problem) => entries.some((e) => (OF_CLAIMS.includes(e.kind)
    ? problem.startsWith("task ") && problem.endsWith(` is ${e.text.replace(":", ",")}`)
    : (e.kind === "mass" || problem.startsWith("agent ")) && problem.endsWith(`: ${e.text}`)));
  return status.problems.filter((problem) => !COUNTED.test(problem) && !told(problem));
}

const agentOf = (entry) => (OF_CLAIMS.includes(entry.kind) || entry.kind === "mass" ? null : state.agents.get(key({ workspace: entry.workspace, agent_id: entry.subject })) ?? null);

// Return the entry of an agent; null where nobody is needed.
export const entryOf = (agent) => needs(state.status)?.find((e) => !OF_CLAIMS.includes(e.kind) && e.kind !== "mass" && e.subject === agent.agent_id && e.workspace === (agent.workspace ?? null)) ?? null;

function subject(entry) {
  if (entry.kind === "mass") return entry.workspace === null ? "Redis alone" : lastPart(entry.subject);
  const agent = agentOf(entry);
  return agent ? nameOf(agent) : entry.subject;
}

function link(entry) {
  if (entry.kind === "mass") return href({ find: entry.workspace ?? "", state: null, agent: null, in: null, task: null });
  return OF_CLAIMS.includes(entry.kind) ? ofTask({ task_id: entry.subject, workspace: entry.workspace }) : ofAgent({ agent_id: entry.subject, workspace: entry.workspace });
}

// Return the project of an entry as an agent of its workspace has it; where none is known, its workspace.
function place(entry) {
  if (entry.workspace === null) return "Redis alone";
  for (const agent of state.agents.values()) if (agent.workspace === entry.workspace) return plain(projectOf(agent));
  return plain(lastPart(entry.workspace));
}

function make(entry) {
  const cells = { who: el("a", { "data-here": true, class: "subject" }), what: el("span", { class: "what" }), where: el("span", { class: "where" }), age: el("span", { class: "lasted" }), command: copy.make() };
  const kind = el("span", { class: "needkind" }, icon(ICONS[entry.kind] ?? "warn"), plain(entry.kind));
  return { node: el("li", { "data-kind": entry.kind }, kind, cells.who, cells.what, cells.where, cells.age, cells.command), cells };
}

function fill({ cells }, entry) {
  text(cells.who, plain(subject(entry)));
  attr(cells.who, "title", plain(entry.subject));
  attr(cells.who, "href", link(entry));
  text(cells.what, plain(entry.text));
  text(cells.where, place(entry));
  attr(cells.where, "title", entry.workspace === null ? null : plain(entry.workspace));
  text(cells.age, entry.since ? age(since(moment(entry.since))) : "");
  // a command asks a daemon that answers
  copy.fill(cells.command, state.old ? "" : entry.command, state.old || entry.command === null ? "" : plain(entry.command));
}

function draw() {
  const entries = needs(state.status), box = byId("needs");
  box.hidden = entries === null;
  if (entries === null) return;
  const some = entries.length > 0;
  text(byId("needs-h"), some ? (state.old ? "Needed you then" : "Needs you") : state.old ? "Nobody needed you then." : "Nobody needs you.");
  box.classList.toggle("calm", !some);
  const shown = entries.slice(0, MOST), kept = new Set(shown.map((entry) => entry.id));
  for (const id of rows.keys()) if (!kept.has(id)) rows.delete(id);
  for (const entry of shown) if (!rows.has(entry.id)) rows.set(entry.id, make(entry));
  const nodes = shown.map((entry) => rows.get(entry.id).node);
  // moved only if the order is another: a selection in a row stays
  if (nodes.length !== list.children.length || nodes.some((node, i) => list.children[i] !== node)) list.replaceChildren(...nodes);
  for (const entry of shown) fill(rows.get(entry.id), entry);
  text(more, entries.length > MOST ? `… and ${count(entries.length - MOST)} more: coordctl rpc status` : "");
  more.hidden = entries.length <= MOST;
  list.hidden = !some;
}

export function start() {
  list = el("ul");
  more = el("p", { class: "muted" });
  byId("needs").append(list, more);
  for (const topic of ["status", "link"]) on(topic, draw);
}

export const tick = draw;
