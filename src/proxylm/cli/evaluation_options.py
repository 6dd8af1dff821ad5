"""Options that the generative evaluations share, and what is made of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from proxylm.cli.output import note

if TYPE_CHECKING:
    from proxylm.compressors.contract import Compressor
    from proxylm.evaluation.answers.options import SamplingPlan
    from proxylm.evaluation.answers.run import Answering, AnswersProgress
    from proxylm.evaluation.answers.writers import ProgramWriter, PromptWriter
    from proxylm.evaluation.benchmarks.problem import Benchmark
    from proxylm.generation.byte_model import ByteModel

EVALUATION_FOLDER = "evaluation"

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder, checkpoint, or EvaByte folder.")
]
ReadAsOption = Annotated[str, typer.Option(help="bytes, or tokens (a tokenizer proxy's).")]
CompressorOption = Annotated[
    str | None, typer.Option(help="The model's compressor. (default: its training data's)")
]
ExecuteOption = Annotated[
    bool, typer.Option("--execute", help="Run the generated programs, in the sandbox, for pass@k.")
]
GenerateOption = Annotated[
    bool, typer.Option(help="Without: likelihood forms alone, nothing is generated.")
]
SamplesOption = Annotated[int, typer.Option(help="Completions per prompt.")]
TemperatureOption = Annotated[float, typer.Option(help="0 is greedy.")]
TopPOption = Annotated[float, typer.Option(help="Draw from the most probable this much.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same completions.")]
KOption = Annotated[
    list[int] | None, typer.Option("--k", help="The k of pass@k, repeatedly. (default: 1 and 10)")
]
MaxBytesOption = Annotated[int, typer.Option(help="Most bytes of a completion.")]
MaxTokensOption = Annotated[int, typer.Option(help="Most symbols of one that is read as tokens.")]
LimitOption = Annotated[int | None, typer.Option(help="Only the first so many problems.")]
ProblemOption = Annotated[
    list[str] | None, typer.Option("--problem", help="Only this problem; may be given repeatedly.")
]
OutOption = Annotated[
    Path | None,
    typer.Option(help="Folder of samples and verdicts; goes on there. (default: in RUN)"),
]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Programs run at the same time. (default: the cores)")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@dataclass(frozen=True, kw_only=True)
class GenerationChoices:
    """What the options say about generating; plain values, validated when used."""

    generate: bool
    execute: bool
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    ks: list[int] | None = None
    max_new_bytes: int = 2048
    max_new_tokens: int = 512
    workers: int | None = None

    def plan(self) -> SamplingPlan:
        """How completions are drawn.

        Raises:
            UsageError: a value is out of its range; the message names it.
        """
        from proxylm.config import validate_config
        from proxylm.evaluation.answers.options import SamplingPlan

        values = {
            "samples": self.samples,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "budget": {"max_symbols": self.max_new_tokens, "max_bytes": self.max_new_bytes},
        }
        return validate_config(SamplingPlan, values, origin="generation")

    def check(self) -> None:
        """Refuse what cannot be done before a model is loaded or anything generated.

        Raises:
            UsageError: an option is wrong, or execution is asked for without completions.
            SandboxError: execution is asked for and impossible here.
        """
        from proxylm.errors import UsageError
        from proxylm.evaluation.answers.judging import require_sandbox

        plan = self.plan()
        for k in self.ks or ():
            if not 1 <= k <= plan.samples:
                raise UsageError(f"--k {k}: must be between 1 and --samples {plan.samples}")
        if self.execute and not self.generate:
            raise UsageError("--execute needs completions: leave --no-generate out")
        if self.execute:
            require_sandbox()


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
    """The model, once everything else about the command is known to be right."""
    from proxylm.generation.loading import load

    choices.check()
    if not choices.execute:
        note("nothing is executed: pass@k and what follows from it need --execute")
    return load(run, device=device)


def evaluation_folder(run: Path) -> Path:
    """Where everything about a run is written, also about one of its checkpoints.

    Checkpoints are removed when newer ones come, with whatever stands in them.
    """
    from proxylm.checkpoints.run_data import run_folder

    return run_folder(run) / EVALUATION_FOLDER


def compressor_for(run: Path, given: str | None) -> Compressor | None:
    """The compressor that was given, else the one of the run's training data, if it is there."""
    from proxylm.checkpoints.run_data import run_data
    from proxylm.compressors.registry import load_compressor

    if given is not None:
        return load_compressor(given)
    data = run_data(run)
    return None if data is None else data.compressor()


def writer_of(model: ByteModel, run: Path, read_as: str, given: str | None) -> PromptWriter:
    """The model read as ``--read-as`` says."""
    from proxylm.evaluation.answers.writers import BytesWriter, writer_for

    wants_compressor = read_as != BytesWriter.read_as
    compressor = compressor_for(run, given) if wants_compressor else None
    return writer_for(model, read_as, compressor)


def job_of(
    choices: GenerationChoices,
    writer: ProgramWriter,
    name: str,
    run: Path,
    out: Path | None,
    progress: AnswersProgress,
    *,
    base: Path | None = None,
) -> Answering | None:
    """The generation that was asked for; None without one.

    Without --out its folder is named after what the samples depend on, so that a model that was
    trained further, or other draws, never meet old samples. ``base`` is where it stands.
    """
    from proxylm.evaluation.answers.run import DEFAULT_KS, Answering, sample_settings
    from proxylm.fingerprint import fingerprint_of

    if not choices.generate:
        return None
    plan = choices.plan()
    settings = fingerprint_of(sample_settings(writer, plan))
    folder = out or (base or evaluation_folder(run)) / f"{name}-{writer.read_as}-{settings[:8]}"
    note(f"samples{' and verdicts' if choices.execute else ''}: {folder}")
    return Answering(
        plan=plan,
        folder=folder,
        execute=choices.execute,
        ks=tuple(choices.ks or DEFAULT_KS),
        workers=choices.workers,
        progress=progress,
    )


@contextmanager
def shown_progress() -> Iterator[AnswersProgress]:
    """Bars with an estimate on a terminal's stderr; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    from proxylm.evaluation.answers.run import AnswersProgress

    class Shown(AnswersProgress):
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
        "generation": choices.plan().model_dump(mode="json") if choices.generate else None,
        "sandbox": usable_tier() if choices.execute else None,
    }


def report_object(report: Any, about: dict[str, Any]) -> dict[str, Any]:
    """A report as plain JSON values, with what it is about."""
    return {"about": about, **asdict(report)}
