// Show what happened, the newest on top, each with a link to whom or what it is about.
import { ofAgent, ofTask } from "./address.js";
import { moment, on, state, waiting } from "./data.js";
import { byId, chips, el, icon, text } from "./dom.js";
import { exact, moment as whole, plain } from "./format.js";
import { lastPart } from "./words.js";

const MOST = 80;
const KINDS = { agents: /^agents?\./, tasks: /^(task|claim)\./, coordd: /^(?!agents?\.|task\.|claim\.)/ };
const BAD = /inactive|waiting|blocked|stalled|mass|orphaned|split|failed|failing|rejected|down|damaged|lagged|dropping|unreadable|crashed|machine\.restarted/;
let wanted = "", list, note, timer = 0;

const id = (event) => `${event.timestamp}|${event.kind}|${event.subject}`;

// Return the address of what an event is about; null where it has none.
function about(event) {
  const where = typeof event.detail?.workspace === "string" ? event.detail.workspace : null;
  if (event.kind.startsWith("agent.")) return ofAgent({ agent_id: event.subject, workspace: where });
  return /^(task|claim)\./.test(event.kind) ? ofTask({ task_id: event.subject, workspace: where }) : null;
}

// Say it as short as it stays clear: the project by its name, an agent by the name that stands before its id.
function short({ message, subject, detail }) {
  const where = typeof detail?.workspace === "string" ? detail.workspace : null;
  const named = message.replace(` (${subject})`, () => "");
  return where === null ? named : named.replace(` in ${where}`, () => ` in ${lastPart(where)}`);
}

export function row(event) {
  const orderly = event.kind === "agent.inactive" && event.message.endsWith("(ended)");
  const at = moment(event.timestamp), bad = BAD.test(event.kind) && !orderly, link = about(event);
  return el("li", { class: bad ? "bad" : null, "data-key": id(event) },
    el("time", { datetime: event.timestamp, title: whole(at) }, exact(at)), icon(bad ? "warn" : "dot"),
    link ? el("a", { href: link, "data-here": true, title: plain(event.message) }, plain(short(event))) : el("span", { title: plain(event.kind) }, plain(short(event))));
}

export const of = (agent) => state.events.filter((e) => (e.kind.startsWith("agent.") ? e.subject === agent.agent_id : e.detail?.agent_id === agent.agent_id) && (e.detail?.workspace ?? null) === (agent.workspace ?? null)).slice(-30).reverse();

function draw() {
  timer = 0;
  const fitting = state.events.filter((e) => !wanted || KINDS[wanted].test(e.kind)).slice(-MOST).reverse();
  const known = new Map([...list.children].map((li) => [li.dataset.key, li]));
  const rows = fitting.map((e) => known.get(id(e)) ?? row(e));
  if (rows.length !== list.children.length || rows.some((li, i) => list.children[i] !== li)) {
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    list.replaceChildren(...rows);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
  }
  text(note, rows.length ? "" : state.eventsKnown ? "Nothing has happened in the last day." : waiting());
  note.hidden = rows.length > 0;
}

export function start() {
  chips(byId("kinds"), "kind", [["", "all"], ...Object.keys(KINDS).map((k) => [k, k])], "", (value) => { wanted = value; draw(); });
  list = el("ol", { class: "items" });
  note = el("p", { class: "empty" });
  byId("events").append(list, note);
  for (const topic of ["link", "events"]) on(topic, () => { timer ||= setTimeout(draw, 300); });
  draw();
}
