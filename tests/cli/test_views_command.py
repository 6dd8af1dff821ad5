from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from proxylm.cli.main import run
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.config import CorpusConfig
from proxylm.corpus.opening import open_corpus
from proxylm.data.store.prepare import prepare_store
from proxylm.data.store.store import ViewStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few text files as a store with a view that has anchors and one that has none."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(12):
        lines = [f"line {line} of file {number} costs 3 €\n" for line in range(20 + 9 * number)]
        (folder / f"{number}.txt").write_text("".join(lines), encoding="utf-8")
    out = tmp_path_factory.mktemp("stores") / "store"
    compressors = {name: load_compressor(spec) for name, spec in VIEWS.items()}
    corpus = open_corpus(CorpusConfig(path=str(folder)))
    prepare_store(corpus, compressors, out, workers=1, held_out_fraction=0.0)
    return out


VIEWS = {"units": "units:bits=16", "gz": "gzip"}


def show(capsys: pytest.CaptureFixture[str], store: Path, *options: str) -> dict:
    assert run(["views", "show", str(store), *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_spans_cover_the_context_and_decode(capsys, store: Path):
    half = ("granularity.kind=piece", "rate.kind=constant", "rate.rate=0.5")
    result = show(capsys, store, *half, "--view", "units", "--context", "700")
    spans = result["spans"]
    assert spans[0]["offset"] == 0 and spans[-1]["end"] == 700
    for left, right in pairwise(spans):
        assert left["end"] == right["offset"]
    assert {span["format"] for span in spans} >= {"raw", "compressed"}
    assert all(span["is_decoded"] for span in spans)
    lines = [span for span in spans if "costs 3 €\n" in span["text"]]
    assert {span["format"] for span in lines} == {"raw", "compressed"}
    assert lines[0]["document"].endswith(".txt")
    assert spans[0]["before"][0] == "<bos>"


def test_masked_targets_are_shown_for_every_head(capsys, store: Path):
    options = ("--view", "units", "--context", "512", "--heads", "2", "--contexts-per-step", "4")
    pairs = ("granularity.pairing.kind=always", "rate.kind=constant", "rate.rate=0.5")
    result = show(capsys, store, *pairs, *options)
    for left, right in zip(result["spans"], [*result["spans"][1:], None], strict=True):
        first, second = left["masked_targets"]
        ends_segment = right is None or right["segment_id"] != left["segment_id"]
        if left["format"] == "padding":
            assert first == second == list(range(left["offset"], left["end"]))
        else:
            assert first == ([left["end"] - 1] if ends_segment else [])
            assert set(first) <= set(second)
    assert any(len(span["masked_targets"][1]) > 2 for span in result["spans"])


def test_pairs_of_the_default_mixture(capsys, store: Path):
    result = show(capsys, store, "--view", "units", "--context", "512")
    assert result["statistics"]["rate_asked"] == 0.4
    assert result["statistics"]["pairs"] > 0


def test_symbols_that_cannot_be_decoded_are_shown_by_number(capsys, store: Path):
    result = show(capsys, store, "--view", "gz", "--mixture", "compressed", "--context", "64")
    (span, *_) = result["spans"]
    assert span["format"] == "compressed" and not span["is_decoded"]
    assert re.fullmatch(r"#\d+( #\d+)*", span["text"])


def test_the_readable_form_is_safe_for_a_terminal(capsys, tmp_path: Path):
    (tmp_path / "odd.txt").write_bytes(b"\x1b[31m <raw> \xff\x00\n" * 60)
    corpus = open_corpus(CorpusConfig(path=str(tmp_path / "odd.txt")))
    prepare_store(corpus, {}, tmp_path / "store", workers=1, held_out_fraction=0.0)
    assert run(["views", "show", str(tmp_path / "store"), "--mixture", "bytes"]) == 0
    shown = capsys.readouterr().out
    assert "<bos><raw>" in shown and "∎" in shown
    assert "\x1b" not in shown and "\x00" not in shown
    assert r"\x1b[31m <raw> \xff\x00⏎" in shown


def test_settings_of_ones_own(capsys, store: Path, tmp_path: Path):
    config = tmp_path / "mixing.yaml"
    config.write_text("rate: {kind: constant, rate: 1.0}\ngranularity: {pairing: {kind: none}}\n")
    options = ("--view", "units", "--config", str(config), "--context", "64")
    assert show(capsys, store, "sentinels=false", *options)["spans"][0]["before"] == ["<bos>"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--view", "nothing"], "it has: units, gz"),
        (["--view", "units", "--context", "9"], "at least 16"),
        (["--view", "units", "--context", "9999999"], "longer than the training data"),
        (["--view", "units", "--context", str(10**18)], "--context"),
        (["--view", "units", "--seed", str(10**30)], "--seed"),
        (["--view", "units", "--steps", str(10**18)], "--steps"),
        (["--view", "units", "--contexts-per-step", str(10**18)], "--contexts-per-step"),
        (["--view", "units", "--heads", str(10**18)], "--heads"),
        (["--view", "units", "--step", "1000"], "these are 1000 steps"),
        (["--view", "units", "--context-number", "16"], "16 contexts"),
        (["--view", "units", "overflw=plain"], "did you mean 'overflow'"),
        (["--view", "units", "--mixture", "bytes", "sentinels=false"], "exclude each other"),
        (["--view", "gz"], "pair_overflow to cut"),
        ([], "several views (units, gz)"),
    ],
)
def test_mistakes_are_one_line(capsys, store: Path, options: list[str], message: str):
    assert run(["views", "show", str(store), *options]) in (1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def refused(capsys: pytest.CaptureFixture[str], store: Path) -> str:
    assert run(["views", "show", str(store), "--view", "units", "--mixture", "compressed"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_symbols_that_were_altered_are_not_shown(capsys, store: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    path = copy / "units-00000.arrow"
    content = path.read_bytes()
    symbols = ViewStore.open(store).view("units").columns[0].values.tobytes()
    assert content.count(symbols) == 1
    path.write_bytes(content.replace(symbols, b"\xff" * len(symbols)))
    assert f"{path}: its content is not what was written" in refused(capsys, copy)


def test_a_store_without_its_compressor_says_so(capsys, store: Path, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    shutil.rmtree(copy / "compressors" / "units")
    assert "the compressor of view 'units' is missing" in refused(capsys, copy)
