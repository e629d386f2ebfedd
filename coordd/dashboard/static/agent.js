// Say of one agent what it does and why coordd says so, what it did, what it holds and what happened to it.
import { ofTask } from "./address.js";
import { bandsOf, gapsIn, picture, within } from "./bands.js";
import * as copy from "./copy.js";
import { ask, prepared, since, state } from "./data.js";
import { attr, el, icon, text } from "./dom.js";
import * as events from "./events.js";
import { age, ago, bytes, clock, count, DASH, duration, percent, plain } from "./format.js";
import { entryOf } from "./needs.js";
import * as strip from "./strip.js";
import { ICONS as TASK_ICONS, progress } from "./tasks.js";
import { doing, ICONS, lastSign, sinceOf, tokens, worktreeOf } from "./words.js";

const AGAIN = 5000; // milliseconds after which the evidence is asked for again, while something is heard of the agent
let asked = null, full = null, trouble = null, parts = null, askedAt = 0, known = null, timer = 0;

export function open(body, who) {
  asked = who;
  [full, trouble, known, askedAt] = [null, null, null, 0];
  const named = (name, ...inner) => el("section", {}, el("h3", {}, name), ...inner);
  const made = (tag, more) => el(tag, more);
  parts = {
    now: made("p", { class: "state" }), command: copy.make(), picture: strip.make(true), from: made("span"), until: made("span"),
    changes: made("ol", { class: "items changes" }), facts: made("dl"), why: made("div"), holds: made("ul", { class: "items" }), happened: made("ol", { class: "items" }),
  };
  const many = el("details", {}, el("summary", {}, "In words"), parts.changes);
  body.replaceChildren(parts.now, parts.command,
    named("What it did", el("div", { class: "timeline" }, parts.picture, el("p", { class: "ends" }, parts.from, parts.until)), many),
    named("Tasks and claims", parts.holds), named("Why", parts.why), named("Facts", parts.facts), named("Events", parts.happened));
}

export function close() { asked = parts = null; clearTimeout(timer); timer = 0; }

async function load() {
  askedAt = performance.now();
  const who = asked, query = new URLSearchParams({ agent_id: who.agent_id, ...(who.workspace === null ? {} : { workspace: who.workspace }) });
  const answer = await ask(`api/agents/?${query}`);
  if (who !== asked) return;
  if (answer?.ok && answer.body.verdict) [full, trouble] = [prepared(answer.body), null];
  else trouble = answer?.status === 404 && full ? null : answer?.body.error?.message ?? "The dashboard does not answer.";
  why();
}

// Ask again at most each few seconds, and only when something was heard of the agent since.
function refresh(agent) {
  if (agent?.gone) { trouble = "It is listed no longer; its records are there: coordctl history agent --agent ID"; why(); return; }
  const heard = agent ? `${agent.timestamp}|${agent.state}` : "";
  if (heard === known && full) return;
  if (askedAt === 0 || performance.now() - askedAt > AGAIN) { known = heard; load(); } else timer ||= setTimeout(() => { timer = 0; if (asked) refresh(state.agents.get(`${asked.workspace ?? ""}\u0000${asked.agent_id}`)); }, AGAIN);
}

export function draw(agent) {
  if (!parts) return;
  refresh(agent);
  const seen = agent ?? full;
  if (seen) {
    const lasted = age(since(sinceOf(seen))), what = seen.gone ? "" : doing(seen);
    attr(parts.now, "data-state", seen.state);
    const words = [`${seen.state}${what ? `: ${what}` : ""}`, seen.gone || seen.status !== "active" ? `${lasted} ago` : `for ${lasted}`];
    if (parts.now.dataset.words !== words.join()) { parts.now.dataset.words = words.join(); parts.now.replaceChildren(icon(ICONS[seen.state]), el("b", {}, words[0]), ` ${words[1]}`); }
    facts(seen);
  } else text(parts.now, trouble ? plain(trouble) : "…");
  const entry = seen && entryOf(seen), next = state.old || !seen ? "" : entry?.command ?? (seen.gone ? "" : `coordctl why ${shell(seen.agent_id)}`);
  copy.fill(parts.command, next, next ? plain(next) : "");
  timeline(agent ?? asked);
  holds(agent ?? asked);
  const happened = events.of(asked);
  const ids = happened.map((e) => e.timestamp + e.kind).join();
  if (parts.happened.dataset.ids !== ids) { parts.happened.dataset.ids = ids; parts.happened.replaceChildren(...(happened.length ? happened.map(events.row) : [el("li", { class: "muted" }, "Nothing in the events that are loaded.")])); }
}

const shell = (id) => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(id) ? id : `'${id.replaceAll("'", "'\\''")}'`);

function timeline(agent) {
  const shown = picture(), bands = within(bandsOf(agent), shown);
  strip.draw(parts.picture, agent, Math.round(parts.picture.clientWidth) || 400);
  text(parts.from, clock(shown.since * 1000));
  text(parts.until, "now");
  const blanks = gapsIn().filter(([begin, end]) => end > shown.since && begin < shown.until).map(([begin, end]) => [Math.max(begin, shown.since), end, "coordd did not run"]);
  const lines = [...bands, ...blanks].sort((a, b) => b[0] - a[0]).slice(0, 60).map(([begin, end, what]) => `${clock(begin * 1000)} ${what}, ${age(end - begin)}`);
  if (parts.changes.dataset.lines !== lines.join()) { parts.changes.dataset.lines = lines.join(); parts.changes.replaceChildren(...lines.map((line) => el("li", {}, line))); }
}

function facts(a) {
  const tree = worktreeOf(a);
  const lines = [
    ["Id", a.agent_id], ["Name", a.name], ["Kind", a.kind], ["Project", a.project ?? a.workspace], ["Worktree", tree], ["Model", a.model],
    ["Context", a.context_tokens == null ? null : `${tokens(a.context_tokens)} tokens`],
    ["Used", a.tokens?.output ? `${tokens(a.tokens.input)} in, ${tokens(a.tokens.output)} out, ${tokens(a.tokens.cache_read)} from cache` : null],
    ["Processes", a.processes == null ? null : `${count(a.processes)}, ${percent(a.cpu_percent)} CPU, ${bytes(a.rss)}`],
    ["Pid", a.pid], ["Terminal", a.tty], ["User", a.user], ["Background", a.background ? count(a.background) : null],
    ["Up", a.uptime == null ? null : duration(a.uptime)], ["Last sign", lastSign(a) === null ? null : ago(since(lastSign(a)))],
    ["Last beat", a.beatAt === null ? null : ago(since(a.beatAt))], ["Says of itself", a.declared_status], ["Seen through", (a.sources ?? []).join(", ")], ["Session", a.session_id !== a.agent_id ? a.session_id : null],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "");
  const names = lines.map(([name]) => name).join();
  if (parts.facts.dataset.names !== names) { parts.facts.dataset.names = names; parts.facts.replaceChildren(...lines.flatMap(([name]) => [el("dt", {}, name), el("dd")])); }
  const cells = parts.facts.querySelectorAll("dd");
  lines.forEach(([, value], i) => text(cells[i], plain(value)));
}

function holds(agent) {
  const claims = (state.tasks ?? []).filter((task) => task.agent_id === agent.agent_id && (task.workspace ?? null) === (agent.workspace ?? null));
  const listed = (full?.tasks ?? []).filter((id) => !claims.some((task) => task.task_id === id));
  const words = JSON.stringify([claims, listed]);
  if (parts.holds.dataset.words === words) return;
  parts.holds.dataset.words = words;
  const rows = claims.map((task) => el("li", {}, icon(TASK_ICONS[task.state] ?? "unknown"), el("a", { href: ofTask(task), "data-here": true }, plain(task.task_id)), ` ${task.state}${progress(task) ? `, ${progress(task)}` : ""}`));
  const more = listed.map((id) => el("li", {}, icon("idle"), el("span", {}, plain(id)), " listed by itself"));
  parts.holds.replaceChildren(...(rows.length + more.length ? [...rows, ...more] : [el("li", { class: "muted" }, "It holds nothing.")]));
}

// Say the rows of both tables: the one that decided, and, folded, the others.
function why() {
  if (!parts) return;
  if (!full) { parts.why.replaceChildren(el("p", { class: "muted" }, trouble ? plain(trouble) : "…")); return; }
  const stay = [...parts.why.querySelectorAll("details")].map((one) => one.open);
  const tables = [["Does it live?", full.verdict_rows], ["What does it do?", full.activity_rows]].filter(([, rows]) => rows?.length);
  parts.why.replaceChildren(...tables.map(([question, rows], i) => {
    const decided = rows.find((row) => row.decides);
    const others = el("details", { open: stay[i] }, el("summary", {}, `All ${rows.length} rows of the table`), el("ol", { class: "table" }, ...rows.map((row) => el("li", { class: row.decides ? "decides" : row.fits ? "fits" : null, value: row.row }, ...sentence(row)))));
    return el("div", {}, el("h4", {}, question), el("p", {}, ...(decided ? sentence(decided) : [DASH])), others);
  }), signals());
}

function sentence(row) {
  const old = row.age === null || row.age === undefined ? "" : ` (${duration(row.age)}${row.threshold == null ? "" : ` of ${duration(row.threshold)}`})`;
  return [el("b", {}, plain(row.verdict)), `: ${plain(row.when)}. Now: ${plain(row.value)}${old}.`, row.change ? ` What would change it: ${plain(row.change)}.` : ""];
}

function signals() {
  const rows = (full.evidence ?? []).map((e) => el("li", {}, `${plain(e.signal)}: ${plain(e.value)}${e.age == null ? "" : `, ${duration(e.age)} old`}${e.threshold == null ? "" : `, counts for ${duration(e.threshold)}`}`));
  return el("details", {}, el("summary", {}, `${rows.length} signals`), el("ul", { class: "table" }, ...rows));
}
