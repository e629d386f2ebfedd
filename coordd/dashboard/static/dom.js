// Make elements without HTML, so that text stays text.
const SVG = "http://www.w3.org/2000/svg";

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(tag, attrs = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attrs)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function icon(name) {
  return svg("svg", { class: "i", "aria-hidden": "true", viewBox: "0 0 10 10" }, svg("use", { href: `#i-${name}` }));
}

// Set text only if it differs, which makes a thousand unchanged writes cheap.
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export function attr(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export const byId = (id) => document.getElementById(id);

// Make a group of radio buttons that look like chips; returns a function that renames or hides one.
export function chips(fieldset, name, options, chosen, onChange, icons = {}) {
  const labels = {};
  for (const [value, label] of options) {
    const input = el("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onChange(value) });
    labels[value] = el("span", {}, label);
    fieldset.append(el("label", { class: "chip", "data-state": icons[value] ? value : null }, input, el("span", {}, icons[value] ? icon(icons[value]) : null, labels[value])));
  }
  return (value, label, hidden = false) => { text(labels[value], label); labels[value].closest("label").hidden = hidden; };
}
