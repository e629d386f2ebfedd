// A long list in the page's own scrolling: elements for what is in sight only, each at its place, in the order of reading.
import { attr } from "./dom.js";

const MORE = 400; // pixels beyond the edges

export class Rows {
  // kinds: {kind: {make(), fill(node, item), height}}; an item is {kind, id, …}.
  constructor(parent, kinds) {
    Object.assign(this, { parent, kinds, items: [], tops: [0], nodes: new Map(), drawing: 0 });
    addEventListener("scroll", () => this.soon(), { passive: true });
    addEventListener("resize", () => this.soon());
  }

  set(items) {
    this.items = items;
    this.places = new Map();
    let top = 0;
    this.tops = items.map((item, i) => { const at = top; top += this.kinds[item.kind].height; this.places.set(item.id, i); return at; });
    this.tops.push(top);
    this.parent.style.height = `${top}px`;
    this.draw();
  }

  soon() {
    this.drawing ||= requestAnimationFrame(() => { this.drawing = 0; this.draw(); });
  }

  draw() {
    const begin = -this.parent.getBoundingClientRect().top;
    let i = this.index(begin - MORE), before = null;
    const end = begin + innerHeight + MORE, focused = document.activeElement, kept = new Set();
    const inside = focused && this.parent.contains(focused);
    for (; i < this.items.length && this.tops[i] < end; i += 1) {
      const item = this.items[i], kind = this.kinds[item.kind];
      let node = this.nodes.get(item.id);
      if (!node) { node = kind.make(); this.nodes.set(item.id, node); }
      kept.add(item.id);
      if (node.top !== this.tops[i]) { node.top = this.tops[i]; node.style.transform = `translateY(${node.top}px)`; }
      attr(node, "aria-rowindex", String(i + 2));
      kind.fill(node, item);
      const next = before ? before.nextSibling : this.parent.firstChild;
      if (next !== node) this.parent.insertBefore(node, next);
      before = node;
    }
    for (const [id, node] of this.nodes) if (!kept.has(id) && !(this.places.has(id) && node.contains(focused))) { node.remove(); this.nodes.delete(id); }
    if (inside && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
  }

  // Return the place of the last item that begins at or above so many pixels.
  index(pixels) {
    let low = 0, high = this.items.length;
    while (low < high) { const middle = (low + high) >> 1; if (this.tops[middle + 1] <= pixels) low = middle + 1; else high = middle; }
    return low;
  }

  // Scroll so that an item is in sight; return its element.
  reveal(id) {
    const place = this.places?.get(id);
    if (place === undefined) return null;
    const top = this.parent.getBoundingClientRect().top + this.tops[place], height = this.kinds[this.items[place].kind].height;
    if (top < 60 || top + height > innerHeight - 8) scrollBy(0, top < 60 ? top - 120 : top + height - innerHeight + 80);
    this.draw();
    return this.nodes.get(id) ?? null;
  }
}
