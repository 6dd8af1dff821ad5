"""``proxylm analyze`` and what ``compressor info`` adds for neural compressors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chain_compressor import DOCUMENTS, chain_compressor
from proxylm.cli import output
from proxylm.cli.main import run
from proxylm.compressors.registry import save_compressor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus and two saved compressors, one without an automaton."""
    folder = tmp_path_factory.mktemp("analyze")
    (folder / "corpus").mkdir()
    for number, document in enumerate(DOCUMENTS):
        (folder / "corpus" / f"{number}.txt").write_bytes(document)
    save_compressor(chain_compressor(), folder / "neural")
    without = chain_compressor("fixed", window_bits=None, pack_bits=8)
    save_compressor(without, folder / "without")
    return folder


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert run([*map(str, arguments), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = run([*map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return status, line


def whole(folder: Path) -> tuple[object, ...]:
    return ("--corpus", folder / "corpus", "--held-out", 1)


def test_collisions_of_windows_and_segments(folder, capsys):
    result = run_json(
        capsys, "analyze", "collisions", folder / "neural", *whole(folder), "--shown", 2
    )
    assert result["windows"]["of"] == "windows"
    assert result["windows"]["strings"] == len(chain_compressor().automaton) - 1
    assert len(result["windows"]["largest"]) == 2
    assert result["segments"]["strings"] >= result["segments"]["codes"] > 0
    assert result["corpus"]["documents"] == len(DOCUMENTS) - 1  # the empty one is skipped
    for kind in ("windows", "segments"):
        assert len(result[kind]["lowest_lcp"]) <= 2 and len(result[kind]["highest_lcp"]) <= 2
        assert sum(result[kind]["variants_histogram"].values()) == result[kind]["clusters"]
        assert result[kind]["high_lcp"]["paper"]["strings"] == "segments"


def test_what_is_left_out_is_told_with_the_option_that_helps(folder, capsys):
    limit = max(map(len, DOCUMENTS)) - 1
    command = ("analyze", "collisions", folder / "neural", *whole(folder))
    assert run([*map(str, command), "--max-document-bytes", str(limit), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["corpus"]["left_out"] == {"empty": 1, "too_long": 1}
    assert captured.err.startswith("documents left out: 1 empty (first: ")
    assert "raise max_document_bytes (--max-document-bytes)" in captured.err


def test_without_a_corpus_there_are_windows_alone(folder, capsys):
    result = run_json(capsys, "analyze", "collisions", folder / "neural")
    assert "windows" in result and "segments" not in result


def test_collisions_as_text_name_the_paper_s_share_and_its_strings(folder, capsys):
    assert run(["analyze", "collisions", str(folder / "neural"), *map(str, whole(folder))]) == 0
    shown = capsys.readouterr().out
    assert "windows: " in shown and "segments: " in shown
    assert "(paper, segments: over 0.9)" in shown
    assert "mean and standard deviation over these codes: variants " in shown
    assert "codes by their number of variants: 2: " in shown
    for title in ("most variants", "lowest LCP ratios", "highest LCP ratios"):
        assert f"\n{title} " in shown


def test_info_of_a_neural_compressor(folder, capsys):
    command = ("compressor", "info", folder / "neural", *whole(folder))
    result = run_json(capsys, *command, "--symbol", 0, "--shown", 3)
    assert result["kind"] == "neural"
    assert result["automaton"]["nodes"] == result["nodes"]
    assert 0 < result["automaton"]["distinct_codes"] < result["nodes"]
    corpus = result["corpus"]
    assert corpus["bytes_per_symbol"] == corpus["num_bytes"] / corpus["symbols"]
    assert sum(corpus["bytes_per_symbol_histogram"].values()) == corpus["symbols"]
    assert corpus["bits_per_byte"] > 0
    assert corpus["collisions"]["of"] == "segments"
    assert result["strings_behind"]["symbol"] == 0
    assert run([*map(str, command), "--symbol", "0", "--shown", "3"]) == 0
    assert "windows with symbol 0" in capsys.readouterr().out


def test_without_an_automaton_info_looks_through_the_corpus(folder, capsys):
    command = ("compressor", "info", folder / "without")
    assert run_json(capsys, *command)["automaton"] == {}
    behind = run_json(capsys, *command, *whole(folder), "--symbol", 7)["strings_behind"]
    assert behind["of"] == "segments"
    status, line = failure(capsys, *command, "--symbol", 7)
    assert (status, "give a --corpus" in line) == (2, True)


def test_what_is_wrong_is_one_line(folder, capsys):
    status, line = failure(capsys, "analyze", "collisions", "gzip")
    assert (status, "no windows or segments" in line) == (2, True)
    status, line = failure(capsys, "analyze", "collisions", folder / "without")
    assert (status, "give a --corpus" in line) == (2, True)
    status, line = failure(capsys, "compressor", "info", "gzip", "--symbol", 3)
    assert (status, "only neural compressors" in line) == (2, True)
    status, line = failure(capsys, "compressor", "info", folder / "neural", "--symbol", 65536)
    assert (status, "symbols are 0 to 65535" in line) == (2, True)


def test_help_has_an_example(capsys):
    assert run(["analyze", "collisions", "--help"]) == 0
    assert "Example: proxylm analyze collisions" in " ".join(capsys.readouterr().out.split())


def test_stability_of_several_compressors(folder, tmp_path, capsys):
    names = ["gzip", "units:bits=4", str(folder / "neural")]
    options = ("--corpus", folder / "corpus", "--samples", 40, "--picture", tmp_path / "a.svg")
    result = run_json(capsys, "analyze", "stability", *names, *options)
    assert [one["compressor"] for one in result["compressors"]] == names
    assert result["settings"] == {"samples": 40, "deleted": 0.1, "slice_bytes": 1024, "seed": 0}
    for one in result["compressors"]:
        assert one["samples"] == sum(one["histogram"]) == 40
        assert one["quantiles"]["0.05"] <= one["mean"] <= one["quantiles"]["0.95"]
    picture = (tmp_path / "a.svg").read_text(encoding="utf-8")
    mean = result["compressors"][1]["mean"]
    assert picture.startswith("<svg") and f"units:bits=4 ({mean:.2f})" in picture


def test_stability_as_text_shows_progress_on_stderr(folder, capsys, monkeypatch):
    monkeypatch.setattr(output, "SECONDS_BEFORE_LINES", 0.0)
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", 0.0)
    command = ["analyze", "stability", "gzip", "--corpus", str(folder / "corpus")]
    assert run([*command, "--samples", "10"]) == 0
    captured = capsys.readouterr()
    heads, _, row = captured.out.splitlines()
    assert heads.split()[:3] == ["distance", "mean", "std"]
    assert row.split()[0] == "gzip" and row.split()[-2:] == ["10", "0"]
    assert "samples: 10 of 10" in captured.err
    status, line = failure(capsys, *command, "--deleted", "1")
    assert (status, "--deleted" in line) == (2, True)
