"use strict";
// Draws the report's charts with uPlot from the JSON that stands in the page.
const DATA = JSON.parse(document.getElementById("data").textContent);
const HEIGHT = 260, DASHES = [[], [6, 4], [2, 3], [10, 4, 2, 4]];
const chosen = { axis: "symbols", hidden: new Set(), logX: false, logY: false };
const plots = [];

function element(tag, values = {}, ...children) {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...children);
  return made;
}

function colour(name) {
  const probe = element("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const runColour = (run) => colour(`chart-${run % 7}`);
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const exact = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
const small = (one) => Math.abs(one) < 0.01 && one !== 0;
const shown = (one, form) => one === null || one === undefined ? "–" : small(one) ? one.toExponential(2) : form.format(one);

function frame(title, rows) {
  const button = element("button", { type: "button", textContent: "CSV" });
  button.setAttribute("aria-label", `CSV: the numbers of ${title}`);
  button.addEventListener("click", () => download(title, rows()));
  const place = element("div");
  const figure = element("figure", { className: "chart" }, element("figcaption", {}, title, button), place);
  return { figure, place };
}

function download(title, rows) {
  const quoted = (cell) => /[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell;
  const text = rows.map((row) => row.map((cell) => cell === null ? "" : quoted(cell)).join(",")).join("\n") + "\n";
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })) });
  link.download = title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-") + ".csv";
  link.click();
  URL.revokeObjectURL(link.href);
}

const gridOf = (curve) => DATA.grids[curve.run][curve.grid];
const lineName = (curve) => DATA.runs[curve.run] + (curve.label && ` (${curve.label})`);

function curveRows(chart) {
  const axes = Object.keys(DATA.axes);
  const rows = [["run", "line", ...axes.map((axis) => DATA.axes[axis]), chart.unit || "value"]];
  for (const curve of chart.curves) curve.y.forEach((y, at) => rows.push([DATA.runs[curve.run], curve.label, ...axes.map((axis) => gridOf(curve)[axis][at]), y]));
  return rows;
}

// The nearest point of the line itself: lines of one chart need not have points at the same places.
function nearest(plot, series, at, x) {
  const values = plot.data[series];
  if (values[at] !== null && values[at] !== undefined) return at;
  let left = at, right = at;
  while (left >= 0 && values[left] == null) left -= 1;
  while (right < values.length && values[right] == null) right += 1;
  if (left < 0 || right >= values.length) return left < 0 ? (right < values.length ? right : at) : left;
  return x - plot.data[0][left] < plot.data[0][right] - x ? left : right;
}

function axesOf(xLabel, yLabel) {
  const ink = colour("soft"), line = colour("line"), font = "12px system-ui, sans-serif";
  const one = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font, labelFont: font, labelSize: 20 };
  const values = (_, ticks) => ticks.map((tick) => tick === null ? "" : shown(tick, short));
  return [{ ...one, label: xLabel, values, size: 34 }, { ...one, label: yLabel, values, size: 58 }];
}

function options(place, xLabel, yLabel, series) {
  return {
    width: Math.max(240, place.clientWidth), height: HEIGHT, axes: axesOf(xLabel, yLabel), series,
    cursor: { dataIdx: nearest, points: { size: 6 }, drag: { x: true, y: true, uni: 20 } },
  };
}

function drawCurves(place, chart) {
  const curves = chart.curves.filter((curve) => !chosen.hidden.has(curve.run));
  place.replaceChildren();
  const lines = curves.map((curve) => ({ curve, table: points(curve) })).filter(({ table: [x] }) => x.length);
  if (!lines.length) { place.append(element("p", { className: "hint", textContent: "Nothing to draw here." })); return null; }
  const labels = [...new Set(chart.curves.map((curve) => curve.label))];
  const value = (_, one) => shown(one, exact);
  const series = [{ label: DATA.axes[chosen.axis], value }, ...lines.map(({ curve }) => ({
    label: lineName(curve), stroke: runColour(curve.run), width: 1.8, spanGaps: true, value,
    dash: DASHES[labels.indexOf(curve.label) % DASHES.length], points: { show: curve.y.length < 40, size: 5 },
  }))];
  const given = options(place, DATA.axes[chosen.axis], chart.unit, series);
  given.scales = { x: { time: false, distr: chosen.logX ? 3 : 1 }, y: { distr: chosen.logY ? 3 : 1 } };
  return new uPlot(given, uPlot.join(lines.map(({ table }) => table)), place);
}

function points(curve) {
  const x = [], y = [], grid = gridOf(curve)[chosen.axis];
  curve.y.forEach((value, at) => {
    const over = grid[at];
    if (value === null || over === null || (chosen.logX && over <= 0) || (chosen.logY && value <= 0)) return;
    if (x.length && over <= x.at(-1)) return;
    x.push(over);
    y.push(value);
  });
  return [x, y];
}

function drawHistogram(place, histogram) {
  place.replaceChildren();
  const names = Object.keys(histogram.series), value = (_, one) => shown(one, exact);
  const series = [{ label: histogram.x_label, value }, ...names.map((name, at) => ({
    label: name, stroke: runColour(at), width: 1.8, value, points: { show: false },
    fill: names.length === 1 ? colour("line") : undefined, paths: uPlot.paths.stepped({ align: 1 }),
  }))];
  const given = options(place, histogram.x_label, "share", series);
  given.scales = { x: { time: false }, y: {} };
  // Steps go up to the next point: the last bin's end is one.
  return new uPlot(given, [histogram.edges, ...names.map((name) => [...histogram.series[name], histogram.series[name].at(-1)])], place);
}

function histogramRows(histogram) {
  const names = Object.keys(histogram.series);
  return [[histogram.x_label, ...names], ...histogram.edges.slice(0, -1).map((edge, at) => [edge, ...names.map((name) => histogram.series[name][at])])];
}

function add(container, title, rows, draw) {
  const { figure, place } = frame(title, rows);
  document.getElementById(container).append(figure);
  plots.push({ place, draw, plot: null });
}

function redraw() {
  for (const one of plots) {
    one.plot?.destroy();
    one.plot = one.draw(one.place);
    one.plot?.root.setAttribute("role", "img");
    one.plot?.root.setAttribute("aria-label", `${one.place.parentElement.querySelector("figcaption").firstChild.textContent}; its numbers can be downloaded`);
  }
}

function controls() {
  for (const [axis, label] of Object.entries(DATA.axes)) {
    const input = element("input", { type: "radio", name: "axis", value: axis, checked: axis === chosen.axis });
    input.addEventListener("change", () => { chosen.axis = axis; redraw(); });
    document.getElementById("axes").append(element("label", {}, input, label));
  }
  DATA.runs.forEach((name, run) => {
    const input = element("input", { type: "checkbox", checked: true });
    input.addEventListener("change", () => { input.checked ? chosen.hidden.delete(run) : chosen.hidden.add(run); redraw(); });
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = `var(--chart-${run % 7})`;
    document.getElementById("runs").append(element("label", {}, input, swatch, name));
  });
  for (const [id, key] of [["log-x", "logX"], ["log-y", "logY"]]) document.getElementById(id).addEventListener("change", (event) => { chosen[key] = event.target.checked; redraw(); });
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
}

for (const chart of DATA.charts) add("charts", chart.title, () => curveRows(chart), (place) => drawCurves(place, chart));
for (const one of DATA.histograms) add("histograms", one.title, () => histogramRows(one), (place) => drawHistogram(place, one));
controls();
redraw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let width = innerWidth;
addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
