from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from proxylm.analysis.charts import Curve, line_chart, smoothed
from proxylm.analysis.report import RunHistory, html_table, write_report
from proxylm.cli.main import run as run_command
from proxylm.printable import printable


def record(step: int, **more) -> dict:
    counted = {"symbols": 10 * step, "training_flops": 1e6 * step, "raw_bytes": 30 * step}
    return {"step": step, "loss": 5 / step} | counted | more


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "proxy"
    folder.mkdir()
    records = [record(1), record(2, held_out={"raw": 3.25}), record(3, held_out={"raw": 2.75})]
    lines = "".join(json.dumps(line) + "\n" for line in records)
    (folder / "metrics.jsonl").write_text(lines + '{"step": 4, "sym')
    return folder


def test_history_reads_whole_lines_and_evaluations(run):
    history = RunHistory.read(run)
    assert [line["step"] for line in history.records] == [1, 2, 3]
    assert history.evaluations("raw") == [
        record(2, held_out={"raw": 3.25}),
        record(3, held_out={"raw": 2.75}),
    ]
    assert history.evaluations("compressed") == []


def test_report_holds_every_curve_and_escapes_text(run, tmp_path):
    out = tmp_path / "report.html"
    write_report([RunHistory.read(run)], out, title="a <b> & c")
    page = out.read_text()
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    assert page.count("<svg") == 4  # the loss, and one view over symbols, FLOPs and raw bytes
    assert "proxy (2.75)" in page
    assert not re.search(r'(src|href)="http', page), "the page must not need the network"


def test_chart_is_well_formed_and_reproducible():
    curves = [Curve(label="a < b", x=[1, 2], y=[3.0, 2.0], colour=0)]
    labels = {"title": "t", "x_label": "x", "y_label": "y"}
    chart = line_chart(curves, **labels)
    assert ElementTree.fromstring(chart).tag.endswith("svg")
    assert chart == line_chart(curves, **labels)


def test_without_matplotlib_the_command_says_what_to_install(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run_command(["report", str(run), "--out", str(run / "report.html")]) == 2
    expected = "proxylm: a report needs matplotlib: pip install 'proxylm[analysis]'"
    assert expected in capsys.readouterr().err


ODD_NAMES = [
    r"x$\frac$",
    "a$b$c",
    r"$\undefined{",
    "_x",
    "__",
    "red\x1b[31m",
    "two\nlines\r",
    "nul\x00 and \x9b",
    "caf\udce9",
    "<b>&amp;",
    "漢字☃",
    "a%s {label} \\",
]


def test_any_name_of_a_run_or_view_is_shown_as_it_is(tmp_path):
    """Neither matplotlib's mathematics nor its hidden labels; nothing a parser chokes on."""
    records = [record(1), record(2, held_out={r"_$\frac$\x1b": 3.0})]
    out = tmp_path / "report.html"
    write_report([RunHistory(name=name, records=records) for name in ODD_NAMES], out, title="t\x1b")
    page = out.read_text(encoding="utf-8")
    charts = [
        [one.text for one in ElementTree.fromstring(chart).iter() if one.text]
        for chart in re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    ]
    for texts, last_value in zip(charts, ["2.50", "3.00", "3.00", "3.00"], strict=True):
        assert {f"{printable(name)} ({last_value})" for name in ODD_NAMES} <= set(texts)
    assert r"Held-out bits per byte, read as _$\frac$\x1b" in charts[1]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)


def test_smoothing_is_a_trailing_mean():
    assert smoothed([1.0, 3.0, 5.0, 9.0], 3).tolist() == pytest.approx([1, 2, 3, 17 / 3])
    assert smoothed([], 3).tolist() == []


def test_table_cells_are_escaped():
    assert "<td>&lt;bos&gt;</td>" in html_table(["x"], [["<bos>"]])


def test_command_writes_the_file_and_names_a_folder_without_metrics(run, tmp_path, capsys):
    out = tmp_path / "r.html"
    assert run_command(["report", str(run), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(out), "runs": ["proxy"]}
    assert out.exists()
    assert run_command(["report", str(tmp_path), "--out", str(out)]) == 1
    assert "no metrics.jsonl there" in capsys.readouterr().err
