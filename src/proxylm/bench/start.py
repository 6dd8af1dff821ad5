"""``proxylm bench start``: seconds until a command of a new process has something to show.

Whole processes, as a user starts them: ``generate`` from its start to its end, with one new byte;
``serve`` until it says where it listens; ``--help``. Files were read before (the first round does
not count), memory is empty. The limit of all that computes is a process that imports torch and
nothing else, that of the help one that imports typer. The model is small, with random weights: a
larger one takes as much longer as its weights take to be read.

``generate-first`` is the first run of an installation: kernels are compiled then, and kept. They
cannot be shipped, since they are made for the processor and checked against the files' dates.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from proxylm.bench.generate import endless_model
from proxylm.bench.report import BenchmarkRow, alternate
from proxylm.checkpoints.saving import save
from proxylm.models.config import EvaAttention
from proxylm.models.presets import preset
from proxylm.progress import TellCount, stage, untold

SMALL_SIZE = preset(
    "demo",
    vocabulary_size=1344,
    layers=5,
    width=192,
    ffn=512,
    context=2048,
    attention=EvaAttention(window=512, chunk=8),
    softmax="by_format",
)
"""2.7M parameters: a proxy model as an hour on two cores trains it."""

PROMPT = "def area("
REPEATS = 3

_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
_KERNELS = "NUMBA_CACHE_DIR"


def run_start_benchmark(
    *, repeats: int = REPEATS, progress: TellCount = untold
) -> list[BenchmarkRow]:
    """Seconds of new processes, each beside its limit.

    Args:
        repeats: timings per case, of which the median counts.
        progress: hears that processes are started.
    """
    with TemporaryDirectory() as place:
        model = str(Path(place, "model"))
        save(endless_model(SMALL_SIZE).module, model)
        command = ["generate", model, "--prompt", PROMPT, "--max-new-bytes", "1"]
        actions = {
            "generate": partial(_finish, command),
            "generate-first": partial(_finish_first, command),
            "serve": partial(_until_it_listens, model),
            "help": partial(_finish, ["--help"]),
        }
        with stage("processes", progress):
            *ours, torch_alone, typer_alone = alternate(
                *actions.values(),
                partial(_python, "import torch"),
                partial(_python, "import typer"),
                repeats=repeats,
            )
    limits = {
        name: (typer_alone, "a process that imports typer alone")
        if name == "help"
        else (torch_alone, "a process that imports torch alone")
        for name in actions
    }
    return [
        BenchmarkRow(f"start/{name}", seconds, "s", *limits[name], lower_is_better=True)
        for name, seconds in zip(actions, ours, strict=True)
    ]


def _finish(arguments: list[str], added: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "proxylm", *arguments]
    environment = _environment() | dict(added or {})
    written = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    assert written, "it has something to show"


def _finish_first(arguments: list[str]) -> None:
    with TemporaryDirectory() as empty:
        _finish(arguments, {_KERNELS: empty})


def _until_it_listens(model: str) -> None:
    command = [sys.executable, "-m", "proxylm", "serve", model, "--port", "0"]
    with subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
    assert said, "the server did not start"


def _python(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], env=_environment(), check=True)


def _environment() -> dict[str, str]:
    """That of this process, but bytecode is kept: of an installed package it is there."""
    return {name: value for name, value in os.environ.items() if name != _NO_BYTECODE}
