"""``proxylm bench``: the form of its object, and that nothing else goes to stdout."""

from __future__ import annotations

import importlib
import json

import pytest

from proxylm.bench import multi_byte, prefill
from proxylm.bench.report import BenchmarkRow
from proxylm.cli.main import run as run_command

ROWS = [
    BenchmarkRow(case="a/1", value=3.0, unit="bytes/s", yardstick=2.0, yardstick_is="a copy"),
    BenchmarkRow(
        case="a/memory",
        value=4.0,
        unit="bytes",
        yardstick=2.0,
        yardstick_is="a limit",
        lower_is_better=True,
    ),
]


@pytest.fixture(
    params=["loader", "prepare", "train", "generate", "neural", "sandbox", "serve", "start"]
)
def benchmark(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A benchmark's name, its measurement replaced by rows that are known."""
    name = request.param
    module = importlib.import_module(f"proxylm.bench.{name}")
    monkeypatch.setattr(module, f"run_{name}_benchmark", lambda *_, **__: ROWS)
    monkeypatch.setattr(multi_byte, "run_multi_byte_benchmark", list)  # generate's other parts
    monkeypatch.setattr(prefill, "run_prefill_benchmark", list)
    return str(name)


def test_json_is_one_object_in_the_agreed_form(
    benchmark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["bench", benchmark, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"benchmark", "rows"}
    assert result["benchmark"] == benchmark
    fields = {"case", "value", "unit", "yardstick", "yardstick_is", "ratio"}
    assert [set(row) for row in result["rows"]] == [fields, fields]
    # Higher is better, also where the value itself should be low.
    assert [row["ratio"] for row in result["rows"]] == [1.5, 0.5]


def test_the_table_shows_every_row(benchmark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", benchmark]) == 0
    output = capsys.readouterr().out
    assert all(text in output for text in ("a/1", "bytes/s", "1.500", "a copy", "a/memory"))
