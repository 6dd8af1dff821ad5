"""The demo end to end on a small corpus: every stage runs, and a second call reuses all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from proxylm.cli.main import run as run_command
from proxylm.compressors.neural.coder.settings import CoderSettings
from proxylm.compressors.neural.segmentation.automaton import AutomatonSegmentation
from proxylm.compressors.registry import save_compressor
from proxylm.corpus.split import is_held_out
from proxylm.demo.compressors import BpeDemo, NeuralDemo
from proxylm.demo.settings import DemoSettings
from small_neural import small_compressor, write_corpus

STEPS = 4
MIXTURES = BpeDemo.mixtures
COLUMNS = ["model", "parameters", "symbols", "training FLOPs", "raw bytes", "documents"]
COLUMNS += ["bits/byte as bytes", "as tokens", "seconds"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """Files that are always the same, enough of them that some are held out."""
    return write_corpus(tmp_path_factory.mktemp("sources"), files=300)


def arguments(sources: Path, out: Path) -> list[str]:
    minutes = STEPS * DemoSettings().symbols_per_step * 9 / 1_000_000
    return ["demo", "--minutes", str(minutes), "--corpus", str(sources), "--out", str(out)]


@pytest.fixture(scope="module")
def finished(sources, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "out"
    assert run_command(arguments(sources, out)) == 0
    return out


def test_four_models_saw_the_same_number_of_symbols(finished):
    result = json.loads((finished / "demo.json").read_text())
    rows = {row["model"]: row for row in result["rows"]}
    assert list(rows) == list(MIXTURES)
    assert {row["symbols"] for row in rows.values()} == {STEPS * DemoSettings().symbols_per_step}
    assert rows["bytes"]["bits_per_byte_as_tokens"] is None
    assert rows["tokens"]["bits_per_byte_as_bytes"] is None
    for name in ("proxy", "proxy-pieces"):
        # After four steps hardly better than a guess among all symbols: log2 4416 is 12.1.
        assert 0 < rows[name]["bits_per_byte_as_tokens"] < 12.1
        assert 0 < rows[name]["bits_per_byte_as_bytes"] < 12.1
    # A token stands for several bytes: the tokens model saw the most text, the byte model least.
    shown = [rows[name]["raw_bytes"] for name in ("bytes", "proxy", "tokens")]
    assert shown == sorted(shown)
    assert rows["bytes"]["parameters"] < rows["proxy"]["parameters"]


def test_the_report_shows_every_model_and_the_table(finished):
    page = (finished / "report.html").read_text()
    for name in [*MIXTURES, *COLUMNS]:
        assert name in page
    for view in ("raw", "compressed"):
        assert f'"title": "Held-out bits per byte, read as {view}"' in page
    assert not re.search(r'(src|href)="http', page)


def test_the_prompt_is_a_held_out_document(finished, sources):
    result = json.loads((finished / "demo.json").read_text())
    documents = [path.read_text() for path in sources.iterdir()]
    assert any(document.startswith(result["prompt"]) for document in documents)
    assert 0 < len(result["completion"]) <= 200


def test_again_reuses_what_is_there(finished, sources, capsys):
    checkpoints = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    first = json.loads((finished / "demo.json").read_text())
    assert run_command([*arguments(sources, finished), "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == (
        checkpoints
    )
    assert second["rows"] == first["rows"]
    assert second["completion"] == first["completion"]


@pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
def test_impossible_minutes_are_refused(tmp_path, capsys, minutes):
    assert run_command(["demo", "--minutes", minutes, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("proxylm: demo: --minutes: ")


@pytest.fixture
def few_sources(sources, tmp_path) -> Path:
    """Twenty files and one that is held out."""
    raws = [path.read_bytes() for path in sorted(sources.iterdir())]
    kept = [raw for raw in raws if not is_held_out(raw)][:20]
    held_out = min((raw for raw in raws if is_held_out(raw)), key=len)
    folder = tmp_path / "few"
    folder.mkdir()
    for number, raw in enumerate([*kept, held_out]):
        (folder / f"{number:03}.py").write_bytes(raw)
    return folder


def test_the_neural_compressor_has_no_reading_as_tokens(few_sources, tmp_path, capsys):
    out = tmp_path / "demo"
    # The demo goes on from a compressor that is there: training one is tested elsewhere.
    compressor = small_compressor(AutomatonSegmentation(), CoderSettings(pack_bits=8))
    save_compressor(compressor, out / "compressors" / "neural")
    command = [*arguments(few_sources, out), "--compressor", "neural"]
    assert run_command(command) == 0
    shown = capsys.readouterr().out
    assert "as bytes" in shown and "as tokens" not in shown
    result = json.loads((out / "demo.json").read_text())
    assert [row["model"] for row in result["rows"]] == list(NeuralDemo.mixtures)
    assert all(0 < row["bits_per_byte_as_bytes"] < 12.1 for row in result["rows"])
    assert result["bytes_per_symbol"] > 0.9
    page = (out / "report.html").read_text()
    assert "bytes per symbol" in page and "as tokens" not in page


def test_a_corpus_without_held_out_documents_is_refused_before_the_work(tmp_path, capsys):
    (tmp_path / "one.txt").write_text("a single document")
    out = tmp_path / "out"
    assert run_command(["demo", "--corpus", str(tmp_path / "one.txt"), "--out", str(out)]) == 1
    assert "one.txt: its held-out part has no documents" in capsys.readouterr().err
    assert not out.exists()
