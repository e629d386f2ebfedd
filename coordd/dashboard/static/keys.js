// Keys: to the filter, from agent to agent, to the next who needs somebody, and what keys there are.
import { go, ofAgent } from "./address.js";
import { key } from "./data.js";
import { byId } from "./dom.js";
import * as list from "./list.js";
import * as pane from "./pane.js";

let last = null;

function move(step) {
  const from = document.activeElement?.closest?.(".row")?.key ?? pane.openKey() ?? last, next = list.beside(from, step);
  if (!next) return;
  last = key(next);
  if (pane.isOpen()) go(ofAgent(next), { replace: true });
  list.focus(last);
}

function need() {
  const links = [...document.querySelectorAll("#needs .subject")], at = links.indexOf(document.activeElement);
  links[(at + 1) % links.length]?.focus();
}

const KEYS = {
  "/": () => { byId("find").focus(); byId("find").select(); },
  j: () => move(1),
  k: () => move(-1),
  n: need,
  "?": () => byId("help").showModal(),
};

export function start() {
  byId("keys").addEventListener("click", () => byId("help").showModal());
  byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("agents").focus(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    const typing = event.target.closest?.("input:not([type=radio], [type=checkbox]), select, textarea");
    if (event.key === "Escape") {
      if (typing) event.target.blur(); else pane.close();
      return;
    }
    const act = typing ? null : KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
