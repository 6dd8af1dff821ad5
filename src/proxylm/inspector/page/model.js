// A model's side: what it reads of the text, its surprisal, what comes next at the cursor, how it goes
// on, and what it drafts. Each way of reading has a column.

import { fromBase64, named, shown, toBase64 } from "./bytes.js";
import { lineChart } from "./charts.js";
import { ask, byId, count, element, newest, number, option, percent, plural, say } from "./dom.js";
import { Pieces } from "./pieces.js";
import { pairs } from "./views.js";

const HOTTEST = 8; // bits at which the colour ends: a byte that is a guess among all
const WRITTEN_BYTES = 64;
const ABOUT = {
  bytes: "one symbol per byte",
  tokens: "its compressor's symbols",
  mixed: "symbols, then the last bytes",
};

export function startModel(state, { setCursor }) {
  const body = byId("model-body");
  const { models } = state.holdings;
  if (!models.length) {
    body.append(element("p", { class: "card note" }, "No model is given: start it with a run, as in ",
      element("code", { textContent: "proxylm inspect runs/mine" }), "."));
    return {};
  }
  let panel = null;
  const choose = element("select", { id: "model-choice", onchange: () => open(models.find((one) => one.name === choose.value)) },
    ...models.map((one) => option(one.name)));
  const place = element("div", { class: "stack" });
  body.append(element("div", { class: "row" }, element("label", { class: "inline", for: "model-choice" }, "Model ", choose), element("p", { class: "facts", id: "model-facts" })), place);
  const asking = newest();
  let isSeen = false, isStale = false;
  // Of two waiting questions the last is asked: a new cursor must not make the new text forgotten.
  const update = () => {
    if (isSeen) asking(async () => {
      const whole = isStale;
      isStale = false;
      await (whole ? panel.text() : panel.cursor());
    });
  };
  const refresh = () => { isStale = true; update(); };
  function open(model) {
    byId("model-facts").textContent = `${count(model.parameters)} parameters, contexts of ${count(model.context)}, ${attention(model.attention)}, ${plural(model.heads, "head")}`;
    panel = new Panel(state, model, setCursor);
    place.replaceChildren(panel.node);
    refresh();
  }
  // A large model takes seconds: it is asked once somebody looks.
  new IntersectionObserver((entries) => {
    if (!isSeen && entries.some((entry) => entry.isIntersecting)) { isSeen = true; refresh(); }
  }, { rootMargin: "200px" }).observe(body);
  open(models[0]);
  return {
    text() { refresh(); },
    cursor: update,
  };
}

export function attention(kind) {
  return kind.kind === "eva" ? `EVA windows of ${kind.window}, chunks of ${kind.chunk}` : "causal attention";
}

class Panel {
  constructor(state, model, setCursor) {
    this.state = state;
    this.model = model;
    this.columns = model.readings.map((name) => new Reading(this, name, setCursor));
    this.error = element("p", { class: "error", role: "alert", hidden: true });
    const absent = Object.entries(model.cannot).map(([name, why]) => element("p", { class: "note", textContent: `Not ${name}: ${why}` }));
    if (model.saw_pieces === false && model.readings.includes("mixed")) {
      absent.push(element("p", { class: "note", textContent: "This run's documents were not cut into pieces: read mixed, it may write the same text again." }));
    }
    this.chart = element("div", { class: "chart", hidden: true });
    this.chartKind = element("select", { onchange: () => this.draw() }, option("each", "of each byte"), option("sum", "so far"));
    this.write = element("button", { type: "button", class: "primary", textContent: `Write ${WRITTEN_BYTES} bytes at the cursor`, onclick: () => this.#write() });
    this.node = element("div", { class: "stack" },
      this.error,
      element("div", { class: "row" }, this.write,
        element("div", { class: "legend" },
          element("span", {}, element("i", { style: { "--swatch": "var(--raw)" } }), "bytes"),
          element("span", {}, element("i", { style: { "--swatch": "var(--compressed)" } }), "compressed symbols"),
          element("span", {}, element("i", { style: { "--swatch": "var(--special)" } }), "special symbols"),
          element("span", {}, element("b", { class: "true", textContent: "green" }), ": what the text goes on with"),
          element("span", {}, "surprisal 0 ", element("i", { class: "scale" }), `${HOTTEST} bits per byte or more`))),
      element("div", { class: "readings" }, ...this.columns.map((one) => one.node)),
      ...absent,
      element("div", { class: "card" },
        element("div", { class: "row" }, element("h3", { textContent: "Surprisal along the text" }), element("label", { class: "inline" }, "Bits ", this.chartKind)),
        this.chart),
      new Drafts(this).node);
  }

  async text() {
    this.node.classList.add("busy");
    try {
      await Promise.all(this.columns.map((one) => one.text()));
      this.draw();
      await this.cursor();
    } finally {
      this.node.classList.remove("busy");
    }
  }

  async cursor() { await Promise.all(this.columns.map((one) => one.cursor())); }

  asked(reading, text) { return { model: this.model.name, read_as: reading, text: toBase64(text) }; }

  get before() { return this.state.bytes.subarray(0, this.state.cursor); }

  async #write() {
    this.write.disabled = true;
    try { await Promise.all(this.columns.map((one) => one.write())); } finally { this.write.disabled = false; }
  }

  // A symbol's bits stand for all of its bytes: each is drawn with its part.
  draw() {
    const known = this.columns.filter((one) => one.bits);
    if (!known.length || !this.state.bytes.length) { this.chart.hidden = true; return; }
    const length = Math.max(...known.map((one) => one.perByte.length));
    const total = this.chartKind.value === "sum";
    const lines = known.map((one) => {
      let sum = 0;
      return { label: `as ${one.name}`, stepped: !total, values: one.perByte.map((bits) => (total ? (sum += bits) : bits)) };
    });
    lineChart(this.chart, {
      x: Array.from({ length }, (_, place) => place), lines, xLabel: "byte of the text", yLabel: total ? "bits so far" : "bits",
      about: `Surprisal along the text. ${known.map((one) => `As ${one.name}: ${number(one.bitsPerByte)} bits per byte`).join(". ")}.`,
      format: (bits) => number(bits),
      onPoint: (index) => { for (const one of known) one.heat.alsoAt(index, index + 1); },
    });
  }
}

class Reading {
  constructor(panel, name, setCursor) {
    this.panel = panel;
    this.name = name;
    this.heat = new Pieces({
      label: `Surprisal, read as ${name}`,
      onActive: (index) => this.#tell(index),
      onPick: (index) => setCursor(this.heat.items[index].start),
    });
    this.read = new Pieces({ label: `What is read as ${name}`, className: "read", onActive: (index) => this.#tellRead(index) });
    this.bitsTold = element("span", { class: "bits" });
    this.readTold = element("h4");
    this.nextTold = element("h4");
    this.next = element("table", { class: "bars" });
    this.written = element("div", { class: "pieces", tabIndex: 0, role: "region", "aria-label": `Written, read as ${name}`, hidden: true });
    this.error = element("p", { class: "error", role: "alert", hidden: true });
    this.exact = null;
    const choice = element("div", { class: "row" }, this.nextTold);
    if (name === "tokens") {
      this.exact = element("select", { onchange: () => this.cursor() }, option("tokens", "in tokens"), option("bytes", "in exact bytes"));
      this.exact.setAttribute("aria-label", "How what comes next is told");
      choice.append(this.exact);
    }
    this.node = element("article", { class: "card reading", "aria-label": `Read as ${name}` },
      element("div", { class: "row" }, element("h3", { textContent: `Read as ${name}` }), this.bitsTold),
      element("p", { class: "facts", textContent: ABOUT[name] }),
      this.error, this.heat.node,
      this.readTold, this.read.node,
      choice, this.next,
      this.written);
  }

  async text() {
    const bytes = this.panel.state.bytes;
    this.bits = null;
    this.written.hidden = true;
    this.heat.node.hidden = !bytes.length;
    if (!bytes.length) { this.bitsTold.textContent = ""; return; }
    await this.#try(async () => {
      const found = await ask("surprisal", this.panel.asked(this.name, bytes));
      this.bits = found.bits;
      this.bitsPerByte = found.bits_per_byte;
      this.bitsTold.textContent = `${number(found.bits_per_byte)} bits/byte`;
      this.perByte = new Array(bytes.length);
      const items = found.starts.map((start, index) => {
        const stop = found.starts[index + 1] ?? bytes.length;
        let bits = 0;
        for (let place = start; place < stop; place++) bits += found.bits[place];
        this.perByte.fill(bits / (stop - start), start, stop);
        const heat = Math.min(1, bits / (stop - start) / HOTTEST);
        const { text, escaped } = shown(bytes.subarray(start, stop));
        return {
          start, stop, text, bits, style: { "--heat": heat.toFixed(3) },
          classes: `heat${heat > 0.55 ? " hot" : ""}${escaped ? " escaped" : ""}`,
          name: `${named(bytes.subarray(start, stop))}: ${number(bits)} bits`,
        };
      });
      this.heat.render(items, `Surprisal, read as ${this.name}: ${number(found.bits_per_byte)} bits per byte`);
    });
  }

  async cursor() {
    const { state, before } = this.panel;
    this.heat.spans.forEach((span, index) => span.classList.toggle("caret", this.heat.items[index].start === state.cursor));
    await this.#try(async () => {
      const asked = this.panel.asked(this.name, before);
      const isExact = this.exact?.value === "bytes";
      const [read, { next }] = await Promise.all([ask("read", asked), ask(isExact ? "exact-next" : "next", asked)]);
      this.#showRead(read, before);
      this.#showNext(next, state.bytes.subarray(state.cursor));
    });
  }

  #showRead({ count: total, symbols }, before) {
    const more = total > symbols.length ? `, the last ${count(symbols.length)}` : "";
    this.readTold.textContent = `Reads ${plural(total, "symbol")} up to the cursor${more}`;
    this.read.render(symbols.map(([kind, name, start, stop]) => {
      const bytes = before.subarray(start, stop);
      const { text, escaped } = kind === "special" ? { text: name } : shown(bytes, { breaks: false });
      return {
        text, kind, symbol: name, classes: `${{ special: "special", byte: "raw", symbol: "compressed" }[kind]}${escaped ? " escaped" : ""}`,
        name: kind === "special" ? name : `${kind} ${kind === "symbol" ? `${name} ` : ""}${named(bytes)}`,
        ...(kind === "special" ? {} : { start, stop }),
      };
    }), `What is read as ${this.name}: ${plural(total, "symbol")}`);
    this.read.node.scrollTop = this.read.node.scrollHeight;
  }

  #showNext(next, after) {
    this.nextTold.textContent = "Expected next";
    const shownNext = next.slice(0, 8);
    const rest = 1 - shownNext.reduce((sum, one) => sum + one.probability, 0);
    const rows = shownNext.map(({ name, bytes, probability }) => {
      const own = bytes === null ? null : fromBase64(bytes);
      const isTrue = own !== null && own.length > 0 && own.length <= after.length && own.every((byte, index) => byte === after[index]);
      return bar(own === null ? (name === "end" ? "end of text" : name) : named(own), probability, isTrue);
    });
    if (rest > 0.0005) rows.push(bar("all others", rest, false));
    this.next.replaceChildren(
      element("caption", { class: "visually-hidden", textContent: `What comes next, read as ${this.name}` }),
      element("thead", { class: "visually-hidden" }, element("tr", {}, element("th", { scope: "col", textContent: "next" }), element("th", { scope: "col", textContent: "share" }), element("th", { scope: "col", textContent: "probability" }))),
      element("tbody", {}, ...rows));
  }

  async write() {
    const { before } = this.panel;
    this.written.hidden = false;
    this.written.textContent = "writing …";
    await this.#try(async () => {
      const { bytes } = await ask("continuation", { ...this.panel.asked(this.name, before), num_bytes: WRITTEN_BYTES });
      const written = fromBase64(bytes);
      this.written.replaceChildren(
        element("span", { class: "given", textContent: shown(before.subarray(Math.max(0, before.length - 24))).text }),
        element("span", { class: "written", textContent: written.length ? shown(written).text : "(the text ends here)" }));
    }, () => { this.written.hidden = true; });
  }

  #tell(index) {
    const item = this.heat.items[index];
    const bytes = this.panel.state.bytes.subarray(item.start, item.stop);
    tell([["Read as", this.name], ["Bytes", element("span", { class: "code", textContent: named(bytes) })], ["Surprisal", `${number(item.bits, 3)} bits`], ["Probability", percent(2 ** -item.bits)], ["Place", `byte ${count(item.start)}; choose it (Enter, or a click) to put the cursor there`]]);
  }

  #tellRead(index) {
    const item = this.read.items[index];
    const rows = [["Read as", this.name], ["Symbol", element("span", { class: "code", textContent: item.symbol })]];
    if (item.start !== undefined) rows.push(["Bytes", element("span", { class: "code", textContent: item.text })], ["Place", `${count(item.start)} to ${count(item.stop)}`]);
    tell(rows);
  }

  async #try(job, failed) {
    try {
      await job();
      say(this.error, null);
    } catch (error) {
      say(this.error, error.message);
      failed?.();
    }
  }
}

export function tell(rows) {
  byId("detail-body").replaceChildren(element("dl", {}, ...pairs(rows)));
  byId("detail").classList.add("open");
}

function bar(name, probability, isTrue) {
  return element("tr", { class: isTrue ? "true" : null },
    element("th", { scope: "row", textContent: name }),
    element("td", { class: "bar" }, element("i", { style: { "--share": probability } })),
    element("td", { class: "number", textContent: percent(probability) }));
}

// Drafted bytes, pass by pass: what was accepted cost no pass of its own.
class Drafts {
  constructor(panel) {
    this.panel = panel;
    const inBytes = panel.model.readings.filter((name) => name !== "tokens");
    this.kind = element("select", {}, ...panel.model.drafters.map((name) => option(name)).reverse());
    this.as = element("select", {}, ...inBytes.map((name) => option(name)));
    this.run = element("button", { type: "button", textContent: "Draft at the cursor", onclick: () => this.#draft() });
    this.told = element("p", { class: "facts", role: "status" });
    this.passes = element("ol", { class: "passes", hidden: true, tabIndex: 0, "aria-label": "Forward passes" });
    this.error = element("p", { class: "error", role: "alert", hidden: true });
    this.node = element("div", { class: "card", hidden: !inBytes.length },
      element("div", { class: "row" }, element("h3", { textContent: "Drafts" }),
        element("label", { class: "inline" }, "Drafter ", this.kind), element("label", { class: "inline" }, "Read as ", this.as), this.run),
      element("p", { class: "facts", textContent: panel.model.heads > 1
        ? "The further heads draft bytes ahead; one pass of head 0 verifies them all. Green was accepted and cost no pass of its own."
        : "This model has one head: what only further heads draft stays empty, one byte to a pass." }),
      this.told, this.error, this.passes);
  }

  async #draft() {
    this.run.disabled = true;
    this.told.textContent = "drafting …";
    try {
      const asked = { ...this.panel.asked(this.as.value, this.panel.before), num_bytes: WRITTEN_BYTES, drafter: this.kind.value };
      const { passes } = await ask("drafts", asked);
      const written = passes.reduce((sum, one) => sum + fromBase64(one.written).length, 0);
      const drafted = passes.reduce((sum, one) => sum + one.nodes.length, 0);
      const accepted = passes.reduce((sum, one) => sum + one.nodes.filter((node) => node.accepted).length, 0);
      this.told.textContent = `${plural(written, "byte")} in ${plural(passes.length, "pass", "passes")}: ${number(written / Math.max(1, passes.length))} bytes a pass; ${count(accepted)} of ${plural(drafted, "drafted byte")} accepted.`;
      this.passes.replaceChildren(...passes.map((one, index) => element("li", {},
        element("span", { class: "number", textContent: index + 1 }),
        element("span", { class: "out" }, element("span", { class: "visually-hidden", textContent: "wrote " }), named(fromBase64(one.written))),
        tree(one.nodes, 0) ?? element("span", { class: "facts", textContent: "nothing was drafted" }))));
      this.passes.hidden = false;
      say(this.error, null);
    } catch (error) {
      this.told.textContent = "";
      say(this.error, error.message);
    } finally {
      this.run.disabled = false;
    }
  }
}

function tree(nodes, parent) {
  const items = nodes.flatMap((node, index) => (node.parent !== parent ? [] : [element("li", {},
    element("span", { class: `node${node.accepted ? " accepted" : ""}` }, named(Uint8Array.of(node.byte)), element("span", { class: "visually-hidden", textContent: node.accepted ? " accepted" : " not accepted" })),
    tree(nodes, index + 1))]));
  return items.length ? element("ul", { class: parent === 0 ? "tree" : null }, ...items) : null;
}
