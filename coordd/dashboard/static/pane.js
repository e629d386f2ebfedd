// Open an agent or a task beside the list; a sheet where there is no room beside it.
import { at, closed, go, onChange } from "./address.js";
import * as agent from "./agent.js";
import { on, state, waiting } from "./data.js";
import { byId, el, text } from "./dom.js";
import { plain } from "./format.js";
import * as list from "./list.js";
import * as tasks from "./tasks.js";
import { nameOf } from "./words.js";

const sheet = matchMedia("(max-width: 1099px)");
let body, title, opened = null, timer = 0, before = null;

const asked = () => (at.agent !== undefined ? `a${at.in ?? ""}\u0000${at.agent}` : at.task !== undefined ? `t${at.in ?? ""}\u0000${at.task}` : null);

function show() {
  const what = asked(), pane = byId("pane");
  pane.hidden = what === null;
  document.documentElement.classList.toggle("beside", what !== null);
  covered();
  if (what === opened) { if (what) draw(); return; }
  const first = opened === null;
  if (first && what !== null) before = document.activeElement;
  opened = what;
  if (what === null) {
    agent.close();
    if (before?.isConnected && before !== document.body) before.focus({ preventScroll: true });
    return;
  }
  body.replaceChildren(el("p", { class: "muted" }, "…"));
  pane.scrollTop = 0;
  if (what[0] === "a") agent.open(body, { agent_id: at.agent, workspace: at.in ?? null });
  draw();
  title.focus({ preventScroll: true });
}

// What a sheet covers can neither be read nor reached, but for the page's own name.
function covered() {
  for (const node of document.querySelectorAll("header.top > :not(h1), main > :not(#pane)")) node.inert = asked() !== null && sheet.matches;
}

function draw() {
  timer = 0;
  if (opened === null) return;
  if (opened[0] === "a") {
    const one = list.find(opened.slice(1));
    text(title, plain(one ? nameOf(one) : at.agent));
    agent.draw(one);
    return;
  }
  const task = tasks.find(at.task, at.in);
  text(title, plain(at.task));
  body.replaceChildren(...(task ? tasks.detail(task) : [el("p", {}, state.tasks === null ? waiting() : "This task is there no longer: it is done, or was taken away.")]));
}

export const close = () => { if (opened !== null) go(closed()); };
export const isOpen = () => opened !== null;
export const openKey = () => (opened?.[0] === "a" ? opened.slice(1) : null);

export function start() {
  title = byId("pane-h");
  body = byId("pane-body");
  byId("close").addEventListener("click", close);
  onChange(show);
  sheet.addEventListener("change", () => { show(); covered(); });
  for (const topic of ["agents", "tasks", "events", "bands"]) on(topic, () => { timer ||= setTimeout(draw, 500); });
  show();
}

export const tick = () => { if (opened !== null && !timer) draw(); };
