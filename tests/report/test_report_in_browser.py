"""A report in a real browser: axes switched, numbers downloaded, runs hidden, three widths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browsers import WIDTHS, OpenPage, pages
from proxylm.cli.main import run as run_command

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

RUNS = ("bytes", "proxy")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two runs, one twice as fast as the other."""
    folder = tmp_path_factory.mktemp("report")
    for speed, name in enumerate(RUNS, start=1):
        (folder / name).mkdir()
        lines = [
            {
                "step": step,
                "loss": 5 / step,
                "seconds": 3600.0 * step / speed,
                "symbols": 1000 * step,
                "training_flops": 1e9 * step,
                "raw_bytes": 3000 * step,
                "held_out": {"raw": 4 / step} if step % 5 == 0 else {},
            }
            for step in range(1, 31)
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / name / "metrics.jsonl").write_text(text)
    out = folder / "report.html"
    assert run_command(["report", *(str(folder / name) for name in RUNS), "--out", str(out)]) == 0
    return out


@pytest.fixture
def opened(browser: Any, report: Path) -> Iterator[OpenPage]:
    """Opens the report in a width and a colour scheme."""
    with pages(browser, report.as_uri(), ready=".chart canvas") as open_page:
        yield open_page


def chart(page: Any, title: str) -> Any:
    return page.locator("figure.chart", has_text=title).first


def test_the_axis_of_all_charts_is_switched(opened: OpenPage) -> None:
    page = opened()
    for axis, name in (("seconds", "hours"), ("training_flops", "training FLOPs")):
        page.locator(f"input[value={axis}]").check()
        assert name in chart(page, "Training loss").locator(".u-legend").inner_text()
    before = chart(page, "Training loss").locator("canvas").screenshot()
    page.get_by_label("logarithmic across").check()
    assert chart(page, "Training loss").locator("canvas").screenshot() != before


def test_numbers_are_downloaded_as_they_were_measured(opened: OpenPage) -> None:
    page = opened()
    with page.expect_download() as download:
        chart(page, "Held-out bits per byte").get_by_role("button").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("run,line,symbols,")
    assert [line.split(",")[0] for line in lines[1:]] == ["bytes"] * 6 + ["proxy"] * 6
    assert lines[1].endswith(",0.8") and lines[1].split(",")[2] == "5000"


def test_a_run_is_hidden_and_shown(opened: OpenPage) -> None:
    page = opened()
    legend = chart(page, "Training loss").locator(".u-legend")
    assert "proxy" in legend.inner_text()
    page.locator("#runs").get_by_label("proxy").uncheck()
    assert "proxy" not in chart(page, "Training loss").locator(".u-legend").inner_text()
    page.locator("#runs").get_by_label("proxy").check()
    assert "proxy" in chart(page, "Training loss").locator(".u-legend").inner_text()


def test_numbers_stand_under_the_pointer(opened: OpenPage) -> None:
    page = opened()
    over = chart(page, "Training loss").locator(".u-over")
    over.hover(position={"x": 60, "y": 40})
    assert "–" not in chart(page, "Training loss").locator(".u-legend").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
def test_nothing_overflows_and_no_fault_of_accessibility_is_found(
    opened: OpenPage, width: str, scheme: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="proxylm[browser]")
    page = opened(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    found = axe.Axe().run(page).response["violations"]
    assert [(one["impact"], one["id"]) for one in found] == []
