// Show one agent in full: verdict and evidence, tasks, and past verdicts.
import { ask, moment, now, prepared, since, state } from "./data.js";
import { byId, el, icon, svg } from "./dom.js";
import { ago, clock, count, DASH, duration, plain } from "./format.js";
import { doing, nameOf, stateOf, tokens } from "./words.js";

const HOURS = 6, STEP = 300;
const HIGH = { active: 26, unknown: 16, inactive: 7 };
let shown = null;

export async function open(key) {
  const agent = state.agents.get(key);
  if (!agent) return;
  shown = key;
  const dialog = byId("detail");
  const body = el("div", {}, el("p", { class: "muted" }, "…"));
  dialog.replaceChildren(
    el("header", { class: "bar" }, el("h2", { id: "detail-h" }, plain(nameOf(agent))), el("button", { type: "button", class: "close", onclick: () => dialog.close(), "aria-label": "Close" }, "✕")),
    body,
  );
  if (!dialog.open) dialog.showModal();
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  const where = agent.workspace ? `workspace=${encodeURIComponent(agent.workspace)}` : "";
  const [full, past] = await Promise.all([
    ask(`/api/agents/${encodeURIComponent(agent.agent_id)}${where && `?${where}`}`),
    ask(`/api/metrics/agent/history?agent_id=${encodeURIComponent(agent.agent_id)}&since=${HOURS}h&step=${STEP}&limit=1000${where && `&${where}`}`),
  ]);
  if (shown !== key) return;
  if (!full?.ok || !full.body.verdict) { body.replaceChildren(el("p", {}, plain(full?.body.error?.message ?? "The dashboard does not answer."))); return; }
  body.replaceChildren(...content(prepared(full.body), past?.ok ? past.body.records : []));
}

function content(a, records) {
  const row = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  return [
    el("p", { class: "verdict", "data-status": a.status }, icon(a.status), el("strong", {}, `${a.status}, ${plain(a.reason)}`), el("span", {}, ` by rule ${a.verdict.row}: ${plain(a.verdict.when)}`), a.stalled ? el("strong", { class: "warn" }, " · stalled") : null),
    strip(records),
    el("dl", {},
      row("Does", [stateOf(a), doing(a)].filter(Boolean).join(", ")), row("Kind", plain(a.kind)), row("Id", plain(a.agent_id)),
      row("Context", a.context_tokens === null ? DASH : `${tokens(a.context_tokens)} tokens`), row("Model", plain(a.model)),
      row("Project", plain(a.workspace)), row("Last beat", `${ago(since(moment(a.timestamp)) + a.last_heartbeat_age)} (${plain(a.last_heartbeat)})`),
      row("Uptime", duration(a.uptime)), row("Says of itself", plain(a.declared_status)), row("Seen through", plain((a.sources ?? []).join(", "))),
      row("Process", a.pid === null ? DASH : plain(a.pid)),
    ),
    el("h3", {}, "Evidence"),
    grid(["Signal", "Value", "Age", "Threshold"], a.evidence.map((e) => [plain(e.signal), plain(e.value), duration(e.age), duration(e.threshold)])),
    el("h3", {}, "Claims"),
    a.claims?.length ? grid(["Task", "State", "Since", "Progress"], a.claims.map((c) => [plain(c.task_id), c.state, ago(since(moment(c.claimed_at))), progress(c)])) : el("p", { class: "muted" }, a.claims ? "It holds no claim." : "Unknown."),
    el("p", { class: "muted" }, `Tasks listed by itself: ${a.tasks ? a.tasks.map(plain).join(", ") || "none" : DASH}`),
  ];
}

export const progress = (task) => [task.failed ? "failed" : task.progress === null ? "" : `${count(task.progress)} %`, task.message ? plain(task.message) : ""].filter(Boolean).join(" ") || DASH;

function grid(heads, rows) {
  return el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((c) => el("td", {}, c))))));
}

// Draw the verdicts of the last hours: higher is better; hours without records stay empty.
function strip(records) {
  const width = 600, until = now() / 1000, from = until - HOURS * 3600;
  const picture = svg("svg", { class: "strip", viewBox: `0 0 ${width} 44`, role: "img", "aria-label": `Verdicts of the last ${HOURS} hours` });
  for (const r of records) {
    const x = ((Date.parse(r.timestamp) / 1000 - from) / (HOURS * 3600)) * width, h = HIGH[r.status] ?? 4;
    picture.append(svg("rect", { class: `is-${r.status}`, x: x.toFixed(1), y: 28 - h, width: ((STEP / (HOURS * 3600)) * width - 1).toFixed(1), height: h }, svg("title", {}, `${clock(Date.parse(r.timestamp))} ${r.status}, ${plain(r.reason)}`)));
  }
  for (let i = 0; i <= HOURS; i += 1) picture.append(svg("text", { class: "tick", x: (i / HOURS) * width, y: 41, "text-anchor": i === 0 ? "start" : i === HOURS ? "end" : "middle" }, i === HOURS ? "now" : `−${HOURS - i} h`));
  return picture;
}
