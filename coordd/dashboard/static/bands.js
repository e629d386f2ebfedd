// Hold what each agent did over the chosen range: bands from the records, continued by what is heard.
import { key, now, state } from "./data.js";
import { stateOf } from "./words.js";

export const RANGES = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800 };
const STEPS = 120; // as many as the server gives: further changes within a step replace each other
const LEAST = 120; // seconds that a picture shows at least, however young the daemon is
let strips = new Map(), blank = [], first = null, span = RANGES["6h"];
export let gone = []; // agents of the range that are listed no longer

// Return the moments between which bands are drawn, in seconds: of the range, what there is.
export function picture() {
  const until = now() / 1000, begin = until - span;
  return { since: first !== null && first > begin ? Math.min(first, until - LEAST) : begin, until };
}

export const bandsOf = (agent) => strips.get(key(agent)) ?? [];
export const gapsIn = () => blank;

export function take(answer, range) {
  span = RANGES[range];
  strips = new Map(answer.agents.map((one) => [key(one), one.bands]));
  blank = answer.gaps;
  first = blank.length && blank[0][0] <= answer.since ? blank[0][1] : null;
  gone = answer.agents.filter((one) => !state.agents.has(key(one))).map(past);
  for (const agent of state.agents.values()) follow(agent);
}

// Make an agent of what the records tell of one that is not listed.
function past(one) {
  const told = one.bands.filter(([, what]) => what !== null), [at, what] = told[told.length - 1];
  const end = one.bands[one.bands.length - 1];
  return {
    agent_id: one.agent_id, workspace: one.workspace, project: one.project, name: one.name, kind: one.kind, status: "inactive",
    reason: ["killed", "silent"].includes(what) ? what : "ended", inactiveAt: (end[1] === null ? end[0] : at) * 1000, gone: true, sources: [],
    beatAt: null, progressAt: null, activityAt: null,
  };
}

// Note what an agent does now, where that differs from its last band.
export function follow(agent, moment = null) {
  const bands = strips.get(key(agent)), what = stateOf(agent), at = moment ?? now() / 1000;
  if (!bands) { strips.set(key(agent), [[at, what]]); return; }
  const last = bands[bands.length - 1];
  if (last[1] === what) return;
  if (at - last[0] < span / STEPS) {
    last[1] = what;
    if (bands.length > 1 && bands[bands.length - 2][1] === what) bands.pop();
  } else bands.push([at, what]);
  const begin = now() / 1000 - span;
  while (bands.length > 1 && bands[1][0] < begin) bands.shift();
}

export function leave(agent) {
  const bands = strips.get(key(agent));
  if (bands?.length) { bands.push([now() / 1000, null]); gone = [...gone.filter((one) => key(one) !== key(agent)), past({ ...agent, bands })]; }
}

// Return the bands within a picture: [begin, end, what], without those of times in which it was not there.
export function within(bands, { since, until }) {
  const found = [];
  for (let i = 0; i < bands.length; i += 1) {
    const begin = Math.max(bands[i][0], since), end = Math.min(bands[i + 1]?.[0] ?? until, until);
    if (end > begin && bands[i][1] !== null) found.push([begin, end, bands[i][1]]);
  }
  return found;
}
