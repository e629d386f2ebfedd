// A command to type, with a button that copies it.
import { attr, el, text } from "./dom.js";

export function make() {
  const code = el("code"), button = el("button", { type: "button", class: "copy" }, "Copy");
  const node = el("span", { class: "command" }, code, button);
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(node.raw); } catch {
      // without a secure context there is no clipboard: select it, and the user's own keys copy
      getSelection().selectAllChildren(code);
      return;
    }
    text(button, "Copied");
    setTimeout(() => text(button, "Copy"), 1500);
  });
  return Object.assign(node, { raw: "", code, button });
}

export function fill(node, command, escaped) {
  node.hidden = !command;
  node.raw = escaped;
  text(node.code, escaped);
  attr(node.button, "aria-label", `Copy ${escaped}`);
}
