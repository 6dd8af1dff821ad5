"""Line charts as SVG text, one look for every report."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from proxylm.errors import needing_extra
from proxylm.printable import printable

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a chart.

    Attributes:
        label: what it shows.
        x, y: of its points.
        colour: numbers what it belongs to, so that a run looks the same everywhere.
        value: stands in brackets behind the label; the last ``y`` unless given.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int
    value: float | None = None


def require_charts() -> None:
    """Refuse to go on where no chart can be drawn in the end.

    Raises:
        UsageError: matplotlib is not there.
    """
    with needing_extra("a chart", "analysis"):
        import matplotlib  # noqa: F401


def line_chart(curves: Sequence[Curve], *, title: str, x_label: str, y_label: str) -> str:
    """Draw curves into one SVG element; each line carries its label and its value.

    Labels and titles may be any text: they are shown as they are, without mathematics.

    Raises:
        UsageError: matplotlib is not there.
    """
    require_charts()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # A fixed hash salt makes equal charts equal files; text stays text, dollar signs included.
    style = rc_context(
        {
            "svg.hashsalt": "proxylm",
            "svg.fonttype": "none",
            "text.parse_math": False,
            "font.size": 10,
        }
    )
    with style, warnings.catch_warnings():
        # The browser's fonts draw the text; that matplotlib's lack a character is nobody's trouble.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.add_subplot()
        lines, labels = [], []
        for curve in curves:
            colour = COLOURS[curve.colour % len(COLOURS)]
            lines += axes.plot(curve.x, curve.y, color=colour, linewidth=1.6)
            value = curve.y[-1] if curve.value is None else curve.value
            labels.append(printable(f"{curve.label} ({value:.2f})"))
        axes.set(title=printable(title), xlabel=x_label, ylabel=y_label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        # Not by the lines' own labels: those with a leading underscore are left out.
        axes.legend(lines, labels, frameon=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
