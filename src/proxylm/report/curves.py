"""Which curves a report shows, as numbers that the page draws.

A run's steps are put together into at most ``MOST_POINTS`` groups of equal size, of which a curve
shows the mean; what was measured on held-out documents is shown as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from proxylm.report.history import RunHistory

MOST_POINTS = 500

AXES = {
    "symbols": "symbols",
    "training_flops": "training FLOPs",
    "raw_bytes": "raw bytes shown",
    "seconds": "hours",
}
"""What curves can be drawn over: fields of a record, with their labels."""

_SECONDS_PER_HOUR = 3600

STEPS = "steps"
"""The grid of all steps; those of held-out documents are called as they were read."""

Grid = dict[str, list[float | None]]
"""Where points lie: by ``AXES``, one value each."""

Reader = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of a chart.

    Attributes:
        run: number of its run, which gives it its colour.
        label: what tells it from the run's other lines in the chart; may be empty.
        grid: which of its run's grids its points lie on.
        y: of its points; None where there is nothing.
    """

    run: int
    label: str
    grid: str
    y: list[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Curves in one frame.

    Attributes:
        title, unit: above it, and at its y axis.
        curves: its lines.
    """

    title: str
    unit: str
    curves: list[Curve]


def grids_of(run: RunHistory) -> dict[str, Grid]:
    """The grids of a run's curves, by name."""
    steps = {axis: _grouped([_at(record, axis) for record in run.records]) for axis in AXES}
    held_out = {
        view: {axis: [_rounded(_at(one, axis)) for one in run.evaluations(view)] for axis in AXES}
        for view in run.views
    }
    return held_out | {STEPS: steps}


def charts_of(runs: Sequence[RunHistory]) -> list[Chart]:
    """Every chart that the runs have numbers for."""
    views = dict.fromkeys(view for run in runs for view in run.views)
    drawn = [
        _chart(runs, "Training loss", "nats per symbol", {"": _field("loss")}),
        *(_held_out_chart(runs, view) for view in views),
        _chart(
            runs,
            "Share of views shown compressed",
            "share",
            {"asked": _field("rate_asked"), "shown": _field("rate_shown")},
        ),
        _chart(runs, "Loss by format", "nats per symbol", _formats(runs)),
        _chart(runs, "Loss of raw bytes by head", "nats per symbol", _heads(runs)),
        _chart(runs, "Throughput", "symbols/s", {"": _field("symbols_per_second")}),
        _chart(runs, "Model FLOPs utilization", "share of the peak", {"": _field("mfu")}),
        _chart(runs, "Learning rate", "", {"": _field("learning_rate")}),
        _chart(runs, "Gradient norm", "", {"": _field("grad_norm")}),
    ]
    return [chart for chart in drawn if chart.curves]


def _field(name: str) -> Reader:
    return lambda record: record.get(name)


def _formats(runs: Sequence[RunHistory]) -> dict[str, Reader]:
    names = dict.fromkeys(
        name for run in runs for one in run.records for name in one.get("loss_by_format", {})
    )
    names.pop("special", None)  # a symbol or two of each context
    return {name: _format_reader(name) for name in names}


def _format_reader(name: str) -> Reader:
    return lambda record: record.get("loss_by_format", {}).get(name)


def _heads(runs: Sequence[RunHistory]) -> dict[str, Reader]:
    last = [run.records[-1] for run in runs if run.records]
    most = max((len(one.get("loss_by_head", ())) for one in last), default=0)
    return {f"head {head}": _head_reader(head) for head in range(most)} if most > 1 else {}


def _head_reader(head: int) -> Reader:
    def read(record: dict[str, Any]) -> float | None:
        heads = record.get("loss_by_head", ())
        return heads[head].get("raw") if head < len(heads) else None

    return read


def _chart(runs: Sequence[RunHistory], title: str, unit: str, lines: dict[str, Reader]) -> Chart:
    curves = []
    for number, run in enumerate(runs):
        for label, read in lines.items():
            y = _grouped([read(record) for record in run.records])
            if any(value is not None for value in y):
                curves.append(Curve(run=number, label=label, grid=STEPS, y=y))
    return Chart(title=title, unit=unit, curves=curves)


def _held_out_chart(runs: Sequence[RunHistory], view: str) -> Chart:
    curves = []
    for number, run in enumerate(runs):
        if found := run.evaluations(view):
            y = [_rounded(one["held_out"][view]) for one in found]
            curves.append(Curve(run=number, label="", grid=view, y=y))
    title = f"Held-out bits per byte, read as {view}"
    return Chart(title=title, unit="bits per raw byte", curves=curves)


def _at(record: dict[str, Any], axis: str) -> float | None:
    value = record.get(axis)
    return value / _SECONDS_PER_HOUR if axis == "seconds" and value is not None else value


def _grouped(values: Sequence[float | None]) -> list[float | None]:
    """Means of at most ``MOST_POINTS`` groups of neighbours, without those that are missing."""
    size = -(-len(values) // MOST_POINTS) if values else 1
    numbers = [np.nan if value is None else value for value in values]
    groups = np.split(np.array(numbers, dtype=np.float64), np.arange(size, len(numbers), size))
    there = [group[~np.isnan(group)] for group in groups]
    return [_rounded(group.mean()) if group.size else None for group in there]


def _rounded(value: float | None) -> float | None:
    """Six digits, which no screen tells from more; JSON has no infinity."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.6g}")
