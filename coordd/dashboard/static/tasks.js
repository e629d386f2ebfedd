// Show the tasks: what went wrong first, then what is held, then what is available; and say which task an agent is at.
import { ofAgent, ofTask } from "./address.js";
import { key, moment, on, since, state, waiting } from "./data.js";
import { byId, chips, el, icon, text } from "./dom.js";
import { age, ago, count, DASH, plain } from "./format.js";
import { lastPart, nameOf } from "./words.js";

const MOST = 60;
const STATES = ["orphaned", "expired", "held", "available"];
export const ICONS = { orphaned: "warn", expired: "late", held: "work", available: "idle" };
let wanted = "", all = false, rename, list, note, more, held = new Map(), known = new Map(), timer = 0;

// Return the claim that an agent holds and reports of most, or else the first; null for none.
export const taskOf = (agent) => held.get(key(agent)) ?? null;
export const find = (id, workspace) => state.tasks?.find((task) => task.task_id === id && (task.workspace ?? null) === (workspace ?? null)) ?? null;
export const progress = (task) => [task.failed ? "failed" : task.progress === null ? "" : `${count(task.progress)} %`, task.message ? plain(task.message) : ""].filter(Boolean).join(" ");

// Return a link to the holder of a task, or words where there is none.
function holder(task) {
  if (task.agent_id === null) return task.problem ? el("span", {}, plain(task.problem)) : el("span", { class: "muted" }, DASH);
  const agent = state.agents.get(key(task));
  const name = plain(agent ? nameOf(agent) : task.agent_id), gone = task.holder_status === "active" ? "" : ` (${task.holder_status ?? "no trace"})`;
  return el("span", {}, el("a", { href: ofAgent(task), "data-here": true }, name), gone);
}

function row(task) {
  const told = progress(task);
  return el("li", { "data-state": task.state },
    el("span", { class: "mark" }, icon(ICONS[task.state] ?? "unknown"), task.state),
    el("a", { href: ofTask(task), "data-here": true, class: "id", title: task.description ? plain(task.description) : null }, plain(task.task_id)),
    el("span", { class: "muted" }, task.workspace ? plain(lastPart(task.workspace)) : "Redis alone"),
    el("span", { class: "n muted" }, task.claimed_at ? age(since(moment(task.claimed_at))) : ""),
    task.state === "available" ? null : el("span", { class: "below" }, holder(task), told ? ` · ${told}` : ""));
}

function take() {
  held = new Map();
  for (const task of state.tasks ?? []) {
    if (task.agent_id === null) continue;
    const id = key(task), before = held.get(id);
    if (!before || (before.progress ?? -1) < (task.progress ?? -1)) held.set(id, task);
  }
}

function draw() {
  timer = 0;
  const counts = Object.fromEntries(STATES.map((s) => [s, 0])), tasks = state.tasks ?? [];
  for (const task of tasks) counts[task.state] += 1;
  const fitting = tasks.filter((task) => !wanted || task.state === wanted), rows = all ? fitting : fitting.slice(0, MOST);
  const next = new Map(rows.map((task) => [JSON.stringify([task, state.agents.get(key(task))?.name]), task]));
  // a row that says the same stays, with what is focused in it
  list.replaceChildren(...[...next].map(([id, task]) => { const node = known.get(id) ?? row(task); next.set(id, node); return node; }));
  known = next;
  // tasks that cannot be read are unknown, not absent
  const shown = (n) => count(state.tasks === null || (n === 0 && state.unknownTasks.length) ? null : n);
  rename("", `all ${shown(tasks.length)}`);
  for (const s of STATES) rename(s, `${s} ${shown(counts[s])}`);
  text(note, rows.length ? "" : state.tasks === null ? waiting() : state.unknownTasks.length ? `Unknown: ${state.unknownTasks.map(plain).join(", ")} cannot be read.` : "No tasks.");
  note.hidden = rows.length > 0;
  more.hidden = rows.length === fitting.length;
  text(more, `${count(fitting.length - rows.length)} more`);
}

export function start() {
  const parent = byId("tasks");
  rename = chips(byId("taskstates"), "taskstate", [["", "all"], ...STATES.map((s) => [s, s])], "", (value) => { wanted = value; draw(); });
  list = el("ul", { class: "items" });
  note = el("p", { class: "empty" });
  more = el("button", { type: "button", class: "quiet", onclick: () => { all = true; draw(); } });
  parent.append(list, note, more);
  on("tasks", () => { take(); draw(); });
  on("agents", () => { timer ||= setTimeout(draw, 2000); });
  on("link", () => { if (state.tasks === null) draw(); });
  draw();
}

// Ages of claims are in minutes soon; the list is made anew with each answer of the daemon.
let ticked = 0;
export function tick() {
  if ((ticked += 1) % 10 === 0) { known = new Map(); if (!list.contains(document.activeElement)) draw(); }
}

export function detail(task) {
  const line = (name, value) => [el("dt", {}, name), el("dd", {}, value)];
  const when = (at) => (at ? ago(since(moment(at))) : DASH);
  return [
    el("p", { class: "state", "data-state": task.state }, icon(ICONS[task.state] ?? "unknown"), el("b", {}, task.state), " ", task.description ? plain(task.description) : ""),
    el("dl", {}, ...line("Holder", holder(task)), ...line("Claimed", when(task.claimed_at)),
      ...line("Expires", task.expires_at ? (moment(task.expires_at) > Date.now() ? `in ${age(-since(moment(task.expires_at)))}` : when(task.expires_at)) : DASH),
      ...line("Progress", progress(task) || DASH), ...line("Told", when(task.progress_at)), ...line("Project", task.workspace ? plain(task.workspace) : "Redis alone"), ...line("Seen through", plain(task.sources.join(", ")))),
  ];
}
