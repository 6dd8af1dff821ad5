// A text in pieces that can be pointed at, or walked through by keyboard: one stop of Tab, then the
// arrow keys, Home and End. To a screen reader it is a list box.

import { element } from "./dom.js";

let made = 0;
const all = new Set();

export class Pieces {
  // `label` names the list; `onActive(index)` is told what is pointed at, `onPick(index)` what is chosen.
  constructor({ label, onActive, onPick, className = "" }) {
    this.id = `pieces-${++made}`;
    this.node = element("div", {
      class: `pieces ${className}`, tabIndex: 0, role: "listbox", "aria-label": label,
      onkeydown: (event) => this.#key(event),
      onfocus: () => { if (this.items.length) this.activate(this.active ?? 0); },
      onpointerover: (event) => this.#at(event, (index) => this.activate(index)),
      onclick: (event) => this.#at(event, (index) => { this.activate(index); this.onPick?.(index); }),
    });
    this.onActive = onActive;
    this.onPick = onPick;
    this.items = [];
    this.spans = [];
    this.active = null;
    all.add(this);
  }

  // Items: text, name (for screen readers), classes, style, start and stop (bytes), before (an element).
  render(items, label) {
    this.items = items;
    this.active = null;
    this.node.removeAttribute("aria-activedescendant");
    if (label) this.node.setAttribute("aria-label", label);
    const nodes = [];
    this.spans = items.map((item, index) => {
      const span = element("span", {
        id: `${this.id}-${index}`, role: "option", class: item.classes, style: item.style,
        textContent: item.text, "aria-label": item.name, "aria-selected": "false",
      });
      span.dataset.index = index;
      if (item.before) nodes.push(item.before);
      nodes.push(span);
      return span;
    });
    this.node.replaceChildren(...nodes);
  }

  activate(index) {
    if (index === this.active) return;
    this.#mark(this.active, false);
    this.active = index;
    this.#mark(index, true);
    if (index === null) { this.node.removeAttribute("aria-activedescendant"); return; }
    this.node.setAttribute("aria-activedescendant", this.spans[index].id);
    const { start, stop } = this.items[index];
    if (start !== undefined) for (const other of all) if (other !== this) other.alsoAt(start, stop);
    this.onActive?.(index);
  }

  // Marks what covers the same bytes; pieces that are out of the page are forgotten.
  alsoAt(start, stop) {
    if (!this.node.isConnected) { all.delete(this); return; }
    this.#mark(this.active, false);
    this.active = null;
    this.spans.forEach((span, index) => {
      const item = this.items[index];
      span.classList.toggle("also", item.start !== undefined && item.start < stop && item.stop > start);
    });
  }

  covering(start, stop) {
    return this.items.filter((item) => item.start !== undefined && item.start < stop && item.stop > start);
  }

  #mark(index, is) {
    if (index === null || !this.spans[index]) return;
    this.spans[index].classList.toggle("active", is);
    this.spans[index].setAttribute("aria-selected", String(is));
    if (is) for (const span of this.node.querySelectorAll(".also")) span.classList.remove("also");
  }

  #at(event, then) {
    const span = event.target.closest("[data-index]");
    if (span) then(Number(span.dataset.index));
  }

  #key(event) {
    const last = this.items.length - 1;
    const at = this.active ?? 0;
    const target = {
      ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: last,
      ArrowDown: this.#vertical(at, 1), ArrowUp: this.#vertical(at, -1),
    }[event.key];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (this.active !== null) this.onPick?.(this.active);
    }
    if (target === undefined || last < 0) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(last, target));
    this.activate(index);
    this.spans[index].scrollIntoView({ block: "nearest" });
  }

  // The piece above or below, by where it is drawn.
  #vertical(at, direction) {
    const from = this.spans[at]?.getClientRects()[0];
    if (!from) return at;
    let best = at, distance = Infinity;
    for (let index = at + direction; index >= 0 && index < this.spans.length; index += direction) {
      const rect = this.spans[index].getClientRects()[0];
      if (!rect || Math.abs(rect.top - from.top) < 4) continue;
      const rows = Math.abs(rect.top - from.top);
      if (rows > 60 && best !== at) break;
      const score = rows * 1000 + Math.abs(rect.left - from.left);
      if (score < distance) { distance = score; best = index; }
      if (rows > 60) break;
    }
    return best;
  }
}
