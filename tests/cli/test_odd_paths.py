"""Paths that are not UTF-8: our own files are refused before any work, all others just work."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from proxylm.cli.main import run as run_command
from small_models import save_small_run
from units_store import write_units_store

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="file names must be Unicode there")

ODD = os.fsdecode(b"caf\xe9")

CONFIG = """
data: [{store: store, view: units}]
model: {kind: preset, name: demo}
length: {kind: symbols, symbols: 100_000}
symbols_per_step: 4096
learning_rate: {kind: cosine, peak: 2.0e-3, warmup_steps: 10}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a run, a compressor and texts, and beside each one whose name is not UTF-8."""
    folder = tmp_path_factory.mktemp("place")
    write_units_store(folder / "store")
    save_small_run(folder / "run")
    (folder / "texts").mkdir()
    for name in ("texts/plain.txt", f"texts/{ODD}.txt", f"{ODD}.txt"):
        (folder / name).write_bytes(b"text")
    (folder / "run.yaml").write_text(CONFIG)
    (folder / f"{ODD}.jsonl").write_text('{"text": "text"}\n')
    for name in ("store", "run", "texts", "store/compressors/units"):
        (folder / f"{Path(name).name}-{ODD}").symlink_to(folder / name)
    return folder


REFUSED = {
    "train --out": f"train run.yaml --out {ODD}",
    "train, below": f"train run.yaml --out {ODD}/run",
    "prepare --out": f"prepare --corpus texts --compressor gzip --out {ODD}",
    "prepare --corpus": f"prepare --corpus texts-{ODD} --out new",
    "prepare --compressor": f"prepare --corpus texts --compressor u=units-{ODD} --out new",
    "compressor train": f"compressor train tokenizer --corpus texts --out {ODD}",
    "compressor train neural": f"compressor train neural --corpus texts --out {ODD}",
    "compressor info": f"compressor info units-{ODD}",
    "compress": f"compress --compressor units-{ODD} run.yaml",
    "export": f"export run --to hf --out {ODD}",
    "export RUN": f"export run-{ODD} --to hf --out new",
    "generate RUN": f"generate run-{ODD} --prompt x",
    "serve RUN": f"serve run-{ODD} --port 0",
    "evaluate bpb RUN": f"evaluate bpb run-{ODD} run.yaml",
    "evaluate bpb, records": f"evaluate bpb run {ODD}.jsonl",
    "evaluate bpb --store": f"evaluate bpb run --store store-{ODD} --held-out",
    "views show": f"views show store-{ODD}",
    "demo --out": f"demo --minutes 0.001 --corpus texts --out {ODD}",
    "demo --corpus": f"demo --minutes 0.001 --corpus texts-{ODD} --out new",
    "recipe run --out": f"recipe run table4 --scale micro --pool pool --out {ODD}",
    "recipe run --pool": f"recipe run table4 --scale micro --pool {ODD}",
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_our_own_files_are_refused_before_any_work(place, monkeypatch, capsys, line):
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())
    assert run_command(line.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "UTF-8" in error
    assert r"caf\xe9" in error
    assert "rename" in error and "relative path" in error
    assert sorted(place.iterdir()) == before


WORKS = {
    "a file in a corpus": "prepare --corpus texts --compressor gzip --out {}/store",
    "a file to compress": f"compress --compressor gzip {ODD}.txt",
    "a file to score": f"evaluate bpb run {ODD}.txt texts",
    "a prompt in a file": f"generate run --prompt-file {ODD}.txt --max-new-bytes 2 --json",
    "a prompt": f"generate run --prompt {ODD} --stop {ODD} --max-new-bytes 2 --json",
}


@pytest.mark.parametrize("line", WORKS.values(), ids=WORKS)
def test_what_is_read_as_bytes_may_have_any_name(place, tmp_path, monkeypatch, line):
    monkeypatch.chdir(place)
    assert run_command(line.format(tmp_path).split()) == 0


def test_inside_a_folder_of_any_name_relative_paths_work(tmp_path, monkeypatch, capsys):
    folder = tmp_path / ODD
    folder.mkdir()
    monkeypatch.chdir(folder)
    save_small_run(Path("run"))
    Path("texts").mkdir()
    Path("texts/a.txt").write_bytes(b"text")
    for line in (
        "prepare --corpus texts --compressor gzip --out store",
        "generate run --prompt x --max-new-bytes 2 --json",
        "export run --to hf --out exported",
    ):
        assert run_command(line.split()) == 0, capsys.readouterr().err


def test_a_name_with_a_line_end_starts_no_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    files = {"fine.txt": b"text", "new\nrejected 0.txt": b""}
    Path("corpus").mkdir()
    for name, content in files.items():
        (Path("corpus") / name).write_bytes(content)
    assert run_command(["prepare", "--corpus", "corpus", "--out", "store", "--workers", "1"]) == 0
    assert r"1 empty (first: new\nrejected 0.txt)" in capsys.readouterr().out
    run = Path("a\nb")
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0, "symbols": 1, "seconds": 1.0}\n')
    run_command(["report", str(run), "--out", "report.html"])
    assert "a\nb" not in "".join(capsys.readouterr())
