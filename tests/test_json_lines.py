"""JSON lines stay whole for every reader, and mean the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.cli.output import emit
from proxylm.json_lines import json_line
from proxylm.training.metrics import METRICS_FILE, MetricsLog

LINE_ENDS = "".join(chr(code) for code in range(0x10000) if len(f"a{chr(code)}b".splitlines()) > 1)
texts = st.text() | st.text(alphabet=st.sampled_from('a"\\é' + LINE_ENDS))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_json_line_is_json_line_and_the_same_value(value: Any) -> None:
    line = json_line(value)
    assert line.splitlines() == [line]
    assert json.loads(line) == value
    assert list(httpx.Response(200, content=f"{line}\n".encode()).iter_lines()) == [line]


def test_what_ends_no_line_stays_readable() -> None:
    assert json_line("é \U0001f600 \\ u2028") == '"é \U0001f600 \\\\ u2028"'


def printed(value: Any, capsys: pytest.CaptureFixture[str], _: Path) -> str:
    emit({"text": value}, as_json=True, text="")
    return capsys.readouterr().out


def logged(value: Any, _: pytest.CaptureFixture[str], run: Path) -> str:
    at_start: Any = SimpleNamespace(folder=run, step=0)
    log = MetricsLog()
    log.on_start(at_start)
    log.on_step(at_start, {"step": 1, "text": value})
    log.on_end(at_start)
    return (run / METRICS_FILE).read_text(encoding="utf-8")


@pytest.fixture(params=[printed, logged])
def written(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[[str], str]]:
    yield lambda value: request.param(value, capsys, tmp_path)


def test_writers_of_lines_write_one_each(written: Callable[[str], str]) -> None:
    text = written(f"a{LINE_ENDS}b")
    assert len(text.splitlines()) == 1
    assert json.loads(text)["text"] == f"a{LINE_ENDS}b"
