"""The commands and the Python of docs/decoding.md, word for word, on a small model."""

from __future__ import annotations

import contextlib
import io
import shlex
from pathlib import Path

import pytest
import yaml

from documents import blocks, run_shell
from proxylm.cli.main import run
from proxylm.compressors.registry import save_compressor
from small_models import save_small_run
from units_store import units, write_units_store

SECTION = "How to use it"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``runs/mine`` with several heads, its store, and the compressor of both."""
    compressor = units(8)
    save_small_run(
        tmp_path / "runs/mine",
        seed=6,
        sharpness=8,
        raw_prediction_heads=3,
        compressor_fingerprint=compressor.fingerprint,
    )
    save_compressor(compressor, tmp_path / "compressors/bpe")
    store = write_units_store(tmp_path / "views/mine")
    config = {"data": [{"store": str(store.folder), "view": "units"}]}
    (tmp_path / "runs/mine/config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def test_the_commands_work_word_for_word(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (script,) = blocks("docs/decoding.md", "sh", section=SECTION)
    monkeypatch.chdir(folder)
    commands = 0
    for line in script.splitlines():
        if line.startswith("proxylm "):  # in this process: starting each anew takes longer
            assert run(shlex.split(line)[1:]) == 0, line
            assert capfdbinary.readouterr().out, line
            commands += 1
        else:
            run_shell(line, folder)
    assert commands >= 5


def test_the_python_works_word_for_word(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("docs/decoding.md", "python", section=SECTION)
    monkeypatch.chdir(folder)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "docs/decoding.md", "exec"), {})
    printed = shown.getvalue().splitlines()
    assert len(printed) == 4
    assert printed[2].strip("b'").isdigit()
