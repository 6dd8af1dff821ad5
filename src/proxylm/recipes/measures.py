"""What recipes measure, by name: of a run's checkpoint, in both readings, or of a compressor.

Results are plain values. What is not defined for a model or a compressor, or needs data that was
not given, is a reason in the place of a number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from proxylm.analysis.compression import measure
from proxylm.analysis.neural_facts import CorpusObserver
from proxylm.analysis.stability import StabilitySettings, corpus_slices, measure_stability
from proxylm.checkpoints.checkpoint import read_state
from proxylm.compressors.contract import Compressor
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.config import Config
from proxylm.corpus.document import Document
from proxylm.corpus.left_out import LeftOut
from proxylm.corpus.split import split_documents
from proxylm.data.mixture import Mixture
from proxylm.data.prediction import DataSize, documents_per_context
from proxylm.data.rates import mean_over_steps
from proxylm.data.store.store import ViewStore
from proxylm.errors import DataError, DataNotAtHandError, UsageError
from proxylm.evaluation.answers.options import Sampling, SamplingPlan
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.answers.writers import BytesWriter, PromptWriter, TokensWriter
from proxylm.evaluation.benchmarks.catalog import load_benchmark
from proxylm.evaluation.benchmarks.problem import Benchmark
from proxylm.evaluation.code_generation import evaluate_code
from proxylm.evaluation.everything import HeldOutReport, held_out_report
from proxylm.evaluation.mutated import evaluate_mutated
from proxylm.evaluation.next_line import evaluate_next_line, next_lines
from proxylm.evaluation.olmes.data import OlmesSettings, read_tasks
from proxylm.evaluation.olmes.evaluation import evaluate_olmes
from proxylm.evaluation.prompt_boundary import evaluate_boundary
from proxylm.evaluation.recode.evaluation import evaluate_recode
from proxylm.evaluation.recode.folder import load_recode
from proxylm.evaluation.translation import TranslationWriter, evaluate_translation
from proxylm.files import sha256_of
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.loading import load
from proxylm.models.config import KNOWS_BYTES_ALONE
from proxylm.recipes.artifacts import REASON, Run, TrainedCompressor
from proxylm.recipes.scale import Measuring
from proxylm.scoring.read_as import BYTES, TOKENS, PromptEnd

Result = dict[str, Any]

PAPER_RHO = 3.7
"""The rate of the paper's tokenizer, for appendix A's numbers."""

FILES = {
    "humaneval-plus": "HumanEvalPlus.jsonl.gz",
    "mbpp-plus": "MbppPlus.jsonl.gz",
    "recode": "recode-humaneval.tar.xz",
    "olmes": "olmes",
}
"""What is looked for in the folder of evaluation data."""


class EvaluationData(Config):
    """Files that come from the user.

    Attributes:
        folder: holds those of ``FILES`` that there are; None: nothing is at hand.
    """

    folder: Path | None = None

    def path(self, name: str) -> Path:
        """The file of a benchmark.

        Raises:
            DataNotAtHandError: it is not there.
        """
        if self.folder is None:
            raise DataNotAtHandError(f"{FILES[name]} is not at hand: give its folder with --data")
        path = self.folder / FILES[name]
        if not path.exists():
            raise DataNotAtHandError(f"{path}: is not there")
        return path

    def fingerprint(self, name: str) -> str | None:
        """Names a file's content; None where it is not there."""
        try:
            path = self.path(name)
        except DataNotAtHandError:
            return None
        return _sha256(path)


@cache  # a program reads the same files for every run
def _sha256(path: Path) -> str:
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return " ".join(map(sha256_of, files))


@cache
def _benchmark(name: str, path: Path) -> Benchmark:
    return load_benchmark(name, path)


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """A checkpoint, and everything to measure it with.

    Attributes:
        run: whose it is.
        pool: where all of it stands.
        share: of the run's steps, after which it was written.
        data: files of the user's.
        measuring: how much is measured.
        scratch: a folder for completions and verdicts, which go on where they were stopped.
    """

    run: Run
    pool: Path
    share: float
    data: EvaluationData
    measuring: Measuring
    scratch: Path

    @property
    def checkpoint(self) -> Path:
        """Its folder."""
        return self.run.checkpoint(self.pool, self.share)

    @cached_property
    def model(self) -> ByteModel:
        """The model."""
        return load(self.checkpoint, device=self.run.config.device)

    @cached_property
    def store(self) -> ViewStore:
        """What it was trained on."""
        return ViewStore.open(self.run.store.folder(self.pool), verify=True)

    @cached_property
    def compressor(self) -> Compressor:
        """That of its view.

        Raises:
            UsageError: it was trained on bytes alone.
        """
        if self.run.store.compressor is None:
            raise UsageError(KNOWS_BYTES_ALONE)
        return self.run.store.compressor.load(self.pool)

    def require_shown(self, read_as: str) -> None:
        """Refuse a reading of what the run was never shown.

        Raises:
            UsageError: saying so.
        """
        if read_as == BYTES and self.run.own_reading != BYTES:
            raise UsageError("it was never shown raw bytes")
        rates = self.run.config.mixing.rate.rates(self.run.config.total_steps)
        if read_as == TOKENS and rates.max() == 0:
            raise UsageError(KNOWS_BYTES_ALONE)

    def writer(self, read_as: str, prompt_end: PromptEnd | None = None) -> PromptWriter:
        """The model read as bytes or tokens.

        Raises:
            UsageError: it cannot be read so.
        """
        self.require_shown(read_as)
        if read_as == BYTES:
            return BytesWriter(self.model, prompt_end)
        return TokensWriter(self.model, self.compressor, prompt_end)

    def held_out(self) -> Iterator[bytes]:
        """Held-out documents."""
        for ordinal in self.store.ordinals(held_out=True).tolist():
            yield self.store.raw(ordinal).tobytes()

    def benchmark(self, names: tuple[str, ...]) -> Benchmark:
        """The problems of one benchmark, or of several together.

        Raises:
            DataNotAtHandError: a file is not there.
        """
        parts = [
            _benchmark(name, self.data.path(name)).select(limit=self.measuring.problems)
            for name in names
        ]
        problems = tuple(problem for part in parts for problem in part.problems)
        return replace(parts[0], name="+".join(names), problems=problems)

    def answering(self, plan: SamplingPlan, name: str) -> Answering | None:
        """How programs are generated and run; None where the scale runs none."""
        if not self.measuring.execute:
            return None
        return Answering(plan=plan, folder=self.scratch / name, execute=True)


@dataclass(frozen=True, kw_only=True)
class MeasuredCompressor:
    """A compressor, and how much is measured of it."""

    trained: TrainedCompressor
    pool: Path
    measuring: Measuring

    @cached_property
    def compressor(self) -> Compressor:
        """It."""
        return self.trained.load(self.pool)


class Measure(Config, ABC):
    """One thing to measure; a subclass by ``kind``."""

    kind: str
    of_runs: ClassVar[bool] = True
    """Whether runs have it; compressors else."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names in ``FILES`` of what it reads of the user's."""
        return ()

    @abstractmethod
    def measure(self, subject: Any) -> Result:
        """The numbers.

        Raises:
            UsageError, DataError: they are not defined here, or their data is not at hand.
        """


def by_reading(function: Callable[[str], Any]) -> Result:
    """What comes out under each reading, or why nothing does."""
    results: Result = {}
    for read_as in (BYTES, TOKENS):
        try:
            results[read_as] = asdict(function(read_as))
        except DataNotAtHandError:
            raise
        except (UsageError, DataError) as error:
            results[read_as] = {REASON: str(error)}
    return results


class Training(Measure):
    """What a run has used up, and how large it is."""

    kind: Literal["training"] = "training"

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        config, state = subject.run.config, read_state(subject.checkpoint)
        shown = config.mixing.rate.rates(config.total_steps)[: state.step]
        fields = {"step", "symbols", "raw_bytes", "raw_format_bytes", "documents"}
        used = state.model_dump(mode="json", include=fields | {"training_flops"})
        return used | {
            "parameters": subject.model.config.parameter_count,
            "compressed_share": float(shown.mean()),
        }


class HeldOut(Measure):
    """Bits per byte of held-out documents, each alone from its start."""

    kind: Literal["held-out"] = "held-out"

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""

        def read(read_as: str) -> HeldOutReport:
            subject.require_shown(read_as)
            view = None if read_as == BYTES else subject.run.store.view
            most = subject.measuring.held_out_bytes
            return held_out_report(subject.store, subject.model, view, limit_bytes=most)

        return by_reading(read)


class _OfProblems(Measure):
    """A measure on the problems of benchmarks.

    Attributes:
        benchmarks: their names; several are taken together.
    """

    benchmarks: tuple[str, ...] = ("humaneval-plus",)

    @property
    def files(self) -> tuple[str, ...]:
        """See the base class."""
        return self.benchmarks


class Code(_OfProblems):
    """pass@k where programs are run, and bits per byte of the canonical solutions."""

    kind: Literal["code"] = "code"

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        benchmark = subject.benchmark(self.benchmarks)
        drawn = SamplingPlan(**Sampling(samples=subject.measuring.samples).model_dump())

        def evaluate(read_as: str) -> Any:
            greedy = subject.answering(SamplingPlan(), f"{read_as}-greedy")
            sampled = subject.answering(drawn, f"{read_as}-sampled")
            return evaluate_code(subject.writer(read_as), benchmark, greedy, sampled)

        return by_reading(evaluate)


class Mutated(_OfProblems):
    """Choosing the right solution over mutated ones, by likelihood."""

    kind: Literal["mutated"] = "mutated"

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        benchmark, settings = subject.benchmark(self.benchmarks), subject.measuring.mutated
        return by_reading(
            lambda read_as: evaluate_mutated(subject.writer(read_as), benchmark, settings)
        )


class NextLine(Measure):
    """Greedy exact match of the next line of held-out documents."""

    kind: Literal["next-line"] = "next-line"

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        lines = next_lines(subject.held_out(), subject.measuring.next_line)
        return by_reading(lambda read_as: evaluate_next_line(subject.writer(read_as), lines))


class Translation(_OfProblems):
    """In-context translation (§3.3): what seeing the solution compressed saves, and pass@1."""

    kind: Literal["translation"] = "translation"

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        benchmark = subject.benchmark(self.benchmarks)
        writer = TranslationWriter(subject.model, subject.compressor)
        answering = subject.answering(SamplingPlan(), "translation")
        return asdict(evaluate_translation(writer, benchmark, answering))


class Boundary(_OfProblems):
    """Solutions under nine endings of the prompt (D.11)."""

    kind: Literal["prompt-boundary"] = "prompt-boundary"

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        benchmark = subject.benchmark(self.benchmarks)

        def evaluate(read_as: str) -> Any:
            writer = subject.writer(read_as, PromptEnd.KEEP)
            answering = subject.answering(SamplingPlan(), f"{read_as}-boundary")
            return evaluate_boundary(writer, benchmark, answering)

        return by_reading(evaluate)


class Recode(Measure):
    """Robustness on perturbed prompts (§3.5): robust pass, or robust bits per byte."""

    kind: Literal["recode"] = "recode"

    @property
    def files(self) -> tuple[str, ...]:
        """See the base class."""
        return ("recode",)

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        limit, seeds = subject.measuring.problems, subject.measuring.recode_seeds
        path = subject.data.path("recode")
        families = [one.select(limit=limit, task_ids=()) for one in load_recode(path, seeds=seeds)]

        def evaluate(read_as: str) -> Any:
            answering = subject.answering(SamplingPlan(), f"{read_as}-recode")
            return evaluate_recode(subject.writer(read_as), families, answering)

        return by_reading(evaluate)


class Olmes(Measure):
    """Multiple-choice questions in natural language (D.12)."""

    kind: Literal["olmes"] = "olmes"

    @property
    def files(self) -> tuple[str, ...]:
        """See the base class."""
        return ("olmes",)

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        settings = OlmesSettings(data=subject.data.path("olmes"), limit=subject.measuring.problems)
        tasks = read_tasks(settings)
        return by_reading(lambda read_as: evaluate_olmes(subject.writer(read_as).scorer, tasks))


class Samples(Measure):
    """Samples per step against a raw-byte model: appendix A's formulas, and what was packed."""

    kind: Literal["samples"] = "samples"

    def measure(self, subject: MeasuredRun) -> Result:
        """See the base class."""
        config, store = subject.run.config, subject.store
        mixing, steps = config.mixing, config.total_steps
        record = subject.run.store.record(subject.pool) or {}
        rho = next(iter(record.get("rho", {}).values()), 1.0)
        lengths = store.raw_lengths[store.ordinals(held_out=False)]
        data = DataSize(mean_bytes=float(lengths.mean()), rho=rho)
        predicted = documents_per_context(data, mixing, context=config.context, total_steps=steps)
        raw = documents_per_context(
            data, Mixture.bytes_only(), context=config.context, total_steps=1
        )
        documents = read_state(subject.checkpoint).documents
        contexts = config.contexts_per_step * steps
        return {
            "rho": rho,
            "formula_at_paper_rho": mean_over_steps(PAPER_RHO, mixing, steps),
            "formula": mean_over_steps(rho, mixing, steps),
            "predicted": float(predicted.mean() / raw.mean()),
            "packed": float(documents / contexts / raw.mean()),
        }


class _OfCompressors(Measure):
    of_runs: ClassVar[bool] = False


class Compression(_OfCompressors):
    """The rate on held-out documents; of a neural compressor also segments and collisions."""

    kind: Literal["compression"] = "compression"

    def measure(self, subject: MeasuredCompressor) -> Result:
        """See the base class."""
        compressor = subject.compressor
        if not isinstance(compressor, NeuralCompressor):
            return measure(compressor, _documents(subject), LeftOut())
        observer = CorpusObserver(compressor)
        counts = measure(compressor, _documents(subject), LeftOut(), observer.add)
        nodes = None if compressor.automaton is None else len(compressor.automaton)
        return {**counts, **observer.facts(), "nodes": nodes}


class Stability(_OfCompressors):
    """How far symbols move when characters are deleted (§3.4)."""

    kind: Literal["stability"] = "stability"

    def measure(self, subject: MeasuredCompressor) -> Result:
        """See the base class."""
        settings = StabilitySettings(samples=subject.measuring.stability_samples)
        trained = subject.trained
        slices = corpus_slices(
            trained.corpus.open(),
            settings.slice_bytes,
            held_out=trained.held_out_fraction,
            left_out=LeftOut(),
        )
        [report] = measure_stability([(trained.name, subject.compressor)], slices, settings)
        total = max(1, len(report.distances))
        shares = [count / total for count in report.histogram]
        return report.as_json() | {"shares": shares}


def _documents(subject: MeasuredCompressor) -> Iterator[Document]:
    """Held-out documents until there are enough bytes."""
    trained, left = subject.trained, subject.measuring.held_out_bytes
    documents = split_documents(
        trained.corpus.open(),
        held_out=True,
        left_out=LeftOut(),
        fraction=trained.held_out_fraction,
    )
    for document in documents:
        if left <= 0:
            return
        yield document
        left -= len(document.raw)


MeasureChoice = Annotated[
    Training
    | HeldOut
    | Code
    | Mutated
    | NextLine
    | Translation
    | Boundary
    | Recode
    | Olmes
    | Samples
    | Compression
    | Stability,
    Field(discriminator="kind"),
]
