"""The commands of docs/cluster.md that need no GPU, and the example for Slurm, word for word."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from documents import ROOT, blocks, run_shell
from proxylm.checkpoints.checkpoint import newest_valid

STUBS = {
    "scontrol": 'echo "localhost"\n',
    "srun": 'exec "$@"\n',
}
"""Slurm's programs, as far as the example asks for them: one machine, this one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the configuration ``tiny`` finds its store."""
    folder = tmp_path_factory.mktemp("cluster")
    shutil.copytree(ROOT / "src" / "proxylm" / "corpus", folder / "sources")
    shutil.copy(ROOT / "README.md", folder)
    tokenizer = "--corpus sources --vocabulary-size 512 --out bpe"
    run_shell(f"proxylm compressor train tokenizer {tokenizer}", folder)
    views = "--corpus sources --compressor bpe=bpe --out views/stdlib"
    run_shell(f"proxylm prepare {views}", folder)
    return folder


@pytest.mark.long
def test_training_on_several_ranks(folder: Path) -> None:
    (commands,) = blocks("docs/cluster.md", "sh", section="Training on several ranks")
    assert "bits per byte" in run_shell(commands, folder)
    checkpoint = newest_valid(folder / "runs" / "tiny")
    assert checkpoint is not None
    assert checkpoint.is_sharded
    assert checkpoint.state.step == 12


@pytest.mark.long
def test_the_job_for_slurm(folder: Path) -> None:
    stubs = folder / "stubs"
    stubs.mkdir()
    for name, script in STUBS.items():
        (stubs / name).write_text(f"#!/bin/bash\n{script}")
        (stubs / name).chmod(0o755)
    job = {
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_JOB_ID": "17",
        "RANKS_PER_MACHINE": "2",
    }
    train = f"{ROOT / 'examples' / 'slurm_train.sh'} tiny length.symbols=98_304 --out runs/slurm"
    output = run_shell(f"PATH={stubs}:$PATH {train}", folder, **job)
    assert "12 steps" in output
    lock = (folder / "runs" / "slurm" / ".lock").read_text()
    assert "job 17" in lock


def test_the_job_is_a_script_that_bash_reads() -> None:
    subprocess.run(["bash", "-n", ROOT / "examples" / "slurm_train.sh"], check=True)
    assert os.access(ROOT / "examples" / "slurm_train.sh", os.X_OK)
