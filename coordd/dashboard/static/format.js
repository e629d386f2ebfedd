// Format numbers as coordctl does; an unknown one is a dash, never 0.
export const DASH = "–";
const known = (value) => typeof value === "number" && Number.isFinite(value);
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function fixed(value, digits) {
  return known(value) ? value.toFixed(digits) : DASH;
}

export const count = (value) => (known(value) ? Math.round(value).toLocaleString("en") : DASH);
export const percent = (value) => (known(value) ? `${value.toFixed(value < 9.95 ? 1 : 0)} %` : DASH);

export function bytes(value) {
  if (!known(value)) return DASH;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < 4) { value /= 1024; unit += 1; }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

export const rate = (value) => (known(value) ? `${bytes(value)}/s` : DASH);

// Return how long ago: in the largest unit of which there are two.
export function age(seconds) {
  if (!known(seconds)) return DASH;
  const s = Math.max(0, seconds);
  if (s < 120) return `${Math.floor(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

export const ago = (seconds) => (known(seconds) ? `${age(seconds)} ago` : DASH);

// Return how long: in the two largest units.
export function duration(seconds) {
  if (!known(seconds)) return DASH;
  let rest = Math.floor(Math.max(0, seconds));
  const parts = [];
  for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const whole = Math.floor(rest / length);
    rest -= whole * length;
    if (whole || parts.length) parts.push([whole, unit]);
  }
  return parts.slice(0, 2).filter(([whole]) => whole).map(([whole, unit]) => `${whole} ${unit}`).join(" ") || "0 s";
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
function escaped(c) {
  const code = c.codePointAt(0), hex = (digits) => code.toString(16).padStart(digits, "0");
  return SHORT[c] ?? (code < 0x100 ? `\\x${hex(2)}` : code < 0x10000 ? `\\u${hex(4)}` : `\\U${hex(8)}`);
}

// Escape what is not printable: an id must not reverse the line. It is written as coordctl writes it, which takes it so.
export function plain(value) {
  return String(value ?? DASH).replace(/[\p{C}\p{Z}]/gu, (c) => (c === " " ? c : escaped(c)));
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const EXACT = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
export const clock = (ms) => CLOCK.format(ms);
export const exact = (ms) => EXACT.format(ms);
export const day = (ms) => DAY.format(ms);
export const moment = (ms) => `${day(ms)}, ${exact(ms)}`;
