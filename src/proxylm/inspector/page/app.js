// The page: one text, and the sections that show it. `state` says what there is; sections are told
// when the text, its reference or the cursor changes.

import { bytesOf, textOf, toBase64 } from "./bytes.js";
import { redrawCharts } from "./charts.js";
import { startContexts } from "./contexts.js";
import { ask, byId, count, newest, option, plural, say } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { startModel } from "./model.js";
import { startViews } from "./views.js";

const state = {
  holdings: null,
  bytes: new Uint8Array(),
  reference: new Uint8Array(),
  cursor: 0,
  get edited() { return toBase64(this.bytes) !== toBase64(this.reference); },
};

const text = byId("text");
let sections = [];

function theme() {
  const chosen = byId("theme");
  try { chosen.value = localStorage.getItem("proxylm-theme") ?? "auto"; } catch { /* not allowed */ }
  const apply = () => {
    if (chosen.value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen.value;
    try { localStorage.setItem("proxylm-theme", chosen.value); } catch { /* not allowed */ }
    for (const section of sections) section.recolour?.();
    redrawCharts();
  };
  chosen.addEventListener("change", apply);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
}

function facts() {
  const bytes = state.bytes.length;
  const at = state.cursor < bytes ? `cursor before byte ${count(state.cursor)}` : "cursor at the end";
  byId("text-facts").textContent = `${plural(bytes, "byte")}, ${plural([...text.value].length, "character")}, ${at}`;
  const difference = bytes - state.reference.length;
  byId("reference-facts").textContent = state.edited
    ? `Compared with the text as it was: ${plural(state.reference.length, "byte")}${difference ? `, now ${count(Math.abs(difference))} ${difference > 0 ? "more" : "fewer"}` : ""}.`
    : "Change a character: each view shows what moved.";
  byId("pin").disabled = byId("restore").disabled = !state.edited;
}

function readCursor() {
  const cursor = bytesOf(text.value.slice(0, text.selectionStart)).length;
  if (cursor === state.cursor) return;
  state.cursor = cursor;
  facts();
  for (const section of sections) section.cursor?.();
}

const asking = newest();

function changed() {
  const bytes = bytesOf(text.value);
  const most = state.holdings.max_text_bytes;
  say(byId("text-error"), bytes.length > most ? `The text has ${count(bytes.length)} bytes; ${count(most)} can be looked at.` : null);
  if (bytes.length > most) return;
  state.bytes = bytes;
  state.cursor = bytesOf(text.value.slice(0, text.selectionStart)).length;
  facts();
  asking(() => Promise.all(sections.map((section) => section.text?.())));
}

function take(bytes, cursor = bytes.length) {
  text.value = textOf(bytes);
  // A text area turns every line end into one sign; the reference is what it then holds.
  state.reference = bytesOf(text.value);
  const place = textOf(bytes.subarray(0, cursor)).length;
  text.setSelectionRange(place, place);
  changed();
}

// An example's cursor stands where its first ‸ does.
function takeExample(name) {
  const [before, after] = EXAMPLES[name].split("‸");
  take(bytesOf(before + after), bytesOf(before).length);
}

export function setCursor(place) {
  const before = textOf(state.bytes.subarray(0, place)).length;
  text.setSelectionRange(before, before);
  readCursor();
}

function controls() {
  const example = byId("example");
  example.append(...Object.keys(EXAMPLES).map((name) => option(name)));
  example.addEventListener("change", () => takeExample(example.value));
  byId("file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    const most = state.holdings.max_text_bytes;
    take(new Uint8Array(await file.slice(0, most).arrayBuffer()));
    if (file.size > most) say(byId("text-error"), `${file.name} has ${count(file.size)} bytes; the first ${count(most)} are shown.`);
    event.target.value = "";
  });
  byId("pin").addEventListener("click", () => {
    text.focus();
    state.reference = state.bytes;
    changed();
  });
  byId("restore").addEventListener("click", () => {
    text.focus(); // the button is about to be disabled
    take(state.reference, state.cursor);
  });
  text.addEventListener("input", changed);
  document.addEventListener("selectionchange", () => { if (document.activeElement === text) readCursor(); });
}

async function start() {
  try {
    state.holdings = await ask("holdings");
  } catch (error) {
    say(byId("text-error"), error.message);
    return;
  }
  sections = [startViews(state), startModel(state, { setCursor }), startContexts(state)];
  controls();
  theme();
  takeExample(Object.keys(EXAMPLES)[0]);
}

start();
