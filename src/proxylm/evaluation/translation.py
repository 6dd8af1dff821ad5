"""In-context translation: the oracle prompt shows the solution compressed, the answer is bytes.

    <bos> <compressed> C(prompt solution) </compressed> <raw> prompt ...

is half of a translation pair (method, section 4). A model that has learned to align the two views
reproduces the solution (paper, 3.3, Table 3). Prompt and solution are compressed *jointly*, as
documents in training are, or *separately*, one after the other. Any compressor will do: nothing is
decompressed. Scores: pass@1, exact match, edit similarity, and the translation gain in bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from proxylm.checkpoints.reading import require_compressor
from proxylm.compressors.contract import Compressor
from proxylm.errors import UsageError, needing_extra
from proxylm.evaluation.answers.folder import Sample
from proxylm.evaluation.answers.run import Answering
from proxylm.evaluation.answers.writers import Draws, ProgramWriter, weights_fingerprint
from proxylm.evaluation.benchmarks.problem import Benchmark, Problem
from proxylm.evaluation.likelihood import Scorer, solution_bytes
from proxylm.evaluation.pass_at_k import pass_at_k
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Completion, complete
from proxylm.generation.request import ByteRequest, raw_symbols
from proxylm.progress import TellCount, untold
from proxylm.scoring.passes import sequence_bits
from proxylm.scoring.readings import RawReading
from proxylm.scoring.sequences import ScoredSequence
from proxylm.symbols import (
    BOS,
    COMPRESSED_CLOSE,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    RAW_OPEN,
)

ORACLE = "oracle"
"""The one condition, and how the model is read: after the compressed answer."""
JOINTLY = "jointly"
SEPARATELY = "separately"


class TranslationWriter(ProgramWriter):
    """Answers in bytes after a prompt that shows the solution in compressed form.

    Args:
        model: one with sentinels that knows this compressor.
        compressor: any, lossy ones included.
        jointly: compress prompt and solution as one document, or each on its own.

    Raises:
        UsageError: the model has no sentinels, or was trained with another compressor.
    """

    read_as = ORACLE

    def __init__(self, model: ByteModel, compressor: Compressor, *, jointly: bool = True) -> None:
        if not model.config.sentinels:
            raise UsageError("translation needs a model with sentinels: it has to tell the views")
        require_compressor(model, compressor.symbol_count, compressor.fingerprint)
        self.model = model
        self.compressor = compressor
        self.compressed = JOINTLY if jointly else SEPARATELY

    @cached_property
    def identity(self) -> str:
        """See the base class."""
        weights = weights_fingerprint(self.model.module)
        return f"{weights}+{self.compressor.fingerprint} {self.compressed}"

    def prefixes(self, problems: Sequence[Problem]) -> list[Int64[np.ndarray, " prefix"]]:
        """What stands before each prompt's bytes: ids up to and with ``<raw>``."""
        before, after = [BOS, COMPRESSED_OPEN], [COMPRESSED_CLOSE, RAW_OPEN]
        return [
            np.concatenate([before, one.astype(np.int64) + COMPRESSED_OFFSET, after])
            for one in self._symbols(problems)
        ]

    def _symbols(self, problems: Sequence[Problem]) -> list[NDArray[np.uint32]]:
        if self.compressed == JOINTLY:
            return self.compressor.compress([one.prompt + one.solution for one in problems])
        prompts = self.compressor.compress([one.prompt for one in problems])
        solutions = self.compressor.compress([one.solution for one in problems])
        return [np.concatenate(pair) for pair in zip(prompts, solutions, strict=True)]

    def answer(self, problems: Sequence[Problem], draws: Draws) -> list[Completion]:
        """See the base class; the budget is that of bytes."""
        options, prefixes = draws.in_bytes(), self.prefixes(problems)
        requests = [
            ByteRequest(prompt=problem.prompt, prefix=prefix, options=options, sample=sample)
            for problem, prefix, sample in zip(problems, prefixes, draws.samples, strict=True)
        ]
        return complete(self.model.module, requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How much of the solutions came back, over all samples.

    Attributes:
        exact_match: share of completions that equal the solution, trailing white space aside.
        edit_similarity: mean of ``1 - Levenshtein distance / longer length``, over bytes.
    """

    exact_match: float
    edit_similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationGain:
    """What seeing the compressed form saves, over the problems whose oracle prompt fits.

    Attributes:
        problems: that fit the model's training context.
        left_out: those that do not.
        bits_per_byte: of the solution given the prompt alone; None where no problem fits.
        translated_bits_per_byte: given the oracle prompt.
        gain: ``1 - translated / alone``.
    """

    problems: int
    left_out: int
    bits_per_byte: float | None = None
    translated_bits_per_byte: float | None = None
    gain: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslationReport:
    """What an evaluation found.

    Attributes:
        benchmark, problems, samples: as in ``CodeReport``.
        compressor: the kind of the one that wrote the oracle prompts.
        compressed: ``jointly`` or ``separately``.
        beyond_context: problems whose oracle prompt alone is longer than the training context.
        pass_at_1: None where nothing was executed.
        recovery: None where nothing was generated.
        likelihood: the gain in bits.
    """

    benchmark: str
    problems: int
    samples: int
    compressor: str
    compressed: str
    beyond_context: int
    pass_at_1: float | None
    recovery: Recovery | None
    likelihood: TranslationGain


def evaluate_translation(
    writer: TranslationWriter,
    benchmark: Benchmark,
    answering: Answering | None,
    *,
    progress: TellCount = untold,
) -> TranslationReport:
    """Evaluate how well a model puts compressed solutions back into bytes.

    Args:
        writer: the model with its oracle prompts.
        benchmark: the problems.
        answering: how to generate and judge; None measures likelihoods alone.
        progress: hears how much of the solutions has been read.

    Raises:
        UsageError: rapidfuzz is not there, which compares what is generated.
    """
    if answering:
        _edit_similarity()  # found missing before anything is generated
    problems = benchmark.problems
    results = answering.run(writer, {ORACLE: benchmark}) if answering else None
    passed = None
    if answering and results and answering.execute:
        passed = pass_at_k(list(results.correct(ORACLE).values()), 1)
    by_task = {problem.task_id: problem for problem in problems}
    lengths = [
        len(prefix) + len(problem.prompt)
        for prefix, problem in zip(writer.prefixes(problems), problems, strict=True)
    ]
    return TranslationReport(
        benchmark=benchmark.name,
        problems=len(problems),
        samples=answering.plan.samples if answering else 0,
        compressor=writer.compressor.kind,
        compressed=writer.compressed,
        beyond_context=sum(length > writer.model.config.context for length in lengths),
        pass_at_1=passed,
        recovery=recovery(results.samples, by_task) if results else None,
        likelihood=translation_gain(writer, problems, progress),
    )


def recovery(samples: Sequence[Sample], problems: Mapping[str, Problem]) -> Recovery:
    """How much of the solutions the completions reproduce.

    Args:
        samples: completions, at least one.
        problems: by ``task_id``.
    """
    pairs = [
        (sample.completion.rstrip(), problems[sample.key.task_id].solution.rstrip())
        for sample in samples
    ]
    similarities = list(starmap(_edit_similarity(), pairs))
    return Recovery(
        exact_match=sum(ours == wanted for ours, wanted in pairs) / len(pairs),
        edit_similarity=sum(similarities) / len(pairs),
    )


def _edit_similarity() -> Callable[[bytes, bytes], float]:
    with needing_extra("edit similarity", "evaluation"):
        from rapidfuzz.distance import Levenshtein
    return Levenshtein.normalized_similarity


def translation_gain(
    writer: TranslationWriter, problems: Sequence[Problem], progress: TellCount = untold
) -> TranslationGain:
    """Bits of the solutions with and without their compressed form in view."""
    model, prefixes = writer.model, writer.prefixes(problems)
    sequences = [
        ScoredSequence(
            prefix=prefix,
            content=raw_symbols(problem.prompt + problem.solution),
            first_scored=len(problem.prompt),
        )
        for prefix, problem in zip(prefixes, problems, strict=True)
    ]
    fits = [len(one.prefix) + len(one.content) - 1 <= model.config.context for one in sequences]
    chosen = [problem for problem, fit in zip(problems, fits, strict=True) if fit]
    if not chosen:
        return TranslationGain(problems=0, left_out=len(problems))
    kept = [one for one, fit in zip(sequences, fits, strict=True) if fit]
    num_bytes = solution_bytes(chosen).sum()
    translated = sequence_bits(model.module, kept, progress=progress).sum() / num_bytes
    scorer = Scorer(model.module, RawReading(), progress=progress)
    alone = scorer.solution_bits(chosen).sum() / num_bytes
    return TranslationGain(
        problems=len(chosen),
        left_out=len(problems) - len(chosen),
        bits_per_byte=float(alone),
        translated_bits_per_byte=float(translated),
        gain=float(1 - translated / alone),
    )
