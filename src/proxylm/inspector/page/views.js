// Every compressor's view of the text, what an edit changed in it, and what single deletions move.

import { fromBase64, hexOf, named, shown, toBase64 } from "./bytes.js";
import { lineChart } from "./charts.js";
import { ask, byId, count, element, newest, number, percent, plural, say } from "./dom.js";
import { Pieces } from "./pieces.js";

// Equal symbols have equal hues, near ones far hues: steps of the golden angle.
export const hueOf = (symbol) => (symbol * 137.508) % 360;

const DENSE = 6; // symbols of a span from which on "moved" is told by share

export function startViews(state) {
  const cards = new Map();
  const list = byId("view-list");
  for (const compressor of state.holdings.compressors) {
    const card = new ViewCard(state, compressor, (chosen) => detail(state, cards, chosen));
    cards.set(compressor.name, card);
    list.append(card.node);
  }
  byId("detail-close").addEventListener("click", () => byId("detail").classList.remove("open"));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") byId("detail").classList.remove("open"); });
  const sweep = startSweep(state, cards);
  return {
    async text() {
      sweep.text();
      list.classList.add("busy");
      try {
        const asked = { text: toBase64(state.bytes) };
        if (state.edited) asked.reference = toBase64(state.reference);
        const bytes = state.bytes;
        const { views } = await ask("views", asked);
        const most = Math.max(...views.map((view) => view.bytes_per_symbol ?? 0), 1e-9);
        for (const view of views) cards.get(view.name)?.show(view, bytes, most);
        say(byId("views-error"), null);
      } catch (error) {
        say(byId("views-error"), error.message);
      } finally {
        list.classList.remove("busy");
      }
    },
    recolour() { for (const card of cards.values()) card.drawStrip(); },
  };
}

class ViewCard {
  constructor(state, compressor, onSpan) {
    this.compressor = compressor;
    this.pieces = new Pieces({ label: compressor.name, onActive: (index) => onSpan({ card: this, index }) });
    this.rho = element("span", { class: "rho" });
    this.counted = element("span", { class: "count" });
    this.moved = element("span", { class: "moved" });
    this.meter = element("i");
    this.strip = element("canvas", { class: "strip", height: 24 });
    this.strip.setAttribute("aria-hidden", "true");
    this.error = element("p", { class: "error", hidden: true });
    const kind = compressor.name === compressor.kind || compressor.name === "bytes" ? "" : `${compressor.kind}, `;
    const lossy = compressor.reversible ? "" : ", lossy";
    this.node = element("article", { class: "card view", "aria-label": `View ${compressor.name}` },
      element("div", { class: "title" },
        element("h3", { textContent: compressor.name }), this.rho),
      element("div", { class: "told" },
        element("span", { textContent: `${kind}${plural(compressor.symbol_count, "possible symbol")}${lossy}` }),
        this.counted, this.moved),
      element("div", { class: "meter", "aria-hidden": "true" }, this.meter),
      this.error, this.pieces.node, this.strip);
    new ResizeObserver(() => this.drawStrip()).observe(this.strip);
  }

  show(view, bytes, most) {
    this.view = view;
    say(this.error, view.error);
    this.pieces.node.hidden = this.strip.hidden = Boolean(view.error);
    if (view.error) { this.rho.textContent = this.counted.textContent = this.moved.textContent = ""; return; }
    this.bytes = bytes;
    this.rho.textContent = `ρ ${number(view.bytes_per_symbol)}`;
    this.counted.textContent = plural(view.symbols.length, "symbol");
    this.meter.style.setProperty("--share", (view.bytes_per_symbol ?? 0) / most);
    this.#showMoved(view.change);
    this.pieces.node.classList.toggle("compared", Boolean(view.change));
    this.pieces.render(this.#items(view, bytes), `${this.compressor.name}: ${plural(view.starts.length, "piece")}, ${plural(view.symbols.length, "symbol")}`);
    this.drawStrip();
  }

  #showMoved(change) {
    this.moved.textContent = !change ? "" : change.distance === 0 ? "nothing moved" : `${percent(change.distance)} moved`;
    this.moved.classList.toggle("none", change?.distance === 0);
  }

  #items(view, bytes) {
    let first = 0;
    return view.starts.map((start, index) => {
      const stop = view.starts[index + 1] ?? bytes.length;
      const symbols = view.symbols.slice(first, first + view.counts[index]);
      const kept = view.change?.kept.slice(first, first + view.counts[index]).every(Boolean);
      first += view.counts[index];
      const { text, escaped } = shown(bytes.subarray(start, stop));
      const change = view.change ? (kept ? " kept" : " changed") : "";
      return {
        start, stop, symbols, text,
        name: `${named(bytes.subarray(start, stop))}: ${symbols.length > DENSE ? plural(symbols.length, "symbol") : `symbol ${symbols.join(" ")}`}${change && !kept ? ", changed" : ""}`,
        classes: `hued${escaped ? " escaped" : ""}${change}`,
        style: { "--hue": hueOf(symbols[0] ?? 0) },
      };
    });
  }

  // The sequence of symbols: a cell each, in the colours of the pieces; what was kept is faint.
  drawStrip() {
    if (!this.view?.symbols || this.strip.hidden || !this.strip.clientWidth) return;
    const { symbols, change } = this.view;
    const scale = Math.min(2, devicePixelRatio);
    const width = (this.strip.width = this.strip.clientWidth * scale);
    const context = this.strip.getContext("2d");
    const theme = document.documentElement.dataset.theme;
    const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const cell = Math.min(18 * scale, width / Math.max(1, symbols.length));
    context.clearRect(0, 0, width, 24);
    symbols.forEach((symbol, index) => {
      const faint = change?.kept[index];
      context.fillStyle = faint ? (dark ? "#343b45" : "#dde1e7") : `oklch(${dark ? 62 : 70}% .12 ${hueOf(symbol)})`;
      context.fillRect(index * cell, 0, Math.max(cell > 3 ? cell - 1 : cell, 0.6), 24);
    });
  }
}

const asking = newest();

// What is under the pointer: in its own view, and what covers the same bytes in the others.
function detail(state, cards, { card, index }) {
  const item = card.pieces.items[index];
  const bytes = card.bytes.subarray(item.start, item.stop);
  const many = item.symbols.length > 24;
  const rows = [
    ["Bytes", element("span", { class: "code", textContent: shown(bytes.subarray(0, 160), { breaks: false }).text || " " })],
    ["Hexadecimal", element("span", { class: "code", textContent: hexOf(bytes) })],
    ["Place", `${count(item.start)} to ${count(item.stop)} (${plural(bytes.length, "byte")})`],
    [many ? `${count(item.symbols.length)} symbols` : item.symbols.length === 1 ? "Symbol" : "Symbols", item.symbols.slice(0, 24).join(" ") + (many ? " …" : "")],
  ];
  const body = byId("detail-body");
  const others = element("dl", {}, ...[...cards.values()].filter((one) => one !== card && one.view && !one.view.error).flatMap((one) => {
    const covering = one.pieces.covering(item.start, item.stop);
    const symbols = covering.flatMap((each) => each.symbols);
    const told = symbols.length > 12 ? plural(symbols.length, "symbol") : symbols.join(" ");
    const same = covering.length && covering[0].start === item.start && covering.at(-1).stop === item.stop;
    return [element("dt", { textContent: one.compressor.name }), element("dd", {}, `${told} `, element("span", { class: "facts", textContent: same ? "" : "(reaches further)" }))];
  }));
  const collide = element("div");
  body.replaceChildren(
    element("dl", {}, element("dt", { textContent: "View" }), element("dd", { textContent: card.compressor.name }), ...pairs(rows)),
    collide, element("h3", { textContent: "The same bytes elsewhere" }), others);
  byId("detail").classList.add("open");
  if (card.compressor.kind === "neural") asking(() => showCollisions(card, bytes, collide));
}

export const pairs = (rows) => rows.flatMap(([term, told]) => [element("dt", { textContent: term }), element("dd", {}, told)]);

async function showCollisions(card, bytes, place) {
  try {
    const { windows } = await ask("collisions", { compressor: card.compressor.name, segment: toBase64(bytes) });
    if (windows === null) {
      place.replaceChildren(element("p", { class: "facts", textContent: "This compressor's windows are not enumerated, so the strings behind a symbol are not known." }));
      return;
    }
    place.replaceChildren(...windows.flatMap((one) => window(one)));
  } catch (error) {
    place.replaceChildren(element("p", { class: "error", textContent: error.message }));
  }
}

// A window's strings: all that are written alike cannot be told apart.
function window(one) {
  const own = fromBase64(one.string);
  const alike = one.count === 1
    ? "No other string is written so."
    : `${plural(one.count, "string")} are written so, alike in ${percent(one.lcp_ratio)} of their length:`;
  return [
    element("h3", {}, "Window ", element("span", { class: "code", textContent: named(own) }), ` → ${one.symbols.join(" ")}`),
    element("p", { class: "facts", textContent: alike }),
    one.count > 1 ? strings(one.strings, one.count, own) : null,
    ...one.behind.flatMap((behind) => [
      element("p", { class: "facts", textContent: `Symbol ${behind.symbol} stands in the codes of ${plural(behind.count, "string")}:` }),
      strings(behind.strings, behind.count, own),
    ]),
  ].filter(Boolean);
}

function strings(listed, total, own) {
  const items = listed.map((one) => {
    const bytes = fromBase64(one);
    return element("li", { class: named(bytes) === named(own) ? "own" : null, textContent: named(bytes) });
  });
  if (total > listed.length) items.push(element("li", { class: "more", textContent: `and ${count(total - listed.length)} more` }));
  return element("ul", { class: "strings" }, ...items);
}

// Each character deleted once: how far every view moves, along the text.
function startSweep(state, cards) {
  const button = byId("sweep"), told = byId("sweep-facts"), chart = byId("sweep-chart");
  const run = async () => {
    button.disabled = true;
    told.textContent = "deleting …";
    try {
      const { starts, curves } = await ask("deletions", { text: toBase64(state.bytes), place: Math.min(state.cursor, state.bytes.length) });
      const bytes = state.bytes;
      say(byId("sweep-error"), null);
      const first = starts[0], last = starts.at(-1);
      told.textContent = `${plural(starts.length, "character")}, bytes ${count(first)} to ${count(last)}`;
      const means = curves.map(({ name, distances }) => {
        const known = distances.filter((one) => one !== null);
        return { name, mean: known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : null };
      });
      lineChart(chart, {
        x: starts, xLabel: "byte of the deleted character", yLabel: "symbols moved",
        about: `Share of symbols that move when one character is deleted. Means: ${means.map(({ name, mean }) => `${name} ${mean === null ? "none" : percent(mean)}`).join(", ")}.`,
        lines: curves.map(({ name, distances }, index) => ({ label: `${name} (mean ${means[index].mean === null ? "none" : percent(means[index].mean)})`, values: distances, stepped: true })),
        format: percent, axisFormat: (share) => `${Math.round(100 * share)} %`,
        onPoint: (index) => { for (const card of cards.values()) card.pieces.alsoAt(starts[index], starts[index + 1] ?? bytes.length); },
      });
    } catch (error) {
      say(byId("sweep-error"), error.message);
      told.textContent = "";
      chart.hidden = true;
    } finally {
      button.disabled = false;
    }
  };
  button.addEventListener("click", run);
  return { text() { if (!chart.hidden) told.textContent = "The text has changed since: delete again."; } };
}
