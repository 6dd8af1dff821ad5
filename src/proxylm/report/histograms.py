"""Histograms of analyses: what ``proxylm analyze stability|collisions --json`` has printed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.errors import DataError
from proxylm.files import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts over bins, of one or several compressors side by side.

    Attributes:
        title, x_label: above it, and below it.
        edges: where bins begin, and where the last one ends.
        series: by name, a share of all for each bin.
    """

    title: str
    x_label: str
    edges: list[float]
    series: dict[str, list[float]]


def histograms_of(path: Path) -> list[Histogram]:
    """The histograms in the output of an analysis.

    Raises:
        DataError: the file is not such an output.
    """
    values = read_json(path)
    try:
        found = [*_stability(values), *_collisions(values)]
    except (AttributeError, KeyError, TypeError, ValueError):  # another command's, or nobody's
        found = []
    if found:
        return found
    raise DataError(
        f"{path}: no histograms in it; give what 'proxylm analyze stability --json' or 'proxylm "
        "analyze collisions --json' has printed"
    )


def _stability(values: dict[str, Any]) -> Iterator[Histogram]:
    reports = [one for one in values.get("compressors", ()) if "histogram" in one]
    if reports:
        bins = len(reports[0]["histogram"])
        yield Histogram(
            title="How far symbols move when characters are deleted (Figure 4)",
            x_label="normalized edit distance",
            edges=[number / bins for number in range(bins + 1)],
            series={one["compressor"]: _shares(one["histogram"]) for one in reports},
        )


def _collisions(values: dict[str, Any]) -> Iterator[Histogram]:
    for kind in ("windows", "segments"):
        report = values.get(kind, {})
        if not report:
            continue
        tenths = report["lcp_histogram"]
        yield Histogram(
            title=f"Codes of {kind} by the common beginning of their strings (LCP ratio)",
            x_label="LCP ratio",
            edges=[number / len(tenths) for number in range(len(tenths) + 1)],
            series={kind: _shares(tenths)},
        )
        by_variants = {int(size): count for size, count in report["variants_histogram"].items()}
        # A code that is not one string's alone has two of them at least.
        sizes = range(min(by_variants, default=2), max(by_variants, default=2) + 1)
        yield Histogram(
            title=f"Codes of {kind} by their number of strings (Figure 6)",
            x_label="strings of a code",
            edges=[float(size) for size in (*sizes, sizes[-1] + 1)],
            series={kind: _shares([by_variants.get(size, 0) for size in sizes])},
        )


def _shares(counts: list[int]) -> list[float]:
    total = sum(counts)
    return [float(f"{count / total:.6g}") if total else 0.0 for count in counts]
