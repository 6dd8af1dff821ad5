"""Every evaluation of one model that its data is at hand for, in one result.

What cannot be done is not skipped in silence: it is listed with its reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from proxylm.compressors.contract import Compressor
from proxylm.errors import ProxylmError
from proxylm.evaluation.benchmarks.catalog import load_benchmark
from proxylm.evaluation.benchmarks.problem import Benchmark
from proxylm.evaluation.code_generation import evaluate_code
from proxylm.evaluation.generation.job import GenerationJob
from proxylm.evaluation.generation.writers import (
    BytesWriter,
    ProgramWriter,
    PromptWriter,
    TokensWriter,
)
from proxylm.evaluation.prompt_boundary import evaluate_boundary
from proxylm.evaluation.readings import RawView
from proxylm.evaluation.recode.evaluation import evaluate_recode
from proxylm.evaluation.recode.folder import load_recode
from proxylm.evaluation.run_data import RunData
from proxylm.evaluation.scoring import (
    read_store,
    read_stored_view,
    score_documents,
    total_score,
    until_bytes,
)
from proxylm.evaluation.translation import (
    OraclePrompts,
    TranslationWriter,
    evaluate_translation,
)
from proxylm.inference.byte_model import ByteModel
from proxylm.symbols import Format
from proxylm.views.store import ViewStore

BOUNDARY_BENCHMARKS = ("humaneval", "humaneval-plus")

JobFactory = Callable[[ProgramWriter, str], GenerationJob | None]
"""Gives the generation of one evaluation by its writer and name; None where none is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to evaluate, and on what.

    Attributes:
        benchmarks: code benchmarks by name, each with its file or None.
        recode: ReCode's folder or archive.
        seeds: s of ReCode.
        limit: only the first so many problems of each.
        held_out_bytes: whole held-out documents until so many bytes; None takes all.
        harness_tasks: tasks of lm-evaluation-harness.
    """

    benchmarks: dict[str, Path | None]
    recode: Path | None = None
    seeds: int = 5
    limit: int | None = None
    held_out_bytes: int | None = None
    harness_tasks: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Everything:
    """The results so far: a report by evaluation and reading, and what was left out, with why."""

    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, read_as: str, evaluate: Callable[[], Any]) -> None:
        """Keep a report, or the reason why there is none."""
        try:
            report = evaluate()
        except ProxylmError as error:
            self.left_out[f"{name} ({read_as})"] = str(error)
            return
        self.reports.setdefault(name, {})[read_as] = report

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        reports = {
            name: {read_as: asdict(report) for read_as, report in readings.items()}
            for name, readings in self.reports.items()
        }
        return {**reports, "left_out": self.left_out}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutReport:
    """Bits per byte of the held-out documents of a run's data."""

    documents: int
    raw_bytes: int
    bits_per_byte: float


def evaluate_everything(
    model: ByteModel,
    data: RunData | None,
    compressor: Compressor | None,
    selection: Selection,
    job_for: JobFactory,
) -> Everything:
    """Evaluate a model on everything that is at hand.

    Args:
        model: read as bytes and, where the compressor can be undone, as tokens.
        data: what it was trained on, for held-out documents.
        compressor: of its training.
        selection: benchmarks and where their files are.
        job_for: how each generative evaluation generates.
    """
    everything = Everything()
    _held_out(everything, model, data, selection.held_out_bytes)
    benchmarks = _benchmarks(everything, selection)
    for writer in _writers(everything, model, compressor):
        for benchmark in benchmarks:
            _code(everything, writer, benchmark, job_for)
        _recode(everything, writer, selection, job_for)
        _harness(everything, writer, selection)
    _translation(everything, model, compressor, benchmarks, job_for)
    return everything


def _held_out(
    everything: Everything, model: ByteModel, data: RunData | None, limit: int | None
) -> None:
    name = "held-out bits per byte"
    if data is None:
        everything.left_out[name] = "the run's training data is not at hand"
        return
    store = ViewStore.open(data.store, verify=True)

    def measure(view: str | None) -> HeldOutReport:
        ordinals = map(int, store.ordinals(held_out=True))
        if view is None:
            documents, content_format = read_store(store, ordinals, RawView()), Format.RAW
        else:
            documents, content_format = read_stored_view(store, ordinals, view), Format.COMPRESSED
        limited = until_bytes(documents, limit)
        scores = list(score_documents(model.module, limited, content_format))
        total = total_score(scores)
        return HeldOutReport(
            documents=len(scores), raw_bytes=total.num_bytes, bits_per_byte=total.bits_per_byte
        )

    everything.add(name, BytesWriter.read_as, lambda: measure(None))
    if data.view is not None:
        everything.add(name, TokensWriter.read_as, lambda: measure(data.view))


def _benchmarks(everything: Everything, selection: Selection) -> list[Benchmark]:
    found = []
    for name, path in selection.benchmarks.items():
        try:
            found.append(load_benchmark(name, path).select(limit=selection.limit))
        except ProxylmError as error:
            everything.left_out[name] = str(error)
    return found


def _writers(
    everything: Everything, model: ByteModel, compressor: Compressor | None
) -> list[PromptWriter]:
    writers: list[PromptWriter] = [BytesWriter(model)]
    if compressor is None:
        everything.left_out[TokensWriter.read_as] = "the model's compressor is not at hand"
        return writers
    try:
        writers.append(TokensWriter(model, compressor))
    except ProxylmError as error:
        everything.left_out[TokensWriter.read_as] = str(error)
    return writers


def _code(
    everything: Everything, writer: PromptWriter, benchmark: Benchmark, job_for: JobFactory
) -> None:
    everything.add(
        benchmark.name,
        writer.read_as,
        lambda: evaluate_code(writer, benchmark, job_for(writer, benchmark.name)),
    )
    if benchmark.name in BOUNDARY_BENCHMARKS:
        name = f"prompt-boundary-{benchmark.name}"
        everything.add(
            name,
            writer.read_as,
            lambda: evaluate_boundary(writer, benchmark, job_for(writer, name)),
        )


def _recode(
    everything: Everything, writer: PromptWriter, selection: Selection, job_for: JobFactory
) -> None:
    if selection.recode is None:
        everything.left_out["recode"] = "its folder or archive was not given"
        return
    path = selection.recode

    def evaluate() -> Any:
        families = [
            one.select(limit=selection.limit, task_ids=())
            for one in load_recode(path, seeds=selection.seeds)
        ]
        return evaluate_recode(writer, families, job_for(writer, "recode"))

    everything.add("recode", writer.read_as, evaluate)


def _harness(everything: Everything, writer: PromptWriter, selection: Selection) -> None:
    name = "lm-eval"
    if not selection.harness_tasks:
        everything.left_out[name] = "no tasks were named"
        return
    try:
        from proxylm.evaluation.lm_harness import evaluate_with_harness, find_tasks
    except ImportError as error:
        everything.left_out[name] = f"lm-eval is not there ({error}): install proxylm[lm-eval]"
        return
    everything.add(
        name,
        writer.read_as,
        lambda: evaluate_with_harness(
            writer, find_tasks(selection.harness_tasks), limit=selection.limit
        ),
    )


def _translation(
    everything: Everything,
    model: ByteModel,
    compressor: Compressor | None,
    benchmarks: Sequence[Benchmark],
    job_for: JobFactory,
) -> None:
    name = "translation"
    chosen = next((one for one in benchmarks if one.name in BOUNDARY_BENCHMARKS), None)
    if compressor is None or chosen is None:
        lacking = "the model's compressor" if compressor is None else "HumanEval"
        everything.left_out[name] = f"{lacking} is not at hand"
        return

    def evaluate() -> Any:
        writer = TranslationWriter(model, OraclePrompts(model, compressor))
        return evaluate_translation(writer, chosen, job_for(writer, f"{name}-{chosen.name}"))

    everything.add(name, BytesWriter.read_as, evaluate)
