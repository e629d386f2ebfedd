// Build the page, and update ages every second.
import * as agents from "./agents.js";
import * as data from "./data.js";
import { byId } from "./dom.js";
import * as events from "./events.js";
import * as host from "./host.js";
import * as needs from "./needs.js";
import * as summary from "./summary.js";
import * as tasks from "./tasks.js";

for (const part of [summary, needs, host, agents, tasks, events]) part.start();

const theme = byId("theme");
try { theme.value = localStorage.getItem("theme") ?? ""; } catch { /* forbidden */ }
theme.addEventListener("change", () => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
  try { localStorage.setItem("theme", theme.value); } catch { /* forbidden: it holds until the page goes */ }
});

function tick() {
  for (const part of [summary, needs, host, agents, tasks]) part.tick();
}

tick();
setInterval(tick, 1000);
data.start();
