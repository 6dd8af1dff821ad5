"""Options that the generative evaluations share, and what is made of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.options import Flags
from proxylm.cli.output import note
from proxylm.cli.reading import read_by

if TYPE_CHECKING:
    from proxylm.evaluation.answers.job import GenerationJob
    from proxylm.evaluation.answers.options import GenerationChoices
    from proxylm.evaluation.answers.run import Progress
    from proxylm.evaluation.answers.writers import ProgramWriter, PromptWriter
    from proxylm.evaluation.benchmarks.problem import Benchmark
    from proxylm.generation.byte_model import ByteModel

EVALUATION_FOLDER = "evaluation"

OutOption = Annotated[
    Path | None,
    typer.Option(help="Folder of samples and verdicts; goes on there. (default: in RUN)"),
]

_CHOICES = "proxylm.evaluation.answers.options:GenerationChoices"
_PROBLEMS = "proxylm.evaluation.answers.options:ProblemChoice"
_DRAWING = ("samples=plan.samples", "temperature=plan.temperature", "top_p=plan.top_p")
_AS_BYTES = ("max_new_bytes=plan.budget.max_bytes", "workers")
_AS_TOKENS = ("max_new_tokens=plan.budget.max_symbols",)

PROBLEMS = Flags(_PROBLEMS, ("plus", "data", "limit", "problem=problems"))
PROBLEMS_AT_HAND = Flags(_PROBLEMS, ("limit", "problem=problems"))
GREEDY_AS_BYTES = Flags(_CHOICES, ("execute", "generate", *_AS_BYTES))
GREEDY = Flags(_CHOICES, (*GREEDY_AS_BYTES.names, *_AS_TOKENS))
DRAWN = Flags(_CHOICES, (*GREEDY.names, *_DRAWING, "seed=plan.seed"))
DRAWN_OFTEN = Flags(_CHOICES, (*DRAWN.names, "k=ks"))
WHATEVER_IS_GENERATED = Flags(_CHOICES, tuple(n for n in DRAWN.names if n != "generate"))


def task_names(listed: str) -> list[str]:
    """The tasks of a comma-separated list; a task's file may have commas in its name."""
    from proxylm.files import is_there

    parts, names = listed.split(","), []
    while parts:
        counts = range(len(parts), 1, -1)
        count = next((n for n in counts if is_there(",".join(parts[:n]).strip())), 1)
        names.append(",".join(parts[:count]).strip())
        parts = parts[count:]
    return list(filter(None, names))


def load_for(run: Path, choices: GenerationChoices, device: str) -> ByteModel:
    """The model, once everything else about the command is known to be right.

    Raises:
        SandboxError: execution is asked for and impossible here.
        CheckpointError: the model cannot be loaded.
    """
    from proxylm.evaluation.answers.judging import require_sandbox
    from proxylm.generation.loading import load

    if choices.execute:
        require_sandbox()
    else:
        note("nothing is executed: pass@k and what follows from it need --execute")
    return load(run, device=device)


def evaluation_folder(run: Path) -> Path:
    """Where everything about a run is written, also about one of its checkpoints.

    Checkpoints are removed when newer ones come, with whatever stands in them.
    """
    from proxylm.evaluation.run_data import run_folder

    return run_folder(run) / EVALUATION_FOLDER


def writer_of(model: ByteModel, run: Path, read_as: str, given: str | None) -> PromptWriter:
    """The model read as ``--read-as`` and ``--compressor`` say; see ``read_by``."""
    from proxylm.evaluation.answers.writers import BytesWriter, TokensWriter

    compressor = read_by(model, run, read_as, given)
    return BytesWriter(model) if compressor is None else TokensWriter(model, compressor)


def job_of(
    choices: GenerationChoices,
    writer: ProgramWriter,
    name: str,
    run: Path,
    out: Path | None,
    progress: Progress,
    *,
    base: Path | None = None,
) -> GenerationJob | None:
    """The generation that was asked for; None without one.

    Without --out its folder is named after what the samples depend on, so that a model that was
    trained further, or other draws, never meet old samples. ``base`` is where it stands.
    """
    from proxylm.evaluation.answers.job import DEFAULT_KS, GenerationJob
    from proxylm.evaluation.answers.run import sample_settings
    from proxylm.fingerprint import fingerprint_of

    if not choices.generate:
        return None
    settings = fingerprint_of(sample_settings(writer, choices.plan))
    folder = out or (base or evaluation_folder(run)) / f"{name}-{writer.read_as}-{settings[:8]}"
    note(f"samples{' and verdicts' if choices.execute else ''}: {folder}")
    return GenerationJob(
        plan=choices.plan,
        folder=folder,
        execute=choices.execute,
        ks=choices.ks or DEFAULT_KS,
        workers=choices.workers,
        progress=progress,
    )


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Bars with an estimate on a terminal's stderr; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    from proxylm.evaluation.answers.run import Progress

    class Shown(Progress):
        def generated(self, done: int, total: int) -> None:
            bars.update(generating, completed=done, total=total, visible=True)

        def judged(self, done: int, total: int) -> None:
            bars.update(judging, completed=done, total=total, visible=True)

    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not sys.stderr.isatty()) as bars:
        generating = bars.add_task("completions", total=None, visible=False)
        judging = bars.add_task("programs run", total=None, visible=False)
        yield Shown()


def about_model(model: ByteModel, run: Path) -> dict[str, Any]:
    """Which model was evaluated, by which version of this program; plain values."""
    from proxylm import __version__
    from proxylm.evaluation.answers.writers import weights_fingerprint

    return {
        "proxylm": __version__,
        "run": str(run),
        "checkpoint": model.checkpoint,
        "weights": weights_fingerprint(model.module),
        "compressor": model.compressor_fingerprint,
    }


def about_programs(
    model: ByteModel,
    run: Path,
    choices: GenerationChoices,
    data: Mapping[str, Sequence[Benchmark]],
) -> dict[str, Any]:
    """What a generative evaluation's numbers depend on: the model, data, draws and sandbox.

    ``data`` has all forms of a benchmark's prompts by its name.
    """
    from proxylm.evaluation.benchmarks.problem import data_identity
    from proxylm.sandbox.detection import usable_tier

    return {
        **about_model(model, run),
        "data": {name: data_identity(forms) for name, forms in data.items()},
        "generation": choices.plan.model_dump(mode="json") if choices.generate else None,
        "sandbox": usable_tier() if choices.execute else None,
    }


def report_object(report: Any, about: dict[str, Any]) -> dict[str, Any]:
    """A report as plain JSON values, with what it is about."""
    return {"about": about, **asdict(report)}
