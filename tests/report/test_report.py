"""Reports: every curve in one file that needs nothing else; odd names, histograms, texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxylm.cli.main import run as run_command
from proxylm.errors import DataError
from proxylm.printable import printable
from proxylm.report.curves import MOST_POINTS, STEPS, charts_of, grids_of
from proxylm.report.histograms import histograms_of
from proxylm.report.history import RunHistory, differences
from proxylm.report.html import html_table
from proxylm.report.page import write_report
from small_models import save_small_run


def record(step: int, **more: Any) -> dict[str, Any]:
    counted = {"symbols": 10 * step, "training_flops": 1e6 * step, "raw_bytes": 30 * step}
    return {"step": step, "loss": 5 / step, "seconds": 36.0 * step} | counted | more


def lines_of(chart: Any) -> dict[tuple[int, str], list[float | None]]:
    return {(curve.run, curve.label): curve.y for curve in chart.curves}


def data_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "proxy"
    folder.mkdir()
    records = [record(1), record(2, held_out={"raw": 3.25}), record(3, held_out={"raw": 2.75})]
    lines = "".join(json.dumps(line) + "\n" for line in records)
    (folder / "metrics.jsonl").write_text(lines + '{"step": 4, "sym')
    return folder


def test_history_reads_whole_lines_and_evaluations(run: Path) -> None:
    history = RunHistory.read(run)
    assert [line["step"] for line in history.records] == [1, 2, 3]
    assert [one["held_out"] for one in history.evaluations("raw")] == [{"raw": 3.25}, {"raw": 2.75}]
    assert history.evaluations("compressed") == [] and history.views == ["raw"]


def test_curves_hold_what_was_measured_over_every_axis(run: Path) -> None:
    history = RunHistory.read(run)
    grids = grids_of(history)
    assert grids["raw"] == {
        "symbols": [20, 30],
        "training_flops": [2e6, 3e6],
        "raw_bytes": [60, 90],
        "seconds": [0.02, 0.03],  # hours
    }
    charts = {chart.title: lines_of(chart) for chart in charts_of([history])}
    assert charts == {
        "Training loss": {(0, ""): [5.0, 2.5, 1.66667]},
        "Held-out bits per byte, read as raw": {(0, ""): [3.25, 2.75]},
    }


def test_formats_heads_and_rates_are_lines_of_their_own() -> None:
    by_head = [{"raw": 2.0, "compressed": 3.0}, {"raw": 4.0}]
    more = {"rate_asked": 0.9, "rate_shown": 0.8, "mfu": 0.5, "symbols_per_second": 100.0}
    full = record(1, loss_by_format=by_head[0], loss_by_head=by_head, **more)
    bytes_alone = record(1, loss_by_format={"raw": 1.0}, rate_asked=0.0, rate_shown=None)
    runs = [RunHistory(name="a", records=[full]), RunHistory(name="b", records=[bytes_alone])]
    charts = {chart.title: lines_of(chart) for chart in charts_of(runs)}
    assert charts["Loss by format"] == {(0, "raw"): [2], (0, "compressed"): [3], (1, "raw"): [1]}
    assert charts["Loss of raw bytes by head"] == {(0, "head 0"): [2.0], (0, "head 1"): [4.0]}
    shares = charts["Share of views shown compressed"]
    assert shares == {(0, "asked"): [0.9], (0, "shown"): [0.8], (1, "asked"): [0.0]}
    assert charts["Throughput"] == {(0, ""): [100.0]}
    assert charts["Model FLOPs utilization"] == {(0, ""): [0.5]}


def test_long_runs_are_shown_by_means_and_no_value_is_no_number() -> None:
    records = [record(step, loss=float(step)) for step in range(1, 2 * MOST_POINTS + 2)]
    records[1]["loss"], records[4]["loss"] = None, float("nan")
    history = RunHistory(name="long", records=records)
    (loss,) = [chart for chart in charts_of([history]) if chart.title == "Training loss"]
    y = loss.curves[0].y
    assert len(y) == len(grids_of(history)[STEPS]["symbols"]) <= MOST_POINTS
    assert y[:3] == [2.0, 5.0, 8.0]  # of 1 and 3, of 4 and 6, of 7, 8 and 9


ODD_NAMES = [
    r"x$\frac$",
    "__",
    "red\x1b[31m",
    "two\nlines\r",
    "nul\x00 and \x9b",
    "caf\udce9",
    "</script><b>&amp;",
    "漢字☃",
    "a%s {label} \\",
]


def test_any_name_of_a_run_or_view_is_shown_as_it_is(tmp_path: Path) -> None:
    view = "_</script>\x1b"
    records = [record(1), record(2, held_out={view: 3.0})]
    out = tmp_path / "report.html"
    write_report([RunHistory(name=name, records=records) for name in ODD_NAMES], out, title="t\x1b")
    page = out.read_text(encoding="utf-8")
    assert data_in(page)["runs"] == [printable(name) for name in ODD_NAMES]
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    assert page.count("</script>") == 2, "a name ended the element that it stands in"


def test_the_page_needs_no_network_and_names_the_differences(run: Path, tmp_path: Path) -> None:
    one = RunHistory(name="a", records=[record(1)], config={"model": {"width": 8}, "seed": 0})
    other = RunHistory(name="b", records=[record(1)], config={"model": {"width": 16}, "seed": 0})
    assert differences([one, other]) == {"model.width": ["8", "16"]}
    out = tmp_path / "report.html"
    write_report([one, other], out, title="a <b> & c")
    page = out.read_text(encoding="utf-8")
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    assert '<th scope="row">model.width</th><td>8</td><td>16</td>' in page
    assert "seed" not in page
    assert not re.search(r'(src|href)="(http|//)|@import|url\(', page)


def test_table_cells_are_escaped() -> None:
    assert '<th scope="row">&lt;bos&gt;</th>' in html_table(["x"], [["<bos>"]], about="x")


def test_histograms_of_analyses(tmp_path: Path) -> None:
    stability = {"compressors": [{"compressor": "gzip", "histogram": [1, 3]}]}
    collisions = {
        "segments": {"lcp_histogram": [0, 0, 4], "variants_histogram": {"2": 3, "4": 1}},
    }
    for name, values in (("stability", stability), ("collisions", collisions)):
        (tmp_path / name).write_text(json.dumps(values))
    (found,) = histograms_of(tmp_path / "stability")
    assert (found.edges, found.series) == ([0, 0.5, 1], {"gzip": [0.25, 0.75]})
    ratios, variants = histograms_of(tmp_path / "collisions")
    assert ratios.series == {"segments": [0, 0, 1]}
    assert (variants.edges, variants.series) == ([2, 3, 4, 5], {"segments": [0.75, 0, 0.25]})


@pytest.mark.parametrize(
    "values",
    [
        {},
        [],
        {"segments": 3},
        {"windows": {"count": 1}},
        {"compressors": ["gzip"]},
        {"compressors": [{"histogram": 3}]},
    ],
)
def test_what_is_no_analysis_is_said_so(tmp_path: Path, values: Any) -> None:
    (tmp_path / "other").write_text(json.dumps(values))
    with pytest.raises(DataError, match="other: no histograms in it"):
        histograms_of(tmp_path / "other")


def test_the_command_shows_a_text_and_completions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, text, out = tmp_path / "small", tmp_path / "text.py", tmp_path / "r.html"
    save_small_run(run)
    (run / "metrics.jsonl").write_text(json.dumps(record(1)) + "\n")
    text.write_text("é = <1>\n")
    arguments = [
        "report",
        str(run),
        "--out",
        str(out),
        "--text",
        str(text),
        "--prompt",
        "de<\udcff",
    ]
    assert run_command([*arguments, "--seeds", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(out), "runs": ["small"]}
    page = out.read_text(encoding="utf-8")
    surprisal = page[page.index("<h2>Surprisal of text.py") :]
    assert re.findall(r'<span class="b\d" title="[\d.]+ bits">(.*?)</span>', surprisal)[:5] == [
        "é", " ", "=", " ", "&lt;",
    ]  # fmt: skip
    assert [page.count(f"<figcaption>seed {seed}</figcaption>") for seed in range(3)] == [1, 1, 0]
    assert "<span>de&lt;\ufffd</span><mark>" in page


def test_wrong_use_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").touch()
    for arguments, status, message in (
        ([str(tmp_path)], 1, "no metrics.jsonl there"),
        ([str(run), "--text", str(tmp_path / "none")], 2, "none: cannot be read"),
        ([str(run), "--text", str(tmp_path / "empty")], 2, "empty: is empty"),
        ([str(run), "--analysis", str(tmp_path / "none")], 1, "none: no such file"),
        ([str(run), "--prompt", "x"], 2, "nothing to load in it"),
    ):
        assert run_command(["report", *arguments, "--out", str(tmp_path / "out")]) == status
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
        assert not (tmp_path / "out").exists()
