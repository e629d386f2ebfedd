// Show the line at the top, the problems, the tiles, and a banner when the connection is lost.
import { now, on, since, state } from "./data.js";
import { attr, byId, el, icon, text } from "./dom.js";
import { age, ago, bytes, count, duration, fixed, plain, plural } from "./format.js";
import { needs, ownProblems } from "./needs.js";

const tiles = {};

function tile(id, title) {
  const value = el("p", { class: "big" }), more = el("p", { class: "more" }), seen = el("span", { class: "age" });
  const node = el("article", { class: "card tile", id: `tile-${id}`, "aria-label": title }, el("header", {}, el("h2", {}, title), seen), value, more);
  byId("summary").append(node);
  tiles[id] = { node, value, more, seen };
}

function say(id, value, more, mood = null) {
  text(tiles[id].value, value);
  text(tiles[id].more, more);
  attr(tiles[id].node, "data-mood", mood);
}

function redis(r) {
  if (!r.configured) return ["not configured", "agents come through files"];
  if (!r.connected) return ["down", plain(r.error ?? "no answer"), "bad"];
  const parts = [r.feed, `${fixed(r.latency_ms, 1)} ms`, `${count(r.keys)} keys`, bytes(r.used_memory)];
  return ["connected", parts.filter(Boolean).join(" · ")];
}

function sinks(all) {
  const names = Object.keys(all), failing = names.filter((name) => all[name].state !== "ok");
  const written = names.reduce((sum, name) => Math.max(sum, all[name].written), 0);
  const dropped = names.reduce((sum, name) => sum + all[name].dropped, 0);
  if (failing.length) return [`${failing.join(", ")} failing`, `${count(all[failing[0]].backlog)} records wait, ${count(dropped)} dropped`, "bad"];
  return [`${count(written)} written`, `${names.join(", ")} · ${count(dropped)} dropped`, dropped ? "warn" : null];
}

function draw() {
  const s = state.status;
  if (!s) return;
  const { agents, tasks, daemon } = s;
  say("agents", `${count(agents.active)} active`, [`${count(agents.inactive - (agents.ended ?? 0))} inactive`, agents.ended ? `${count(agents.ended)} ended` : "", agents.unknown ? `${count(agents.unknown)} unknown` : "", agents.stalled ? `${count(agents.stalled)} stalled` : ""].filter(Boolean).join(" · "), agents.stalled ? "warn" : null);
  say("tasks", `${count(tasks.available)} available`, `${count(tasks.claimed)} claimed · ${count(tasks.expired)} expired`);
  say("orphans", `${count(tasks.orphaned)} orphaned`, tasks.orphaned ? "claims whose holder is gone" : tasks.orphaned === 0 ? "every claim has a holder" : s.workspaces?.length === 0 ? "no project is watched" : "claims cannot be read", tasks.orphaned ? "warn" : null);
  say("redis", ...redis(s.redis));
  say("sinks", ...sinks(s.sinks));
  say("daemon", `up ${duration(daemon.uptime)}`, `coordd ${plain(daemon.version)} · ${bytes(daemon.rss)}`);
  const watched = s.workspaces ?? [];
  text(byId("host"), [daemon.host, watched.length === 1 ? watched[0].path : plural(watched.length, "project")].map(plain).join(" · "));
  problems(ownProblems(s));
  link();
}

function problems(list) {
  const box = byId("problems"), ul = box.querySelector("ul");
  box.hidden = list.length === 0;
  const known = [...ul.children].map((li) => li.dataset.text);
  if (known.length === list.length && known.every((t, i) => t === list[i])) return;
  ul.replaceChildren(...list.map((problem) => el("li", { "data-text": problem }, icon("warn"), el("span", {}, plain(problem)))));
}

// Choose the banner's text and style: the page always says what it does not know.
function link() {
  const s = state.status, down = state.link && !state.link.up;
  const old = !state.live || down;
  state.old = old;
  document.documentElement.classList.toggle("old", old);
  const degraded = s?.health !== "ok";
  const need = needs(s)?.length ?? 0, own = s ? ownProblems(s).length : 0;
  const told = [need ? `${count(need)} ${need === 1 ? "needs" : "need"} you` : "", own ? plural(own, "problem") : ""].filter(Boolean).join(", ");
  const [mark, words, mood] = old ? ["unknown", s ? `was ${degraded ? "degraded" : "healthy"}` : "unknown", "old"] : told || degraded ? ["warn", told || "…", "warn"] : ["ok", "healthy", "ok"];
  const health = byId("health");
  if (health.dataset.words !== words + mood) { health.dataset.words = words + mood; health.dataset.mood = mood; health.replaceChildren(icon(mark), el("span", {}, words)); }
  document.title = `${old ? "? " : need + own ? `(${need + own}) ` : ""}${s?.daemon.host ? plain(s.daemon.host) + " · " : ""}coordd`;
  banner(down);
}

// Announce a loss once as an alert, without its duration, which changes each second.
function banner(down) {
  let what = "", more = "";
  if (!state.live && state.lostAt !== null) {
    what = "The connection to the dashboard is lost.";
    more = `For ${age(since(state.lostAt))}, and tried again. Everything below is from then.`;
  } else if (down) {
    const { kind, message, since: from, snapshot_at: at } = state.link;
    what = kind === "daemon-down" ? "coordd is not running." : `coordd does not answer: ${plain(message.split("\n")[0])}`;
    const seen = at === null ? "Nothing is known from before." : `What follows was so ${ago(now() / 1000 - at)}.`;
    // Below the sockets that were tried, which are indented, stands how it ended and what to do.
    const hints = message.split("\n").slice(1).filter((one) => !one.startsWith("  ")).map(plain).join(" ");
    more = `For ${age(now() / 1000 - from)}. ${seen} ${hints} This page goes on by itself when it is back.`;
  } else if (state.link?.note) {
    what = "This is another coordd than the one that is meant.";
    more = plain(state.link.note);
  }
  byId("banner").hidden = what === "";
  text(byId("lost"), what);
  text(byId("lost-for"), more);
}

export function start() {
  for (const [id, title] of [["agents", "Agents"], ["tasks", "Tasks"], ["orphans", "Orphaned claims"], ["redis", "Redis"], ["sinks", "Records"], ["daemon", "Daemon"]]) tile(id, title);
  text(byId("live"), "connecting…");
  on("status", draw);
  on("link", link);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  byId("foot").append(el("span", {}, `Times are of ${zone}.`), " ", el("a", { href: "/openapi.json" }, "API"), " ", el("a", { href: "/metrics" }, "metrics"), " ", el("span", {}, "Read only."));
}

export function tick() {
  const seconds = since(state.statusAt);
  text(byId("live"), state.live ? `${state.old ? "no daemon" : "live"}${seconds === null ? "" : ` · ${ago(seconds)}`}` : state.lostAt === null ? "connecting…" : "connection lost");
  for (const { seen } of Object.values(tiles)) text(seen, ago(seconds));
  banner(state.link && !state.link.up);
}
