// Show the line at the top, title and icon, problems, the slim line of host and coordd, and a banner when a connection is lost.
import { at, go, href, onChange } from "./address.js";
import { moment, now, on, setRange, showCharts, since, state } from "./data.js";
import { attr, byId, chips, el, icon, text } from "./dom.js";
import { age, ago, bytes, clock, count, day, duration, fixed, percent, plain, plural } from "./format.js";
import { needs, ownProblems } from "./needs.js";
import { RANGES } from "./bands.js";

function redis(r) {
  if (!r.configured) return "not configured";
  if (!r.connected) return `down: ${plain(r.error ?? "no answer")}`;
  return [r.feed, `${fixed(r.latency_ms, 1)} ms`, `${count(r.keys)} keys`, bytes(r.used_memory)].filter(Boolean).join(", ");
}

function records(all) {
  const failing = Object.keys(all).filter((name) => all[name].state !== "ok");
  const dropped = Object.values(all).reduce((sum, one) => sum + one.dropped, 0);
  if (failing.length) return `${failing.join(", ")} failing, ${count(all[failing[0]].backlog)} wait, ${count(dropped)} dropped`;
  return dropped ? `${count(dropped)} dropped` : `${count(Math.max(0, ...Object.values(all).map((one) => one.written)))} written`;
}

// Say how much of an account's limit is used, and when it begins anew.
function limit({ kind, name, window: length, used_percent: used, resets_at: anew }) {
  const words = [kind, name, typeof length === "number" ? duration(length) : "limit"].filter(Boolean).map(plain).join(" ");
  const at = moment(anew);
  return [words, at ? `${percent(used)}, anew ${at - now() > 72e6 ? day(at) : clock(at)}` : percent(used), used >= 90];
}

// Say the host in one line; in a container its limits count.
function slim(s) {
  const system = s.system ?? {}, group = system.cgroup;
  const cpu = group?.cpu_max != null ? `${percent(group.cpu_percent)} of ${fixed(group.cpu_max, 2)} CPUs` : percent(system.cpu_percent);
  const memory = group?.memory_max != null ? `${percent(group.memory_percent)} of ${bytes(group.memory_max)}` : percent(system.memory_usage?.percent);
  const parts = [
    ["cpu", cpu], ["memory", memory], ["disk", percent(system.disk_usage?.percent)],
    ["load", system.load_average ? `${fixed(system.load_average[0], 2)} of ${count(system.cpu_count)}` : null],
    ...(s.limits ?? []).slice(0, 4).map(limit),
    ["Redis", redis(s.redis), s.redis.configured && !s.redis.connected], ["records", records(s.sinks), Object.values(s.sinks).some((one) => one.state !== "ok")],
    ["coordd", [plain(s.daemon.version), `up ${duration(s.daemon.uptime)}`, s.daemon.rss ? bytes(s.daemon.rss) : "", system.self?.cpu_percent == null ? "" : `${fixed(system.self.cpu_percent, 1)} % CPU`].filter(Boolean).join(", ")],
  ].filter(([, value]) => value !== null);
  const line = byId("slim");
  if (line.children.length !== parts.length) line.replaceChildren(...parts.map(() => el("span", {}, el("span"), " ", el("b"))));
  parts.forEach(([name, value, bad], i) => { text(line.children[i].firstChild, name); text(line.children[i].lastChild, value); attr(line.children[i], "class", bad ? "bad" : null); });
}

function draw() {
  const s = state.status;
  if (!s) return;
  const listed = s.agents.total - (s.agents.ended ?? 0);
  text(byId("alive"), listed ? `${count(s.agents.active)} of ${count(listed)} alive` : "no agents");
  text(byId("hostname"), plain(s.daemon.host));
  slim(s);
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

// The page always says what it does not know.
function link() {
  const s = state.status, down = state.link && !state.link.up, old = !state.live || down;
  if (old !== state.old) { state.old = old; document.documentElement.classList.toggle("old", old); }
  const need = needs(s)?.length ?? 0, own = s ? ownProblems(s).length : 0;
  const told = [need ? `${count(need)} ${need === 1 ? "needs" : "need"} you` : "", own ? plural(own, "problem") : ""].filter(Boolean).join(", ");
  const healthy = s?.health === "ok" || told;
  const [mark, words, mood] = old ? ["unknown", s ? `was: ${told || "healthy"}` : "unknown", "old"] : told ? ["warn", told, need ? "need" : "warn"] : healthy ? ["ok", "healthy", "ok"] : ["warn", "degraded", "warn"];
  const health = byId("health");
  if (health.dataset.words !== words + mood) { health.dataset.words = words + mood; health.dataset.mood = mood; health.replaceChildren(icon(mark), el("span", {}, words)); }
  document.title = `${old ? "? " : need ? `(${need}) ` : ""}${s?.daemon.host ? `${plain(s.daemon.host)} · ` : ""}coordd`;
  attr(byId("icon"), "href", `static/${old || !need ? "favicon" : `favicon-${Math.min(need, 10)}`}.svg`);
  banner(down);
}

// Announce a loss once as an alert, without its duration, which changes each second.
function banner(down) {
  let what = "", more = "";
  if (!state.live && state.lostAt !== null) {
    what = "The connection to the dashboard is lost.";
    more = `For ${age(since(state.lostAt))}, and tried again. Everything below is from then.`;
  } else if (down) {
    const { kind, message, since: from, snapshot_at: seenAt } = state.link;
    what = kind === "daemon-down" ? "coordd is not running." : `coordd does not answer: ${plain(message.split("\n")[0])}`;
    const seen = seenAt === null ? "Nothing is known from before." : `What follows was so ${ago(now() / 1000 - seenAt)}.`;
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

function theme() {
  const select = byId("theme");
  try { select.value = localStorage.getItem("theme") ?? ""; } catch { /* forbidden */ }
  select.addEventListener("change", () => {
    if (select.value) document.documentElement.dataset.theme = select.value;
    else delete document.documentElement.dataset.theme;
    try { localStorage.setItem("theme", select.value); } catch { /* forbidden: it holds until the page goes */ }
  });
}

export function start() {
  text(byId("live"), "connecting…");
  on("status", draw);
  on("link", link);
  chips(byId("range"), "range", Object.keys(RANGES).map((r) => [r, r]), state.range, (range) => go(href({ range })));
  const checked = () => { byId("range").querySelector(`[value="${state.range}"]`).checked = true; };
  on("range", checked);
  const host = byId("host");
  let charts = null;
  const show = () => {
    if (at.range) setRange(at.range);
    host.open = at.host === "open";
    showCharts(host.open);
    if (host.open) charts ??= import("./host.js").then((made) => made.start());
  };
  host.addEventListener("toggle", () => { if (host.open !== (at.host === "open")) go(href({ host: host.open ? "open" : null })); });
  onChange(show);
  show();
  theme();
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  byId("foot").append(el("span", {}, `Times are of ${zone}.`), " ", el("a", { href: "openapi.json" }, "API"), " ", el("a", { href: "metrics" }, "metrics"), " ", el("span", {}, "Read only."));
}

export function tick() {
  const seconds = since(state.statusAt);
  text(byId("live"), state.live ? `${state.old ? "no daemon" : "live"}${seconds === null ? "" : ` · ${ago(seconds)}`}` : state.lostAt === null ? "connecting…" : "connection lost");
  text(byId("past"), state.seriesError && !state.old ? `What agents did cannot be shown: ${plain(state.seriesError)}` : "");
  banner(state.link && !state.link.up);
}
