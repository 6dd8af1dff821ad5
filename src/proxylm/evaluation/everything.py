"""Every evaluation of one model that its data is at hand for, in one result.

What cannot be done is not skipped in silence: what is not at hand, or not defined for the model,
is listed as left out with its reason, and what went wrong as failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxylm.checkpoints.run_data import RunData
from proxylm.compressors.contract import Compressor
from proxylm.data.store.store import ViewStore
from proxylm.errors import (
    DamagedWeightsError,
    DataNotAtHandError,
    ProxylmError,
    UsageError,
    needing_extra,
)
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.answers.writers import (
    BytesWriter,
    ProgramWriter,
    PromptWriter,
    TokensWriter,
)
from proxylm.evaluation.benchmarks.catalog import load_benchmark
from proxylm.evaluation.benchmarks.problem import Benchmark
from proxylm.evaluation.code_generation import evaluate_code
from proxylm.evaluation.harness_report import HarnessReport
from proxylm.evaluation.prompt_boundary import evaluate_boundary
from proxylm.evaluation.recode.evaluation import evaluate_recode
from proxylm.evaluation.recode.folder import FamilyData, load_recode
from proxylm.evaluation.translation import (
    TranslationReport,
    TranslationWriter,
    evaluate_translation,
)
from proxylm.generation.byte_model import ByteModel
from proxylm.models.config import KNOWS_BYTES_ALONE
from proxylm.progress import TellCount, untold
from proxylm.scoring.documents import (
    expected_bytes,
    first_documents,
    read_from_store,
    score_documents,
    total_score,
)
from proxylm.scoring.read_as import BYTES, TOKENS, PromptEnd

if TYPE_CHECKING:
    from proxylm.evaluation.lm_harness import HarnessTasks

HELD_OUT = "held-out bits per byte"
BOUNDARY_BENCHMARKS = ("humaneval", "humaneval-plus")

AnsweringFactory = Callable[[ProgramWriter, str], Answering | None]
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
        prompt_end: what is read of prompts' ends; None: as the reading has it. Prompt boundary,
            which is about them, strips none.
    """

    benchmarks: dict[str, Path | None]
    recode: Path | None = None
    seeds: int = 5
    limit: int | None = None
    held_out_bytes: int | None = None
    harness_tasks: tuple[str, ...] = ()
    prompt_end: PromptEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedData:
    """What a selection names and what else is at hand, read.

    Attributes:
        selection: it.
        benchmarks: those that are there.
        recode: its families; None where it was not named.
        harness: tasks; None where none was named.
        left_out: why something is not there, by its name.
    """

    selection: Selection
    benchmarks: list[Benchmark]
    recode: list[FamilyData] | None
    harness: HarnessTasks | None
    left_out: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How programs are generated.

    Attributes:
        greedy: of all evaluations.
        sampled: of the code benchmarks beside, for pass@10.
    """

    greedy: AnsweringFactory
    sampled: AnsweringFactory


@dataclass(slots=True, kw_only=True)
class Everything:
    """The results so far, by evaluation and reading.

    Attributes:
        about: what was evaluated, and how; plain values.
        reports: what came out.
        left_out: why there is nothing to evaluate, or no way to.
        failed: what is wrong with an evaluation's data or files.
        complete: whether the end was reached.
        changed: told after each report.
    """

    about: dict[str, Any] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    changed: Callable[[Everything], None] = lambda _: None

    def add(self, name: str, read_as: str, evaluate: Callable[[], Any]) -> None:
        """Keep a report, or the reason why there is none.

        What asks for something that this model or its data do not have (``UsageError``) is left
        out; any other error that a user can cause is a failure.

        Raises:
            DamagedWeightsError: no evaluation can have a result.
        """
        try:
            report = evaluate()
        except DamagedWeightsError:
            raise
        except UsageError as error:
            self.left_out[f"{name} ({read_as})"] = str(error)
            return
        except ProxylmError as error:
            self.failed[f"{name} ({read_as})"] = str(error)
            return
        self.reports.setdefault(name, {})[read_as] = report
        self.changed(self)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        reports = {
            name: {read_as: asdict(report) for read_as, report in readings.items()}
            for name, readings in self.reports.items()
        }
        return {
            "about": self.about,
            **reports,
            "left_out": self.left_out,
            "failed": self.failed,
            "complete": self.complete,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutReport:
    """Bits per byte of the held-out documents of a run's data."""

    documents: int
    raw_bytes: int
    bits_per_byte: float


def held_out_report(
    store: ViewStore,
    model: ByteModel,
    view: str | None,
    *,
    limit_bytes: int | None = None,
    progress: TellCount = untold,
) -> HeldOutReport:
    """Bits per byte of a store's held-out documents, as bytes or by one of its views.

    Raises:
        DataNotAtHandError: the store holds no document out.
        UsageError: bits per byte is not defined for the view, or the model does not know it.
    """
    ordinals = store.ordinals(held_out=True).tolist()
    if not ordinals:
        raise DataNotAtHandError(f"{store.folder}: holds no document out")
    prefix, documents = read_from_store(store, ordinals, model, view)
    wanted = first_documents(documents, limit_bytes=limit_bytes)
    expected = expected_bytes(store.raw_lengths[ordinals], limit_bytes=limit_bytes)
    scores = list(
        score_documents(model.module, wanted, prefix, progress=progress, expected_bytes=expected)
    )
    total = total_score(scores)
    return HeldOutReport(
        documents=len(scores), raw_bytes=total.num_bytes, bits_per_byte=total.bits_per_byte
    )


def read_selection(selection: Selection) -> SelectedData:
    """Read everything that a selection names, before any model is loaded.

    What is not named and not at hand is left out, with its reason.

    Raises:
        UsageError: what was named is not there, or cannot be used here.
        DataError: a file that was named cannot be read.
    """
    left_out: dict[str, str] = {}
    recode = None
    if selection.recode is None:
        left_out["recode"] = "its folder or archive was not given"
    else:
        recode = [
            one.select(limit=selection.limit, task_ids=())
            for one in load_recode(selection.recode, seeds=selection.seeds)
        ]
    harness = None
    if selection.harness_tasks:
        with needing_extra("lm-eval", "lm-eval"):
            from proxylm.evaluation.lm_harness import find_tasks
        harness = find_tasks(selection.harness_tasks)
    else:
        left_out["lm-eval"] = "no tasks were named"
    return SelectedData(
        selection=selection,
        benchmarks=_benchmarks(selection, left_out),
        recode=recode,
        harness=harness,
        left_out=left_out,
    )


def _benchmarks(selection: Selection, left_out: dict[str, str]) -> list[Benchmark]:
    found = []
    for name, path in selection.benchmarks.items():
        try:
            benchmark = load_benchmark(name, path, option=f"--{name}")
        except DataNotAtHandError as error:
            left_out[name] = str(error)
        else:
            found.append(benchmark.select(limit=selection.limit))
    return found


def evaluate_everything(
    everything: Everything,
    model: ByteModel,
    run: RunData | None,
    compressor: Compressor | None,
    data: SelectedData,
    generation: Generation,
    progress: TellCount = untold,
) -> None:
    """Evaluate a model on everything that is at hand.

    Args:
        everything: takes the reports.
        model: read as bytes and, where the compressor can be undone, as tokens.
        run: what it was trained on, for held-out documents.
        compressor: of its training.
        data: benchmarks and tasks.
        generation: how each generative evaluation generates.
        progress: hears what each evaluation counts.

    Raises:
        DamagedWeightsError: the model computes no numbers.
    """
    everything.left_out |= data.left_out
    _held_out(everything, model, run, data.selection.held_out_bytes, progress)
    for writer in _writers(everything, model, compressor, data.selection.prompt_end):
        _evaluate(everything, writer, data, generation, progress)
    _translation(everything, model, compressor, data.benchmarks, generation, progress)
    everything.complete = True
    everything.changed(everything)


def _held_out(
    everything: Everything,
    model: ByteModel,
    data: RunData | None,
    limit: int | None,
    progress: TellCount,
) -> None:
    if data is None:
        everything.left_out[HELD_OUT] = "the run's training data is not at hand"
        return

    @cache
    def opened() -> ViewStore:
        data.require_same(model.data_fingerprint)
        return ViewStore.open(data.store, verify=True)

    def measure(view: str | None) -> HeldOutReport:
        return held_out_report(opened(), model, view, limit_bytes=limit, progress=progress)

    everything.add(HELD_OUT, BYTES, partial(measure, None))
    if data.view is not None:
        everything.add(HELD_OUT, TOKENS, partial(measure, data.view))


def _writers(
    everything: Everything,
    model: ByteModel,
    compressor: Compressor | None,
    prompt_end: PromptEnd | None,
) -> Iterator[PromptWriter]:
    yield BytesWriter(model, prompt_end)
    if compressor is None:
        if TOKENS not in everything.failed:
            everything.left_out[TOKENS] = _no_compressor(model)
        return
    try:
        writer = TokensWriter(model, compressor, prompt_end)
    except UsageError as error:
        everything.left_out[TOKENS] = str(error)
        return
    yield writer


def _no_compressor(model: ByteModel) -> str:
    if model.config.compressed_symbol_count:
        return "the model's compressor is not at hand"
    return KNOWS_BYTES_ALONE


def _evaluate(
    everything: Everything,
    writer: PromptWriter,
    data: SelectedData,
    generation: Generation,
    progress: TellCount,
) -> None:
    """Every evaluation of one reading."""

    def add(
        name: str,
        evaluate: Callable[..., Any],
        prompts: object,
        *answering: AnsweringFactory,
        asked: PromptWriter = writer,
    ) -> None:
        def report() -> Any:
            answers = [one(asked, name) for one in answering]
            return evaluate(asked, prompts, *answers, progress=progress)

        everything.add(name, asked.read_as, report)

    # The suffixes are what prompt boundary is about.
    is_stripped = writer.prompt_end is PromptEnd.STRIP
    with_suffixes = writer.ending(PromptEnd.KEEP) if is_stripped else writer

    for benchmark in data.benchmarks:
        add(benchmark.name, evaluate_code, benchmark, generation.greedy, generation.sampled)
        if benchmark.name in BOUNDARY_BENCHMARKS:
            name = f"prompt-boundary-{benchmark.name}"
            add(name, evaluate_boundary, benchmark, generation.greedy, asked=with_suffixes)
    if data.recode is not None:
        add("recode", evaluate_recode, data.recode, generation.greedy)
    if data.harness is not None:
        measure = partial(
            _harness, everything, writer, data.harness, data.selection.limit, progress
        )
        everything.add("lm-eval", writer.read_as, measure)


def _harness(
    everything: Everything,
    writer: PromptWriter,
    tasks: HarnessTasks,
    limit: int | None,
    progress: TellCount,
) -> HarnessReport:
    from proxylm.evaluation.lm_harness import evaluate_with_harness

    report = evaluate_with_harness(writer, tasks, limit=limit, progress=progress)
    everything.failed |= {f"{task} ({writer.read_as})": why for task, why in report.failed.items()}
    return report


def _translation(
    everything: Everything,
    model: ByteModel,
    compressor: Compressor | None,
    benchmarks: Sequence[Benchmark],
    generation: Generation,
    progress: TellCount,
) -> None:
    name = "translation"
    chosen = next((one for one in benchmarks if one.name in BOUNDARY_BENCHMARKS), None)
    if compressor is None:
        everything.left_out[name] = _no_compressor(model)
    elif chosen is None:
        everything.left_out[name] = "HumanEval is not at hand"
    else:

        def evaluate() -> TranslationReport:
            writer = TranslationWriter(model, compressor)
            answering = generation.greedy(writer, f"{name}-{chosen.name}")
            return evaluate_translation(writer, chosen, answering, progress=progress)

        everything.add(name, BYTES, evaluate)
