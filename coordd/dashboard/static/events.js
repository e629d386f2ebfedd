// Show events, the newest on top.
import { moment, on, state, waiting } from "./data.js";
import { byId, chips, el, icon, text } from "./dom.js";
import { exact, moment as whole, plain } from "./format.js";

const MOST = 150;
const KINDS = { agents: /^agent\./, tasks: /^(task|claim)\./, coordd: /^(?!agent\.|task\.|claim\.)/ };
const BAD = /inactive|waiting|blocked|stalled|mass|orphaned|failed|failing|rejected|down|damaged|lagged|dropping|unreadable|crashed|machine\.restarted/;
let wanted = "", list, note, timer = 0;

function row(event) {
  const orderly = event.kind === "agent.inactive" && event.message.endsWith("(ended)");
  const at = moment(event.timestamp), bad = BAD.test(event.kind) && !orderly;
  return el("li", { class: bad ? "bad" : null, "data-key": `${event.timestamp}|${event.kind}|${event.subject}` },
    el("time", { datetime: event.timestamp, title: whole(at) }, exact(at)),
    icon(bad ? "warn" : event.kind === "agent.active" ? "active" : "wait"),
    el("span", { title: plain(event.kind) }, plain(event.message)));
}

// Make only new rows, and remove old ones.
function draw() {
  timer = 0;
  const fitting = state.events.filter((e) => !wanted || KINDS[wanted].test(e.kind)).slice(-MOST).reverse();
  const known = new Map([...list.children].map((li) => [li.dataset.key, li]));
  const rows = fitting.map((e) => known.get(`${e.timestamp}|${e.kind}|${e.subject}`) ?? row(e));
  if (rows.length !== list.children.length || rows.some((li, i) => list.children[i] !== li)) list.replaceChildren(...rows);
  text(note, rows.length ? "" : state.eventsKnown ? "Nothing has happened in the last day." : waiting());
  note.hidden = rows.length > 0;
}

export function start() {
  const parent = byId("events");
  chips(byId("kinds"), "kind", [["", "all"], ...Object.keys(KINDS).map((k) => [k, k])], "", (value) => { wanted = value; draw(); });
  list = el("ol");
  note = el("p", { class: "empty" });
  parent.append(el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Events, the newest first" }, list, note));
  on("link", () => { timer ||= setTimeout(draw, 300); });
  on("events", () => { timer ||= setTimeout(draw, 300); });
  draw();
}
