// Keep what is shown in the page's address: range, filter, sort, group, what is open. Back and forward work, and a link opened
// fresh shows the same. Addresses are relative, so that the page may lie below any path.
import { RANGES } from "./bands.js";

const WORDS = { range: Object.keys(RANGES), sort: ["need", "name", "activity", "sign"], group: ["project", "none"] };
const NAMES = ["range", "sort", "group", "find", "state", "host", "agent", "in", "task"];
const listeners = [];
export let at = read();

function read() {
  const found = new URLSearchParams(location.search), known = {};
  for (const name of NAMES) {
    const value = found.get(name);
    if (value !== null && (!WORDS[name] || WORDS[name].includes(value))) known[name] = value.slice(0, 4096);
  }
  return known;
}

// Return the address of what is shown now but for some changes; null takes a part out.
export function href(changes) {
  const query = new URLSearchParams(), next = { ...at, ...changes };
  for (const name of NAMES) if (next[name] !== undefined && next[name] !== null && next[name] !== "") query.set(name, next[name]);
  const text = query.toString();
  return text ? `?${text}` : "./";
}

const NOTHING = { agent: null, in: null, task: null };
export const ofAgent = (agent) => href({ ...NOTHING, agent: agent.agent_id, in: agent.workspace });
export const ofTask = (task) => href({ ...NOTHING, task: task.task_id, in: task.workspace });
export const closed = () => href(NOTHING);

// Go to an address; with `replace` the one before is not kept for going back, as while typing.
export function go(where, { replace = false } = {}) {
  const target = where === "./" ? location.pathname : where;
  if (replace) history.replaceState(null, "", target); else history.pushState(null, "", target);
  changed();
}

function changed() {
  const before = at;
  at = read();
  for (const listener of listeners) listener(at, before);
}

export const onChange = (listener) => listeners.push(listener);

export function start() {
  addEventListener("popstate", changed);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-here]");
    if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(link.getAttribute("href"));
  });
}
