// Build the page, and update ages every second.
import * as address from "./address.js";
import * as data from "./data.js";
import * as events from "./events.js";
import * as keys from "./keys.js";
import * as list from "./list.js";
import * as needs from "./needs.js";
import * as pane from "./pane.js";
import * as tasks from "./tasks.js";
import * as top from "./top.js";

for (const part of [address, tasks, list, top, needs, events, pane, keys]) part.start();

function tick() {
  if (!document.hidden) for (const part of [top, needs, list, tasks, pane]) part.tick();
}

tick();
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
data.start();
