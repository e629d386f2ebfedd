// Make and fill the rows of the list: an agent, the head of a project, and what is folded of it.
import { at, ofAgent, ofTask } from "./address.js";
import { key, since } from "./data.js";
import { attr, el, icon, text } from "./dom.js";
import { age, bytes, count, percent, plain } from "./format.js";
import * as strip from "./strip.js";
import { taskOf } from "./tasks.js";
import { doing, ICONS, lastPart, lastSign, nameOf, ORDER, placeOf, sinceOf, tokens, worktreeOf } from "./words.js";

const BEGINNING = 8; // characters of an id beside a name that several agents of a project have
let width = 0;

export const measured = (pixels) => { width = pixels; };
export const ended = (agent) => agent.gone || agent.state === "ended";

// Return name and, beside a name that several have, the beginning of the id.
function label(agent) {
  const name = nameOf(agent);
  if (!agent.shared || name === agent.agent_id) return plain(name);
  return `${plain(name)} ${agent.agent_id.length > BEGINNING ? `${plain([...agent.agent_id].slice(0, BEGINNING).join(""))}…` : plain(agent.agent_id)}`;
}

const cell = (name, ...inner) => el("span", { role: "cell", class: `c-${name}` }, ...inner);

export function makeAgent() {
  const link = el("a", { "data-here": true, class: "who" }), kind = el("span", { class: "kind" });
  const task = el("a", { "data-here": true }), meter = el("span", { class: "meter", "aria-hidden": "true" }, el("i"));
  const picture = strip.make(), word = el("b"), what = el("span", { class: "what" }), lasted = el("span", { class: "for" });
  const mark = icon("unknown");
  const node = el("div", { role: "row", class: "row" },
    cell("agent", link, kind), cell("does", mark, word, what, lasted), cell("strip", picture), cell("task", task, meter),
    cell("context"), cell("cpu"), cell("memory"), cell("sign"));
  const [, , , , context, cpu, memory, sign] = node.children;
  Object.assign(node, { parts: { link, kind, task, meter, picture, word, what, lasted, mark, context, cpu, memory, sign } });
  return node;
}

export function fillAgent(node, { agent }) {
  const p = node.parts, task = taskOf(agent);
  node.key = key(agent);
  attr(node, "data-state", agent.state);
  attr(node, "data-open", at.agent === agent.agent_id && (at.in ?? null) === (agent.workspace ?? null) ? "" : null);
  attr(p.link, "href", ofAgent(agent));
  text(p.link, label(agent));
  attr(p.link, "title", plain(agent.agent_id));
  const tree = worktreeOf(agent);
  text(p.kind, [at.group === "none" ? lastPart(placeOf(agent)) : "", tree ? lastPart(tree) : "", agent.kind ?? ""].filter(Boolean).map(plain).join(" · "));
  attr(p.mark.firstChild, "href", `#i-${ICONS[agent.state]}`);
  text(p.word, agent.state);
  const what = agent.gone ? "" : doing(agent);
  text(p.what, what);
  attr(p.what, "title", what || null);
  text(p.lasted, age(since(sinceOf(agent))));
  if (width) strip.draw(p.picture, agent, width);
  p.picture.agent = agent;
  p.task.hidden = !task;
  text(p.task, task ? plain(task.task_id) : "");
  attr(p.task, "href", task ? ofTask(task) : null);
  p.meter.hidden = !task || task.progress === null;
  if (task?.progress != null) { p.meter.firstChild.style.width = `${Math.min(100, Math.max(0, task.progress))}%`; attr(p.task, "title", `${plain(task.task_id)}, ${count(task.progress)} %`); }
  text(p.context, tokens(agent.context_tokens));
  text(p.cpu, percent(agent.cpu_percent));
  text(p.memory, bytes(agent.rss));
  text(p.sign, age(since(lastSign(agent))));
}

export function makeGroup() {
  const name = el("b"), path = el("span", { class: "path" }), told = el("span", { class: "told" });
  return Object.assign(el("div", { role: "row", class: "group" }, el("span", { role: "rowheader" }, name, path, told)), { parts: { name, path, told } });
}

export function fillGroup(node, { place, agents }) {
  const counts = new Map(), trees = new Set(agents.map(worktreeOf).filter(Boolean));
  for (const agent of agents) if (!ended(agent)) counts.set(agent.state, (counts.get(agent.state) ?? 0) + 1);
  text(node.parts.name, plain(lastPart(place)));
  text(node.parts.path, place === lastPart(place) ? "" : plain(place));
  attr(node.parts.path, "title", plain(place));
  text(node.parts.told, [...ORDER.filter((s) => counts.has(s)).map((s) => `${counts.get(s)} ${s}`), trees.size ? `${trees.size} in worktrees` : ""].filter(Boolean).join(" · "));
}

export function makeFold(act) {
  const button = el("button", { type: "button" });
  const node = el("div", { role: "row", class: "fold" }, el("span", { role: "cell" }, button));
  button.addEventListener("click", () => act(node.place));
  return Object.assign(node, { button });
}

export function fillFold(node, { place, count: n, open }) {
  node.place = place;
  attr(node.button, "aria-expanded", String(open));
  text(node.button, `${open ? "▾" : "▸"} ${count(n)} ended`);
}
