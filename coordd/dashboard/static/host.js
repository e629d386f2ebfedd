// Show the host's charts, while somebody looks at them, with their present values.
import { Chart } from "./chart.js";
import { moment, on, since, state } from "./data.js";
import { byId, text } from "./dom.js";
import { age, bytes, count, fixed, percent, rate } from "./format.js";

const one = (value) => fixed(value, 2);
const short = (value) => (value >= 100 ? count(value) : String(Math.round(value * 100) / 100));
const size = (value) => (value ? bytes(value).replace(".0 ", " ").replace("iB", "") : "0");
// In a container its limits count, not the machine's.
const cpu = (s) => (s.cgroup?.cpu_max != null ? s.cgroup.cpu_percent : s.cpu_percent);
const cpus = (s) => (s.cgroup?.cpu_max != null ? ` of ${one(s.cgroup.cpu_max)} CPUs` : "");
const memory = (s) => {
  if (s.cgroup?.memory_max == null) return [percent(usage(s, "memory").percent), bytes(usage(s, "memory").used)];
  return [`${percent(s.cgroup.memory_percent)} of ${bytes(s.cgroup.memory_max)} in this container`, bytes(s.cgroup.memory_used)];
};
const usage = (system, name) => system[`${name}_usage`] ?? {};

const CHARTS = [
  { title: "Agents", unit: "number", format: count, least: 3,
    lines: [{ key: "active", label: "active" }, { key: "inactive", label: "inactive" }, { key: "unknown", label: "unknown" }],
    now: (_, status) => ["", [status.agents.active, status.agents.inactive, status.agents.unknown].map(count)] },
  { title: "CPU", unit: "%", format: percent, short: (v) => `${v}%`, top: 100, lines: [{ key: "cpu", label: "CPU" }],
    now: (s) => [`${percent(cpu(s))}${cpus(s)}`, []] },
  { title: "Memory", unit: "%", format: percent, short: (v) => `${v}%`, top: 100, lines: [{ key: "memory", label: "memory" }, { key: "swap", label: "swap" }],
    now: (s) => [memory(s)[0], [memory(s)[1], bytes(usage(s, "swap").used)]] },
  { title: "Load", unit: "processes", format: one, short, mark: (status) => status?.system?.cpu_count ?? null, lines: [{ key: "load1", label: "1m" }, { key: "load5", label: "5m" }, { key: "load15", label: "15m" }],
    now: (s) => [`${count(s.cpu_count)} CPUs`, [0, 1, 2].map((i) => one(s.load_average?.[i]))] },
  { title: "Disk /", unit: "%", format: percent, short: (v) => `${v}%`, top: 100, lines: [{ key: "disk", label: "used" }],
    now: (s) => [`${percent(usage(s, "disk").percent)}, ${bytes(usage(s, "disk").free)} free`, []] },
  { title: "Disk I/O", unit: "bytes a second", format: rate, short: size, binary: true, least: 1024, lines: [{ key: "read", label: "read" }, { key: "write", label: "write" }],
    now: (s) => ["", [rate(s.disk_io?.read), rate(s.disk_io?.write)]] },
  { title: "Network", unit: "bytes a second", format: rate, short: size, binary: true, least: 1024, lines: [{ key: "received", label: "in" }, { key: "sent", label: "out" }],
    now: (s) => ["", [rate(s.network_io?.received), rate(s.network_io?.sent)]] },
  { title: "coordd itself", unit: "bytes", format: bytes, short: size, binary: true, least: 1 << 20, lines: [{ key: "own_rss", label: "memory" }],
    now: (s) => [`${bytes(s.self?.rss)}, ${fixed(s.self?.cpu_percent, 2)} % CPU`, []] },
];

export function start() {
  const charts = CHARTS.map((definition) => [new Chart(byId("charts"), definition), definition]);
  const values = () => {
    const system = state.status?.system;
    if (!system) return;
    for (const [chart, definition] of charts) chart.now(...definition.now(system, state.status));
    const seconds = since(moment(system.timestamp));
    text(byId("sampled"), seconds === null ? "not sampled yet" : `sampled ${age(seconds)} ago`);
  };
  const draw = () => { if (state.series) for (const [chart] of charts) chart.set(state.series, state.status); };
  on("status", values);
  on("series", draw);
  values();
  draw();
}
