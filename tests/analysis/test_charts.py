"""Charts as SVG text."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from proxylm.analysis.charts import Curve, line_chart
from proxylm.printable import printable

ODD_NAMES = [r"x$\frac$", "a$b$c", r"$\undefined{", "_x", "__", "red\x1b[31m", "<b>&amp;", "漢字☃"]


def test_chart_is_well_formed_and_reproducible() -> None:
    curves = [Curve(label="a < b", x=[1, 2], y=[3.0, 2.0], colour=0)]
    labels = {"title": "t", "x_label": "x", "y_label": "y"}
    chart = line_chart(curves, **labels)
    assert ElementTree.fromstring(chart).tag.endswith("svg")
    assert chart == line_chart(curves, **labels)


def test_any_label_is_shown_as_it_is() -> None:
    """Neither matplotlib's mathematics nor its hidden labels; nothing a parser chokes on."""
    curves = [Curve(label=name, x=[1, 2], y=[3.0, 2.5], colour=0) for name in ODD_NAMES]
    chart = line_chart(curves, title="t$_x$", x_label="x", y_label="y")
    texts = {one.text for one in ElementTree.fromstring(chart).iter() if one.text}
    assert {f"{printable(name)} (2.50)" for name in ODD_NAMES} <= texts
