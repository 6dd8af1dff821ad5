"""Options that the generative evaluations share, and what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxylm.cli.options import Flags, within
from proxylm.cli.output import note
from proxylm.cli.reading import PROMPTING, read_by

if TYPE_CHECKING:
    from proxylm.evaluation.answers.options import EvaluationSettings, SamplingPlan
    from proxylm.evaluation.answers.run import Answering
    from proxylm.evaluation.answers.writers import ProgramWriter, PromptWriter
    from proxylm.evaluation.benchmarks.problem import Benchmark
    from proxylm.generation.byte_model import ByteModel
    from proxylm.progress import TellCount
    from proxylm.scoring.read_as import ReadAs

EVALUATION_FOLDER = "evaluation"
SAMPLED_FOLDER = "sampled"

_SETTINGS = "proxylm.evaluation.answers.options:EvaluationSettings"
_READING = within("reading", PROMPTING.names)
_PROBLEMS = ("plus", "data", "limit", "problem=problems")
_MAX_NEW = ("max_new_bytes=budget.max_bytes", "max_new_tokens=budget.max_symbols")
_DRAWING = within("sampling", ("samples", "temperature", "top_p", "seed"))
_WAYS = ("execute", "generate", "workers", "out")

CODE = Flags(_SETTINGS, (*_PROBLEMS, *_READING, *_WAYS, *_MAX_NEW, *_DRAWING, "k=ks"))
BENCHMARK = Flags(_SETTINGS, (*_PROBLEMS, *_READING))
BOUNDARY = Flags(
    _SETTINGS,
    (*_PROBLEMS, *_READING, *_WAYS, *_MAX_NEW),
    defaults={"reading.prompt_end": "keep"},
)
RECODE = Flags(_SETTINGS, (*_PROBLEMS[2:], *_READING, *_WAYS, *_MAX_NEW, *_DRAWING))
TRANSLATION = Flags(_SETTINGS, (*_PROBLEMS, _READING[1], *_WAYS, _MAX_NEW[0]))
ALL = Flags(
    _SETTINGS,
    ("limit", *_READING[1:], "execute", "workers", "out", *_MAX_NEW, *_DRAWING),
)


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


def benchmark_of(name: str, settings: EvaluationSettings) -> Benchmark:
    """The problems of a benchmark that are chosen, of its plus form where that is asked for."""
    from proxylm.evaluation.benchmarks.catalog import load_benchmark

    benchmark = load_benchmark(f"{name}-plus" if settings.plus else name, settings.data)
    return benchmark.select(limit=settings.limit, task_ids=settings.problems)


def load_for(run: Path, settings: EvaluationSettings, device: str) -> ByteModel:
    """The model, once everything else about the command is known to be right.

    Raises:
        SandboxError: execution is asked for and impossible here.
        CheckpointError: the model cannot be loaded.
    """
    from proxylm.generation.loading import load
    from proxylm.sandbox.detection import usable_tier

    if settings.execute:
        usable_tier()
    else:
        note("nothing is executed: pass@k and what follows from it need --execute")
    return load(run, device=device)


def evaluation_folder(run: Path) -> Path:
    """Where everything about a run is written, also about one of its checkpoints.

    Checkpoints are removed when newer ones come, with whatever stands in them.
    """
    from proxylm.checkpoints.run_data import run_folder

    return run_folder(run) / EVALUATION_FOLDER


def writer_of(model: ByteModel, run: Path, reading: ReadAs) -> PromptWriter:
    """The model read as ``--read-as``, ``--compressor`` and ``--prompt-end`` say (``read_by``)."""
    from proxylm.evaluation.answers.writers import BytesWriter, MixedWriter, TokensWriter
    from proxylm.scoring.readings import CompressedReading, MixedReading

    found = read_by(model, run, reading)
    if isinstance(found, CompressedReading):
        return TokensWriter(model, found.compressor, reading.prompt_end)
    if isinstance(found, MixedReading):
        return MixedWriter(model, found.compressor, reading.prompt_end)
    return BytesWriter(model, reading.prompt_end)


def job_of(
    settings: EvaluationSettings,
    plan: SamplingPlan | None,
    base: Path,
    progress: TellCount,
    writer: ProgramWriter,
    name: str,
) -> Answering | None:
    """One generation that was asked for; None without one.

    Without --out its folder, in ``base``, is named after what the samples depend on, so that a
    model that was trained further, or other draws, never meet old samples. With it, samples have a
    folder inside that of the greedy completions.
    """
    from proxylm.evaluation.answers.run import DEFAULT_KS, Answering, sample_settings
    from proxylm.fingerprint import fingerprint_of

    if not settings.generate or plan is None:
        return None
    drawn = fingerprint_of(sample_settings(writer, plan))
    folder = base / f"{name}-{writer.read_as}-{drawn[:8]}"
    if settings.out is not None:
        folder = settings.out / SAMPLED_FOLDER if plan.temperature else settings.out
    note(f"samples{' and verdicts' if settings.execute else ''}: {folder}")
    return Answering(
        plan=plan,
        folder=folder,
        execute=settings.execute,
        ks=settings.ks or DEFAULT_KS if plan.temperature else (1,),
        workers=settings.workers,
        progress=progress,
    )


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
    settings: EvaluationSettings,
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
        "generation": _generation(settings) if settings.generate else None,
        "sandbox": usable_tier() if settings.execute else None,
    }


def _generation(settings: EvaluationSettings) -> dict[str, Any]:
    """How completions are made, without what has no effect."""
    sampling = settings.sampling.model_dump(mode="json") if settings.sampled else None
    return {"budget": settings.budget.model_dump(mode="json"), "sampled": sampling}


def report_object(report: Any, about: dict[str, Any]) -> dict[str, Any]:
    """A report as plain JSON values, with what it is about."""
    return {"about": about, **asdict(report)}
