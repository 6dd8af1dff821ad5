"""Commands on a disk that is really full: one line with the path, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxylm.cli.main import run as run_command
from small_disk import DISK_BYTES
from small_models import save_small_run

COMMANDS = {
    "export": ("export run --to hf --out {}/made", "made"),
    "report": ("report run --out {}/made.html", "made.html"),
    "prepare": ("prepare --corpus texts --workers 1 --out {}/made", "made/raw-00000.arrow"),
    "compressor": (
        "compressor train tokenizer --corpus texts --vocabulary-size 4096 --out {}/made",
        "made",
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    save_small_run(folder / "run")
    lines = [{"symbols": step, "loss": step * 7919 % 101} for step in range(2000)]
    (folder / "run" / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    (folder / "texts").mkdir()
    numbers = " ".join(str(number * 7919 % 100_003) for number in range(20_000))
    (folder / "texts" / "a.txt").write_text(numbers)
    return folder


@pytest.mark.parametrize(("line", "named"), COMMANDS.values(), ids=COMMANDS)
def test_the_path_is_named_and_nothing_is_left(place, small_disk, monkeypatch, capsys, line, named):
    monkeypatch.chdir(place)
    filling = small_disk / "filling"
    filling.write_bytes(bytes(DISK_BYTES - (16 << 10)))
    assert run_command(line.format(small_disk).split()) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"proxylm: {small_disk}/{named}")
    assert "No space left on device" in error
    left = [path.name for path in small_disk.iterdir() if path != filling]
    assert left == (["made"] if "prepare" in line else [])
