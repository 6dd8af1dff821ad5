"""``proxylm compressor`` and ``proxylm compress``: what they print, write and refuse."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxylm.cli.main import run
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.split import is_held_out

WORDS = ("alpha", "beta", "gamma", "delta")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(120):
        line = f"{number} {WORDS[number % 4]} {WORDS[number % 3]} radius = {number}\n"
        (folder / f"{number:03}.txt").write_text(line * 20)
    return folder


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    status = run([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    (line,) = captured.out.splitlines()
    return json.loads(line)


def run_failing(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    status = run([*map(str, arguments)])
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [one for one in captured.err.splitlines() if one.startswith("proxylm: ")]
    return status, line


def train(capsys: pytest.CaptureFixture[str], corpus: Path, out: Path, *more: object) -> dict:
    sizes = ("--vocabulary-size", 300)
    command = ("compressor", "train", "tokenizer", "--corpus", corpus, "--out", out)
    return run_json(capsys, *command, *sizes, *more)


@pytest.mark.parametrize("kind", ["default", "line", "superbpe"])
def test_a_tokenizer_is_trained_saved_described_and_used(tmp_path, capsys, corpus, kind):
    out = tmp_path / "deep" / "bpe"
    facts = train(capsys, corpus, out, "--pre-tokenization", kind)
    assert facts["path"] == str(out)
    assert (facts["kind"], facts["symbol_count"], facts["library"]) == (
        "tokenizer",
        300,
        "tiktoken",
    )
    saved = load_compressor(out)
    assert saved.fingerprint == facts["fingerprint"]

    info = run_json(capsys, "compressor", "info", out, "--corpus", corpus, "--held-out", 0.3)
    measured = info["corpus"]
    held_out = [raw for raw in read_all(corpus) if is_held_out(raw, 0.3)]
    assert measured["documents"] == len(held_out) > 5
    assert measured["num_bytes"] == sum(map(len, held_out))
    assert measured["symbols"] == sum(map(len, saved.compress(held_out)))
    assert measured["bytes_per_symbol"] == measured["num_bytes"] / measured["symbols"] > 2

    file = corpus / "000.txt"
    result = run_json(capsys, "compress", "--compressor", out, file)
    assert result["symbols"] == saved.compress([file.read_bytes()])[0].tolist()
    assert result["num_bytes"] == file.stat().st_size
    assert result["bytes_per_symbol"] == result["num_bytes"] / len(result["symbols"])
    assert result["fingerprint"] == saved.fingerprint


def read_all(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def test_only_the_training_part_is_seen(tmp_path, capsys, corpus):
    """Held-out documents must not change what is learned."""
    facts = train(capsys, corpus, tmp_path / "one", "--held-out", 0.3)
    changed = 0
    for path in sorted(corpus.iterdir()):
        number = 0
        if is_held_out(path.read_bytes(), 0.3):
            while not is_held_out(b"never seen in training %d " % number * 50, 0.3):
                number += 1
            path.write_bytes(b"never seen in training %d " % number * 50)
            changed += 1
    assert changed > 5
    assert (
        train(capsys, corpus, tmp_path / "two", "--held-out", 0.3)["fingerprint"]
        == (facts["fingerprint"])
    )
    assert (
        train(capsys, corpus, tmp_path / "three", "--held-out", 0)["fingerprint"]
        != (facts["fingerprint"])
    )


def test_a_sample_trains_on_less(tmp_path, capsys, corpus):
    whole = train(capsys, corpus, tmp_path / "one")
    sampled = train(capsys, corpus, tmp_path / "two", "--sample-bytes", 8000)
    assert sampled["fingerprint"] != whole["fingerprint"]


@pytest.mark.parametrize("options", [("fixed",), ("gray", "--double-byte"), ("huffman",)])
def test_token_bytes_are_made_from_a_tokenizer(tmp_path, capsys, corpus, options):
    train(capsys, corpus, tmp_path / "bpe")
    out = tmp_path / "bytes"
    command = ("compressor", "train", "token-bytes", "--tokenizer", tmp_path / "bpe")
    facts = run_json(capsys, *command, "--corpus", corpus, "--out", out, "--encoding", *options)
    assert facts["settings"] == {"encoding": options[0], "double_byte": len(options) > 1}
    raw = b"alpha radius = 7\n\xff"
    loaded = load_compressor(out)
    assert loaded.decompress(loaded.compress([raw])) == [raw]


def test_symbols_are_printed_one_a_line(tmp_path, capsys, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"a\xff")
    assert run(["compress", "--compressor", "units:bits=4", str(file)]) == 0
    assert capsys.readouterr().out == "6\n1\n15\n15\n"

    class Input:
        buffer = file.open("rb")

    monkeypatch.setattr("sys.stdin", Input)
    assert run(["compress", "--compressor", "units", "-"]) == 0
    assert capsys.readouterr().out == "97\n255\n"
    Input.buffer.close()


def test_an_empty_file_has_no_rate(tmp_path, capsys):
    (tmp_path / "empty").write_bytes(b"")
    result = run_json(capsys, "compress", "--compressor", "units", tmp_path / "empty")
    assert (result["symbols"], result["bytes_per_symbol"]) == ([], None)


def test_info_is_readable_and_counts_what_cannot_be_said(tmp_path, capsys, corpus):
    assert run(["compressor", "info", "gzip", "--corpus", str(corpus), "--held-out", "1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"symbol_count +256\n", shown)
    assert re.search(r"settings\.level +9\n", shown)
    assert re.search(r"corpus\.documents +120\n", shown)
    packed = sum(len(gzip.compress(raw, mtime=0)) for raw in read_all(corpus))
    assert re.search(rf"corpus\.symbols +{packed}\n", shown)


FAILURES = [
    (("info", "gzipp"), 2, "no such folder or file"),
    (("info", "units:bits=5"), 2, "bits"),
    (("info", "gzip", "--corpus", "/nowhere"), 1, "/nowhere: no such file or folder"),
    (
        ("info", "gzip", "--corpus", "{corpus}", "--held-out", 0),
        1,
        "its held-out part has no documents",
    ),
    (("train", "tokenizer", "--corpus", "{corpus}", "--out", "{corpus}"), 2, "exists already"),
    (("train", "tokenizer", "--corpus", "{corpus}"), 2, "--out"),
    (
        ("train", "tokenizer", "--corpus", "{corpus}", "--out", "{out}", "--algorithm", "x"),
        2,
        "bpe, unigram",
    ),
    (
        ("train", "tokenizer", "--corpus", "{corpus}", "--out", "{out}", "--held-out", 1),
        1,
        "no documents",
    ),
    (
        ("train", "tokenizer", "--corpus", "{corpus}", "--out", "{out}", "--held-out", "nan"),
        2,
        "held-out fraction nan",
    ),
    (("info", "gzip", "--corpus", "{corpus}", "--held-out", 2), 2, "held-out fraction 2.0"),
    (("train", "token-bytes", "--tokenizer", "gzip", "--out", "{out}"), 2, "not a tokenizer"),
    (("train", "nothing"), 2, "nothing"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), FAILURES)
def test_what_is_wrong_is_one_line(tmp_path, capsys, corpus, arguments, status, message):
    places = {"{corpus}": corpus, "{out}": tmp_path / "out"}
    given = [places.get(argument, argument) for argument in arguments]
    found, line = run_failing(capsys, "compressor", *given)
    assert (found, message in line) == (status, True), line
    assert not (tmp_path / "out").exists()


def test_huffman_asks_for_a_corpus(tmp_path, capsys, corpus):
    train(capsys, corpus, tmp_path / "bpe")
    command = ("compressor", "train", "token-bytes", "--encoding", "huffman")
    status, line = run_failing(
        capsys, *command, "--tokenizer", tmp_path / "bpe", "--out", tmp_path / "out"
    )
    assert (status, "give a --corpus" in line) == (2, True)


def test_compressing_what_is_not_there_or_cannot_be_said(tmp_path, capsys):
    status, line = run_failing(capsys, "compress", "--compressor", "gzip", tmp_path / "none")
    assert status == 1 and "none: No such file" in line


TRAIN = ("compressor", "train")
READERS = [
    (*TRAIN, "tokenizer", "--out", "{out}"),
    (*TRAIN, "token-bytes", "--encoding", "huffman", "--tokenizer", "{bpe}", "--out", "{out}"),
    (*TRAIN, "neural", "--out", "{out}", "--device", "cpu"),
    ("compressor", "info", "gzip", "--held-out", "1"),
    ("demo", "--out", "{out}"),
    ("demo", "--out", "{out}", "--compressor", "neural"),
    ("prepare", "--out", "{out}", "--workers", "1"),
]


@pytest.fixture(scope="module")
def bpe(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text").write_text("some words, some words")
    out = folder / "bpe"
    command = [*TRAIN, "tokenizer", "--corpus", folder / "text", "--held-out", "0", "--out", out]
    assert run([*map(str, command)]) == 0
    return out


@pytest.mark.parametrize("command", READERS, ids=lambda command: " ".join(command[:3]))
def test_who_reads_a_corpus_says_why_there_is_nothing_in_it(tmp_path, capsys, bpe, command):
    source = tmp_path / "source"
    source.mkdir()
    with (source / "dump.txt").open("wb") as stream:
        stream.truncate((16 << 20) + 1)
    places = {"{out}": tmp_path / "out", "{bpe}": bpe}
    given = [places.get(argument, argument) for argument in command]
    status, line = run_failing(capsys, *given, "--corpus", source)
    reason = "1 too_long (first: dump.txt: 16777217 bytes): raise max_document_bytes"
    assert (status, f"{reason} (--max-document-bytes)" in line) == (1, True), line
    assert not (tmp_path / "out" / "manifest.json").exists()
    # The options that the messages name are there.
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"body": "x"}\n{"body": "y"}')
    options = ("--corpus", lines, "--text-field", "body", "--max-document-bytes", 12)
    status, line = run_failing(capsys, *given, *options)
    assert (status, "left out: 2 too_long (first: a.jsonl:1: 13 bytes)" in line) == (1, True), line


@pytest.mark.parametrize("command", [READERS[0], READERS[1], READERS[3]], ids=lambda c: c[-1])
def test_what_is_left_out_is_told_beside_the_result(tmp_path, capsys, bpe, command):
    lines = [json.dumps({"text": f"text {number} " * 9}) for number in range(400)]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "[]", '{"body": 1}', '{"text": ""}']))
    places = {"{out}": tmp_path / "out", "{bpe}": bpe}
    given = [str(places.get(argument, argument)) for argument in command]
    assert run([*given, "--corpus", str(tmp_path / "a.jsonl"), "--json"]) == 0
    captured = capsys.readouterr()
    counts = {"empty": 1, "invalid_json": 1, "missing_text": 1}
    facts = json.loads(captured.out)
    assert facts.get("corpus", facts)["left_out"] == counts
    (line,) = [one for one in captured.err.splitlines() if one.startswith("documents left out")]
    assert "1 invalid_json (first: a.jsonl:401: not an object): each line has to be" in line
    assert "1 missing_text (first: a.jsonl:402: there are: 'body')" in line


def test_a_vocabulary_that_is_not_reached_and_a_sample_of_nothing_are_told(tmp_path, capsys):
    (tmp_path / "text").write_text("too little to learn from " * 40)
    corpus = ("--corpus", tmp_path / "text", "--held-out", 0, "--out", tmp_path / "out")
    command = [*TRAIN, "tokenizer", *corpus, "--vocabulary-size", 2048]
    status, line = run_failing(capsys, *command, "--sample-bytes", 1)
    assert (status, line.endswith("raise sample_bytes (--sample-bytes)")) == (
        1,
        True,
    )
    assert run([*map(str, command)]) == 0
    assert "a vocabulary of 2048 was asked for and 2" in capsys.readouterr().err


def test_text_that_is_not_utf8_is_told(tmp_path, capsys):
    (tmp_path / "latin").write_bytes(b"caf\xe9 " * 40)
    corpus = ("--corpus", tmp_path / "latin", "--held-out", 0, "--out", tmp_path / "out")
    assert run([*map(str, (*TRAIN, "tokenizer", *corpus))]) == 0
    assert "documents with bytes that are not UTF-8: 1 (first: latin)" in capsys.readouterr().err
    (tmp_path / "latin").write_bytes(b"\xe9" * 40)
    corpus = (*corpus[:-1], tmp_path / "unigram", "--algorithm", "unigram")
    status, line = run_failing(capsys, *TRAIN, "tokenizer", *corpus)
    assert (status, "unigram: the training text has no characters" in line) == (1, True), line


@pytest.mark.parametrize(
    "command",
    [
        ("compress",),
        ("compressor", "info"),
        ("compressor", "train", "tokenizer"),
        ("compressor", "train", "token-bytes"),
    ],
)
def test_help_has_an_example(capsys, command):
    assert run([*command, "--help"]) == 0
    assert f"Example: proxylm {' '.join(command)}" in " ".join(capsys.readouterr().out.split())
