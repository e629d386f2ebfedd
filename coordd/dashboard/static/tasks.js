// Show the task queue: orphaned claims first, then held tasks, then available ones.
import { moment, on, since, state, waiting } from "./data.js";
import { attr, byId, chips, el, icon, text } from "./dom.js";
import { age, ago, count, DASH, plain } from "./format.js";
import { naming } from "./agents.js";
import { open, progress } from "./agent.js";
import { Table } from "./table.js";

const STATES = ["orphaned", "expired", "held", "available"];
const ICONS = { orphaned: "warn", expired: "late", held: "hold", available: "wait" };
let wanted = "", table, rename;

function mark(cell, task) {
  if (cell.dataset.state !== task.state) {
    cell.dataset.state = task.state;
    cell.replaceChildren(icon(ICONS[task.state] ?? "unknown"), el("span", {}, task.state));
  }
}

const holder = (t) => (t.agent_id === null ? (t.problem ? "may not be read" : DASH) : t.holder_status === "active" ? plain(t.agent_id) : `${plain(t.agent_id)} (${t.holder_status ?? "no trace"})`);

// Show progress as a bar and in words; the last message is the tooltip.
function meter(cell, task) {
  if (!cell.firstChild) cell.append(el("span", { class: "meter", "aria-hidden": "true" }, el("i")), el("span"));
  const known = task.progress !== null;
  cell.firstChild.hidden = !known;
  cell.firstChild.firstChild.style.width = `${Math.min(100, Math.max(0, task.progress ?? 0))}%`;
  text(cell.lastChild, task.failed ? "failed" : known ? `${count(task.progress)} %` : DASH);
  attr(cell, "title", task.progress_at ? `${progress(task)}, ${ago(since(moment(task.progress_at)))}` : null);
}

const COLUMNS = [
  { id: "task", title: "Task", head: true, by: (t) => t.task_id, fill: (c, t) => naming(c, t.task_id, plain(t.description ?? t.task_id)) },
  { id: "state", title: "State", class: "taskstate", by: (t) => [STATES.indexOf(t.state), t.task_id], fill: mark },
  { id: "holder", title: "Holder", by: (t) => t.agent_id, fill: (c, t) => { text(c, holder(t)); attr(c, "title", t.problem ? plain(t.problem) : holder(t)); } },
  { id: "since", title: "Since", class: "n", by: (t) => (t.claimed_at ? -moment(t.claimed_at) : null), fill: (c, t) => text(c, t.claimed_at ? age(since(moment(t.claimed_at))) : DASH) },
  { id: "progress", title: "Progress", class: "wide", by: (t) => (t.progress === null ? null : -t.progress), fill: meter },
];

function draw() {
  const counts = Object.fromEntries(STATES.map((s) => [s, 0]));
  for (const task of state.tasks ?? []) counts[task.state] += 1;
  table.set((state.tasks ?? []).filter((task) => !wanted || task.state === wanted));
  // tasks that cannot be read are unknown, not absent
  const shown = (n) => count(state.tasks === null || (n === 0 && state.unknownTasks.length) ? null : n);
  rename("", `all ${shown(state.tasks?.length)}`);
  for (const s of STATES) rename(s, `${s} ${shown(counts[s])}`);
}

export function start() {
  rename = chips(byId("states"), "state", [["", "all"], ...STATES.map((s) => [s, s])], "", (value) => { wanted = value; draw(); });
  table = new Table(byId("tasks"), {
    label: "Tasks", columns: COLUMNS, first: null,
    onOpen: (task) => { if (task.agent_id) open(`${task.workspace ?? ""}\u0000${task.agent_id}`); },
    empty: () => (state.tasks === null ? waiting() : state.unknownTasks.length ? `Unknown: ${state.unknownTasks.map(plain).join(", ")} cannot be read.` : "No tasks."),
  });
  on("tasks", draw);
  on("link", () => { if (state.tasks === null) draw(); });
}

export const tick = () => table.draw();
