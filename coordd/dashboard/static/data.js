// Hold the page's data: one event stream, and questions to the API for whole documents.
// Moments are by the server's clock, continued by the monotonic one, so a wrong local clock changes no age.
import { RANGES, follow, leave, take as takeBands } from "./bands.js";
import { needOf, stateOf } from "./words.js";

const SILENCE = 12; // seconds without a word on the stream, which pings each 5, after which it counts as lost
const EVENTS = 500;
const MOST_EARLY = 20000; // records that wait for the list of agents

export const state = {
  status: null, statusAt: null, agents: new Map(), agentsKnown: false, tasks: null, unknownTasks: [], tasksAt: null,
  events: [], eventsKnown: false, link: null, live: false, lostAt: null, old: false, series: null, charts: false, range: "6h", chosen: false, seriesError: null,
};
const listeners = new Map();
let base = Date.now() - performance.now();
let source = null, heardAt = performance.now(), pending = null, listing = false, early = [], connections = null, seriesTimer = 0, tasksTimer = 0;

export const now = () => base + performance.now();
export const moment = (timestamp) => (timestamp ? Date.parse(timestamp) : null);
export const since = (ms) => (ms === null || ms === undefined || Number.isNaN(ms) ? null : (now() - ms) / 1000);
export const waiting = () => (state.link && !state.link.up ? "Unknown for as long as coordd is not running." : "…");
export const key = (agent) => `${agent.workspace ?? ""}\u0000${agent.agent_id}`;

export function on(topic, listener) {
  if (!listeners.has(topic)) listeners.set(topic, []);
  listeners.get(topic).push(listener);
}

function tell(...topics) {
  for (const topic of topics) for (const listener of listeners.get(topic) ?? []) listener();
}

// Ask the API; return body and status, or null without an answer.
export async function ask(path) {
  try {
    const answer = await fetch(path, { signal: AbortSignal.timeout(20000) });
    if (answer.status === 401) { location.assign("login"); return null; }
    return { ok: answer.ok, status: answer.status, body: await answer.json() };
  } catch { return null; }
}

function takeStatus(status, age = 0) {
  if (age === 0) base = moment(status.timestamp) - performance.now();
  state.status = status;
  state.statusAt = moment(status.timestamp);
  tell("status");
}

function takeAgent(record) {
  const id = key(record), known = state.agents.get(id);
  if (record.cause === "removed") {
    state.agents.delete(id);
    if (known) leave(known);
    return;
  }
  if (known && known.timestamp > record.timestamp) return;
  state.agents.set(id, prepared(record, known));
  follow(record);
}

// Add the moments from which ages are counted, parsed once. A record does not say since when an agent is
// inactive: the first one that shows it so was written then.
export function prepared(agent, known = null) {
  agent.beatAt = moment(agent.last_heartbeat);
  if (agent.last_heartbeat_age !== undefined && agent.last_heartbeat_age !== null) agent.beatAt = moment(agent.timestamp) - agent.last_heartbeat_age * 1000;
  agent.progressAt = moment(agent.last_progress);
  agent.activityAt = moment(agent.activity_since);
  agent.inactiveAt = moment(agent.inactive_since);
  if (agent.inactive_since === undefined && agent.status === "inactive") agent.inactiveAt = known?.status === "inactive" ? known.inactiveAt : moment(agent.timestamp);
  agent.state = stateOf(agent);
  agent.need = needOf(agent);
  return agent;
}

function takeAgents(list) {
  state.agents = new Map(list.map((agent) => [key(agent), prepared(agent)]));
  state.agentsKnown = true;
  early.forEach(takeAgent);
  early = [];
}

function takeEvents(records) {
  const seen = new Set(state.events.map((e) => `${e.timestamp}|${e.kind}|${e.subject}`));
  const fresh = records.filter((e) => !seen.has(`${e.timestamp}|${e.kind}|${e.subject}`));
  if (!fresh.length) return;
  state.events = [...state.events, ...fresh].sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0)).slice(-EVENTS);
  tell("events");
}

// Load everything: at the start, and whenever something may have been missed. What is there first is shown first.
async function loadAll() {
  pending ??= Promise.all([loadStatus(), loadAgents(), loadEvents(), loadTasks()]).then(() => { pending = null; loadSeries(); });
  return pending;
}

async function loadStatus() {
  const answer = await ask("api/status"), doc = answer?.ok ? answer.body : answer?.body.snapshot;
  if (doc?.timestamp) takeStatus(doc, answer.ok ? 0 : answer.body.snapshot_age ?? 1);
}

async function loadAgents() {
  listing = true;
  const answer = await ask("api/agents/active");
  listing = false;
  const list = answer?.ok ? answer.body : answer?.body.snapshot;
  if (Array.isArray(list)) takeAgents(list);
  tell("agents");
}

async function loadEvents() {
  const answer = await ask("api/events/recent?limit=200");
  if (!answer?.ok) return;
  state.eventsKnown = true;
  takeEvents(answer.body.records);
  tell("events");
}

async function loadTasks() {
  const answer = await ask("api/tasks");
  if (!answer?.ok) return;
  state.tasks = answer.body.tasks;
  state.unknownTasks = answer.body.unknown;
  state.tasksAt = moment(answer.body.timestamp);
  tell("tasks");
}

// Load what agents did, and the host's numbers where they are looked at.
async function loadSeries() {
  await Promise.all([loadBands(), loadHost()]);
}

async function loadBands() {
  const range = state.range;
  const answer = await ask(`api/metrics/agent/series?range=${range}`);
  if (range !== state.range) return;
  if (answer?.ok) {
    takeBands(answer.body, range);
    fitRange(answer.body);
  }
  state.seriesError = answer?.ok ? null : answer?.body.error?.message ?? "no answer";
  tell("agents", "bands");
}

async function loadHost() {
  const range = state.range;
  if (!state.charts) return;
  const answer = await ask(`api/metrics/system/series?range=${range}`);
  if (range !== state.range || !answer?.ok) return;
  state.series = answer.body;
  tell("series");
}

export function showCharts(shown) {
  if (shown === state.charts) return;
  state.charts = shown;
  loadHost();
}

// A daemon that has just started has minutes to show, not hours: the range follows until somebody chooses one.
function fitRange({ since: begin, until, gaps }) {
  if (state.chosen) return;
  const age = until - (gaps.length && gaps[0][0] <= begin ? gaps[0][1] : begin);
  const fitting = age < 900 ? "15m" : age < 3600 ? "1h" : "6h";
  if (fitting !== state.range) { state.range = fitting; tell("range"); loadSeries(); }
}

export function setRange(range) {
  if (range === state.range && state.chosen) return;
  state.chosen = Object.hasOwn(RANGES, range);
  if (state.chosen) state.range = range;
  tell("range");
  loadSeries();
}

// Run a function at most once in so many seconds, however often it is called.
function soon(timer, seconds, load) {
  return timer || setTimeout(() => { load(); }, seconds * 1000);
}

function lost() {
  if (state.live || state.lostAt === null) { state.live = false; state.lostAt = now(); tell("link"); }
}

function heard() {
  heardAt = performance.now();
  if (!state.live) { state.live = true; state.lostAt = null; tell("link"); }
}

function connect() {
  source?.close();
  source = new EventSource("api/events");
  const take = (topic, handle) => source.addEventListener(topic, (event) => { heard(); handle(JSON.parse(event.data)); });
  take("ping", () => {});
  take("hello", (hello) => { if (!hello.resumed || !state.agentsKnown) loadAll(); });
  take("lagged", loadAll);
  take("link", (link) => {
    const was = state.link;
    state.link = link;
    if (link.up && (was?.up === false || (connections !== null && connections !== link.connections))) loadAll();
    if (link.up) connections = link.connections;
    tell("link");
  });
  take("status", (status) => takeStatus(status));
  take("tasks", () => { tasksTimer = soon(tasksTimer, 0.5, () => { tasksTimer = 0; loadTasks(); }); });
  take("system", () => { seriesTimer = soon(seriesTimer, 3, () => { seriesTimer = 0; loadHost(); }); });
  take("event", (event) => {
    if (event.kind === "dashboard.lagged") loadAll();
    takeEvents([event]);
  });
  take("agent", (agent) => {
    if (!state.agentsKnown || listing) { if (early.length < MOST_EARLY) early.push(agent); } else { takeAgent(agent); tell("agents"); }
  });
  source.addEventListener("error", () => {
    lost();
    // refused: the browser gives up, so try again here; a question to the API tells whether to log in
    if (source.readyState === EventSource.CLOSED) setTimeout(() => { ask("api/status"); connect(); }, 2000);
  });
}

export function start() {
  connect();
  loadAll();
  setInterval(() => {
    if (performance.now() - heardAt > SILENCE * 1000) { heardAt = performance.now(); lost(); connect(); }
  }, 1000);
  setInterval(loadAll, 300000); // what nobody told: agents that were forgotten, a clock that was set
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !state.live) connect(); });
}
