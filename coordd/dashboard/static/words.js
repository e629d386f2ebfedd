// Say in words what an agent does, and put agents in the order of need, as `coordctl status` does.
// The rules are those of coordd/cli/agent_words.py; a test compares the two.
import { moment, since as secondsSince } from "./data.js";
import { ago, DASH, plain } from "./format.js";

export const ORDER = ["waiting", "killed", "stalled", "blocked", "silent", "inactive", "unknown", "active", "working", "idle", "ended"];
const DEAD = ["killed", "silent", "ended"], DOING = ["waiting", "blocked", "stalled", "working", "idle"];
const LATE = ["killed", "silent", "inactive", "unknown", "ended"]; // how long is counted from its last sign
const WHY_UNKNOWN = { unreachable: "its source cannot be read", quiet: "nothing new since its last hook" };
const whyUnknown = (a) => (a.reason !== "no-heartbeat" ? (WHY_UNKNOWN[a.reason] ?? "")
  : a.last_heartbeat !== null ? "its times contradict each other"
  : a.sources?.includes("redis") ? "not changed since coordd first saw it" : "no sign of life can be read");

export const natural = new Intl.Collator("en", { numeric: true });
export const NEEDING = 4; // so many states of the order need somebody
export const ICONS = { waiting: "wait", killed: "dead", stalled: "warn", blocked: "block", silent: "dead", inactive: "dead", unknown: "unknown", working: "work", active: "active", idle: "idle", ended: "ok" };

// Return the state of an agent in one word.
export function stateOf(a) {
  if (a.status === "inactive") return DEAD.includes(a.reason) ? a.reason : "inactive";
  if (a.status === "active") return DOING.includes(a.activity) ? a.activity : "active";
  return a.activity === "waiting" && a.reason === "quiet" ? "waiting" : "unknown";
}

export const rankOf = (a) => ORDER.indexOf(stateOf(a));
export const nameOf = (a) => (typeof a.name === "string" && a.name.trim() ? a.name : a.agent_id);
export const placeOf = (a) => a.project || a.workspace || (a.sources?.includes("redis") ? "Redis alone" : "no project");
export const lastPart = (path) => path.split("/").filter(Boolean).pop() ?? path;

// Return the path of the work tree that it works in, where that is not the main one of its project; else null.
export const worktreeOf = (a) => (a.workspace && a.project && a.workspace !== a.project ? a.workspace : null);

// Return the name of its project, with that of the worktree beside it: "shop (wt-shop)".
export function projectOf(a) {
  const name = lastPart(placeOf(a)), tree = worktreeOf(a);
  return tree === null ? name : `${name} (${lastPart(tree) === name ? tree : lastPart(tree)})`;
}

// Return the moment of the last heartbeat or progress, whatever came last; null if unknown.
export function lastSign(a) {
  const known = [a.beatAt, a.progressAt].filter((at) => at !== null && !Number.isNaN(at));
  return known.length ? Math.max(...known) : null;
}

// Return the moment since when it has been in its state; where that is not known of one that is not active, its last sign.
export const sinceOf = (a) => (LATE.includes(stateOf(a)) ? a.inactiveAt ?? lastSign(a) : a.activityAt);

// Return what sorts agents by need, and those of one state by how long they have been in it, the longest first.
// Only timestamps count: an age is older in each answer, and would let rows change places.
export function needOf(a) {
  const signs = [a.last_heartbeat, a.last_progress].map(moment).filter(Number.isFinite);
  const began = LATE.includes(stateOf(a)) ? a.inactiveAt ?? Math.max(...signs) : a.activityAt;
  return [rankOf(a), Number.isFinite(began) ? began : Infinity, nameOf(a)];
}

// Return what makes the state more precise: what it waits for, its open tool; "" for nothing.
export function doing(a) {
  const state = stateOf(a);
  if (state === "waiting") return typeof a.waiting_for === "string" ? plain(a.waiting_for) : "";
  if (state === "active") { const sign = secondsSince(lastSign(a)); return sign === null ? "" : `seen ${ago(Math.max(0, sign))}`; }
  if (["working", "stalled", "idle"].includes(state)) {
    if (typeof a.tool === "string" && a.tool) return plain(a.tool);
    return a.background ? `${Math.round(a.background)} in the background` : "";
  }
  return state === "unknown" ? whyUnknown(a) : state === "blocked" ? "refused by its provider" : "";
}

// Format a number of tokens: 950, 84k, 1.2M.
export function tokens(value) {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return DASH;
  if (value < 1000) return String(Math.round(value));
  return value < 999500 ? `${Math.round(value / 1000)}k` : `${(value / 1e6).toFixed(1)}M`;
}
