// Packed contexts of a store: what stands where, what trains nothing, what attention reaches.

import { fromBase64, named, shown } from "./bytes.js";
import { colour } from "./charts.js";
import { ask, byId, count, element, newest, number, option, percent, plural, say } from "./dom.js";
import { attention, tell } from "./model.js";
import { Pieces } from "./pieces.js";

const LENGTHS = [128, 256, 512, 1024];
const MIXTURES = { paper: "the paper's", pieces: "pieces", bytes: "bytes alone", compressed: "compressed alone" };

export function startContexts(state) {
  const body = byId("contexts-body");
  const { stores, models } = state.holdings;
  if (!stores.length) {
    body.append(element("p", { class: "card note" }, "No store is given: start it with one, as in ",
      element("code", { textContent: "proxylm inspect --store views/mine" }), "."));
    return {};
  }
  const shownContext = new ContextPicture(body);
  const asking = newest();
  const store = element("select", { onchange: () => { fillViews(); load(); } }, ...stores.map((one) => option(one.name)));
  const view = element("select", { onchange: () => load() });
  const mixture = element("select", { onchange: () => load() }, ...Object.entries(MIXTURES).map(([name, told]) => option(name, told)));
  mixture.value = "pieces";
  const length = element("select", { onchange: () => load() }, ...LENGTHS.map((one) => option(String(one))));
  length.value = "256";
  const step = element("input", { type: "number", min: 0, max: 999, value: 0, onchange: () => load() });
  const place = element("input", { type: "number", min: 0, max: 15, value: 0, onchange: () => load() });
  const whose = element("select", { onchange: () => load() }, option("", "causal"), ...models.map((one) => option(one.name, `${one.name}: ${attention(one.attention)}`)));
  const eva = models.find((one) => one.attention.kind === "eva");
  if (eva) whose.value = eva.name;
  const labelled = (text, control) => element("label", { class: "inline" }, `${text} `, control);
  body.prepend(element("div", { class: "row" }, labelled("Store", store), labelled("View", view), labelled("Mixture", mixture),
    labelled("Symbols", length), labelled("Step", step), labelled("Context", place), labelled("Attention", whose)));

  function fillViews() {
    const { views } = stores.find((one) => one.name === store.value);
    view.replaceChildren(...views.map((one) => option(one)), ...(views.length ? [] : [option("", "none")]));
    if (!views.length) mixture.value = "bytes";
  }
  function load() {
    asking(async () => {
      try {
        shownContext.show(await ask("context", {
          store: store.value, view: view.value || null, mixture: mixture.value, context: Number(length.value),
          step: Number(step.value), number: Number(place.value), model: whose.value || null,
        }));
      } catch (error) { shownContext.fail(error.message); }
    });
  }
  fillViews();
  // A large store takes its time: it is asked once somebody looks.
  const seen = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) { seen.disconnect(); load(); }
  }, { rootMargin: "200px" });
  seen.observe(body);
  return { recolour() { shownContext.drawMap(); } };
}

class ContextPicture {
  constructor(body) {
    this.pieces = new Pieces({ label: "The context's symbols", onActive: (index) => this.#reach(index) });
    this.facts = element("p", { class: "facts" });
    this.error = element("p", { class: "error", role: "alert", hidden: true });
    this.map = element("canvas", { class: "map", width: 512, height: 512 });
    this.map.setAttribute("role", "img");
    this.caption = element("figcaption");
    this.grid = element("div", { class: "context-grid", hidden: true }, this.pieces.node, element("figure", {}, this.map, this.caption));
    body.append(this.error, element("div", { class: "card" },
      element("div", { class: "row" }, this.facts),
      element("div", { class: "legend" },
        element("span", {}, element("i", { style: { "--swatch": "var(--raw)" } }), "raw"),
        element("span", {}, element("i", { style: { "--swatch": "var(--compressed)" } }), "compressed"),
        element("span", {}, element("i", { style: { "--swatch": "var(--special)" } }), "special"),
        element("span", {}, element("i", { style: { "--swatch": "var(--changed)" } }), "underlined: trains nothing")),
      this.grid));
  }

  fail(message) { say(this.error, message); }

  show(context) {
    say(this.error, null);
    this.context = context;
    this.grid.hidden = false;
    const { statistics, spans } = context;
    const documents = new Set(spans.filter((one) => one.document).map((one) => one.document)).size;
    const rate = statistics.rate_shown === null ? "nothing yet" : percent(statistics.rate_shown);
    this.facts.textContent = `${plural(context.symbols.length, "symbol")} of ${plural(documents, "document")} in ${plural(spans.length, "span")}. In the whole step the compressed rate asked is ${percent(statistics.rate_asked)}, shown ${rate}.`;
    const spanAt = new Map(spans.map((one) => [one.offset, one]));
    let segment = null;
    this.items = context.symbols.map(([kind, name, bytes], index) => {
      const span = spanAt.get(index);
      let before = null;
      if (span && (segment === null || context.segment_ids[index] !== segment)) {
        before = element("span", { class: "document", "aria-hidden": "true", textContent: span.document ? `segment ${context.segment_ids[index]}: ${span.document}` : "padding" });
        segment = context.segment_ids[index];
      }
      const own = bytes === null ? null : fromBase64(bytes);
      const { text, escaped } = own === null ? { text: name } : shown(own);
      const masked = context.masked[index];
      return {
        text, before, kind, symbol: name, own,
        classes: `${{ special: "special", byte: "raw", symbol: "compressed" }[kind]}${escaped ? " escaped" : ""}${masked ? " masked" : ""}`,
        name: `${index}: ${own === null ? name : `${kind} ${named(own)}`}${masked ? ", trains nothing" : ""}`,
      };
    });
    this.pieces.node.classList.remove("reaching");
    this.pieces.render(this.items, `${plural(this.items.length, "symbol")} of a packed context`);
    this.drawMap();
  }

  #reach(index) {
    const { reach, chunk, segment_ids, position_ids, spans } = this.context;
    const [first, chunkStart, chunkStop] = reach[index];
    this.pieces.node.classList.add("reaching");
    this.pieces.spans.forEach((span, place) => {
      span.classList.toggle("reached", place >= first && place <= index);
      span.classList.toggle("summary", chunk !== null && place >= chunkStart * chunk && place < chunkStop * chunk && chunkStop > chunkStart);
    });
    const span = spans.findLast((one) => one.offset <= index);
    const item = this.items[index];
    const sees = `${plural(index - first + 1, "exact key")} from position ${first}` + (chunkStop > chunkStart ? `, summaries of ${plural(chunkStop - chunkStart, "chunk")} of ${chunk} before` : "");
    tell([
      ["Position", `${index}, numbered ${position_ids[index]} in segment ${segment_ids[index]}`],
      ["Symbol", element("span", { class: "code", textContent: item.own === null ? item.symbol : `${item.symbol.startsWith("#") ? `${item.symbol} ` : ""}${named(item.own)}` })],
      ["Document", span.document || "padding"], ["Format", span.format], ["Attends to", sees],
      ["Target", this.context.masked[index] ? "none: trains nothing" : "the next symbol"],
    ]);
    this.drawMap(index);
  }

  // Rows are positions, columns what they attend to: exact keys solid, summaries of chunks faint.
  drawMap(active = null) {
    if (!this.context) return;
    const { reach, chunk, symbols } = this.context;
    const size = this.map.width, cell = size / reach.length;
    const draw = this.map.getContext("2d");
    const tones = { special: colour("soft"), byte: colour("chart-1"), symbol: colour("chart-2") }, faint = colour("chart-4");
    draw.fillStyle = colour("sunk");
    draw.fillRect(0, 0, size, size);
    reach.forEach(([first, chunkStart, chunkStop], row) => {
      draw.globalAlpha = active === null || row === active ? 1 : 0.45;
      const high = row === active ? Math.max(3, cell) : Math.max(1, cell);
      if (chunk !== null && chunkStop > chunkStart) {
        draw.fillStyle = faint;
        draw.globalAlpha *= 0.55;
        draw.fillRect(chunkStart * chunk * cell, row * cell, (chunkStop - chunkStart) * chunk * cell, high);
        draw.globalAlpha /= 0.55;
      }
      draw.fillStyle = tones[symbols[row][0]];
      draw.fillRect(first * cell, row * cell, (row - first + 1) * cell, high);
    });
    draw.globalAlpha = 1;
    const pairs = reach.reduce((sum, [first], row) => sum + row - first + 1, 0);
    const share = pairs / ((reach.length * (reach.length + 1)) / 2);
    this.map.setAttribute("aria-label", `Attention of ${count(reach.length)} positions: ${percent(share)} of all earlier keys are seen exactly.`);
    this.caption.textContent = `Each row is a position, its columns what it attends to: ${percent(share)} of a causal context's pairs are exact${chunk === null ? "" : `, paler ones by summaries of ${chunk} symbols`}. ${number(pairs / reach.length, 1)} exact keys a position.`;
  }
}
