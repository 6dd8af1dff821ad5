// Line charts by uPlot, in the page's colours, as wide as their place.

const drawn = new Map();

// What a variable of the style sheet is now, as a canvas takes it.
export function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

// `lines` are {label, values, stepped}; `onPoint(index)` is told which x is pointed at.
export function lineChart(place, given) {
  const { x, lines, xLabel, yLabel, about, onPoint, format, axisFormat } = given;
  for (const [other, { plot }] of drawn) {
    if (other === place || !other.isConnected) { plot.destroy(); drawn.delete(other); }
  }
  place.hidden = false;
  place.replaceChildren();
  place.setAttribute("role", "figure");
  place.setAttribute("aria-label", about);
  const ink = colour("soft"), grid = colour("line");
  const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif" };
  const value = (_, one) => (one === null || one === undefined ? "–" : format(one));
  const options = {
    width: Math.max(240, place.clientWidth),
    height: 230,
    scales: { x: { time: false }, y: { range: (_, low, high) => [Math.min(0, low), Math.max(high * 1.05, 1e-9)] } },
    axes: [
      { ...axis, label: xLabel, labelSize: 18, size: 34 },
      { ...axis, label: yLabel, labelSize: 18, size: 54, values: axisFormat && ((_, ticks) => ticks.map(axisFormat)) },
    ],
    legend: { live: true },
    cursor: { points: { size: 6 } },
    series: [
      { label: xLabel, value: (_, one) => (one === null ? "–" : String(one)) },
      ...lines.map((line, index) => ({
        label: line.label, stroke: colour(`chart-${(index % 7) + 1}`), width: 1.8, value, spanGaps: false,
        points: { show: false }, paths: line.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
        dash: index >= 7 ? [4, 3] : undefined,
      })),
    ],
    hooks: { setCursor: [(plot) => { if (plot.cursor.idx !== null && plot.cursor.idx !== undefined) onPoint?.(plot.cursor.idx); }] },
  };
  const plot = new uPlot(options, [x, ...lines.map((line) => line.values)], place);
  drawn.set(place, { plot, again: () => lineChart(place, given) });
  SIZES.observe(place);
}

const SIZES = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const plot = drawn.get(target)?.plot;
    if (plot && Math.abs(plot.width - target.clientWidth) > 2) plot.setSize({ width: Math.max(240, target.clientWidth), height: 230 });
  }
});

export function redrawCharts() {
  for (const [place, { again }] of [...drawn]) if (place.isConnected && !place.hidden) again();
}
