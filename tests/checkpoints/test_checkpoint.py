"""Checkpoints: round trip, every kind of damage, fallback, full disks, kills while writing."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from proxylm.checkpoints import checkpoint as module
from proxylm.checkpoints.checkpoint import (
    Origin,
    TrainingState,
    checkpoint_folders,
    newest_valid,
    open_checkpoint,
    prune,
    save_checkpoint,
    set_aside_after,
    step_of,
)
from proxylm.config import Config
from proxylm.errors import CheckpointError, DamagedFileError

FILES = ["model.safetensors", "optimizer.safetensors", "model.json", "state.json", "manifest.json"]


class Sizes(Config):
    width: int = 4


def save(run: Path, step: int, *, width: int = 16) -> Path:
    weights = torch.arange(width, dtype=torch.float32) + step
    return save_checkpoint(
        run / "checkpoints",
        model_tensors={"w": weights, "transposed": weights.view(4, -1).T},
        optimizer_tensors={"exp_avg.w": weights * 2, "step.w": torch.tensor(float(step))},
        model_config=Sizes(),
        state=TrainingState(step=step, symbols=step * 10, held_out={"raw": 2.5}, threads=2),
        origin=Origin(configuration_hash="c0", data_fingerprint="d0", compressor_fingerprint="f0"),
    )


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path, 100)
    assert path.name == "step-00000100"
    assert sorted(file.name for file in path.iterdir()) == sorted(FILES)
    checkpoint = open_checkpoint(path)
    assert checkpoint.state == TrainingState(
        step=100, symbols=1000, held_out={"raw": 2.5}, threads=2
    )
    assert checkpoint.manifest.origin.compressor_fingerprint == "f0"
    weights = load_file(path / "model.safetensors")
    assert torch.equal(weights["w"], torch.arange(16.0) + 100)
    assert weights["transposed"].shape == (4, 4)
    assert checkpoint.optimizer_tensors(torch.nn.Module())["step.w"] == 100


def test_the_manifest_lists_length_and_hash_of_every_file(tmp_path: Path) -> None:
    import hashlib

    path = save(tmp_path, 1)
    listed = json.loads((path / "manifest.json").read_text())["files"]
    assert sorted(listed) == sorted(FILES[:4])
    for name, entry in listed.items():
        content = (path / name).read_bytes()
        assert entry == {
            "num_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_is_found(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, 3)
    content = (path / name).read_bytes()
    generator = random.Random(name)
    positions = {0, len(content) - 2, *(generator.randrange(len(content)) for _ in range(12))}
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << generator.randrange(8)
        (path / name).write_bytes(damaged)
        if name == "manifest.json" and _same_json(content, bytes(damaged)):
            continue
        with pytest.raises(DamagedFileError, match="step-00000003"):
            open_checkpoint(path)


def _same_json(first: bytes, second: bytes) -> bool:
    try:
        return bool(json.loads(first) == json.loads(second))
    except ValueError:
        return False


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [None, 0, 0.5])
def test_missing_and_truncated_files_are_named(
    tmp_path: Path, name: str, keep: float | None
) -> None:
    path = save(tmp_path, 3)
    content = (path / name).read_bytes()
    if keep is None:
        (path / name).unlink()
    else:
        (path / name).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DamagedFileError, match=name):
        open_checkpoint(path)


def test_a_renamed_checkpoint_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, 3)
    renamed = path.rename(path.with_name("step-00000009"))
    with pytest.raises(DamagedFileError, match="holds step 3"):
        open_checkpoint(renamed)


def test_newest_comes_first_and_names_are_matched_whole(tmp_path: Path) -> None:
    for step in (1, 20, 3):
        save(tmp_path, step)
    for name in ("step-00000099.old", "xstep-00000099", "step-99", ".partial-1-step-00000099"):
        (tmp_path / "checkpoints" / name).mkdir()
    names = [path.name for path in checkpoint_folders(tmp_path / "checkpoints")]
    assert names == ["step-00000020", "step-00000003", "step-00000001"]
    newest = newest_valid(tmp_path)
    assert newest is not None
    assert newest.state.step == 20


def test_a_damaged_newest_falls_back_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    file = save(tmp_path, 2) / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        newest = newest_valid(tmp_path)
    assert newest is not None
    assert newest.state.step == 1
    assert str(file) in caplog.text


def test_if_none_loads_it_stops(tmp_path: Path) -> None:
    assert newest_valid(tmp_path) is None
    for step in (1, 2):
        (save(tmp_path, step) / "state.json").unlink()
    with pytest.raises(CheckpointError, match="none of its 2 checkpoints"):
        newest_valid(tmp_path)


def test_damaged_ones_are_set_aside_not_removed(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    for step in (1, 2):
        save(tmp_path, step)
    for _ in range(2):
        set_aside_after(folder, 1)
        assert sorted(path.name for path in folder.iterdir()) == [
            "damaged-step-00000002",
            "step-00000001",
        ]
    save(tmp_path, 2)
    set_aside_after(folder, 1)
    assert len(list(folder.iterdir())) == 2


def test_pruning_keeps_the_newest(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    prune(tmp_path / "checkpoints", 2)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000005"]


def test_pruning_keeps_milestones(tmp_path: Path) -> None:
    for step in range(1, 8):
        save(tmp_path, step)
        prune(tmp_path / "checkpoints", 2, keep_every_steps=3)
    assert [step_of(path) for path in checkpoint_folders(tmp_path / "checkpoints")] == [7, 6, 3]


def test_a_full_disk_leaves_the_previous_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_json", full)
        with pytest.raises(CheckpointError, match="there is no checkpoint yet: free some space"):
            save(tmp_path, 1)
    save(tmp_path, 1)
    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(CheckpointError, match=r"step-00000002.*No space left") as caught:
        save(tmp_path, 2)
    assert "\n" not in str(caught.value)
    assert "checkpoint step-00000001 is intact: free some space" in str(caught.value)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]
    assert newest_valid(tmp_path) is not None


def test_a_limit_on_file_size_is_one_clear_error(tmp_path: Path) -> None:
    """The tensor writer's own errors are not OSError: seen with a real limit, in a process.

    ``-B``: compiled modules would be written under the limit too, and stay behind cut off.
    """
    save(tmp_path, 1)
    body = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r});"
        "from test_checkpoint import *; from pathlib import Path;"
        f"save(Path({str(tmp_path)!r}), 2, width=100_000)"
    )
    command = [sys.executable, "-B", "-c", body]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last_line = done.stderr.strip().splitlines()[-1]
    assert "CheckpointError" in last_line
    assert "cannot be written" in last_line
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_checkpoint import newest_valid, prune, save
run = Path(sys.argv[2])
newest = newest_valid(run)
step = newest.state.step if newest else 0
print(step, flush=True)
while True:
    step += 1
    save(run, step, width=20_000)
    print(step, flush=True)
    prune(run / "checkpoints", 3)
"""


def kill_writers(run: Path, kills: int, seed: int) -> None:
    """Start a writer, kill it at a random moment, and check what a restart would find."""
    generator = random.Random(seed)
    committed = 0
    for _ in range(kills):
        command = [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert int(writer.stdout.readline()) >= committed
            time.sleep(generator.uniform(0.0, 0.2))
            writer.send_signal(signal.SIGKILL)
            seen = [int(line) for line in writer.stdout.read().split("\n") if line]
        committed = max([committed, *seen])
        newest = newest_valid(run)
        assert (newest.state.step if newest else 0) >= committed
        if newest:
            expected = torch.arange(20_000.0) + newest.state.step
            assert torch.equal(load_file(newest.path / "model.safetensors")["w"], expected)
    assert committed > kills


def test_killed_writers_lose_nothing_committed(tmp_path: Path) -> None:
    kill_writers(tmp_path, 2, seed=0)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_hundred_killed_writers_lose_nothing_committed(tmp_path: Path) -> None:
    kill_writers(tmp_path, 100, seed=1)
