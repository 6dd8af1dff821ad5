"""Likelihood forms of the benchmarks: scores with signal at any size, beside pass@k.

Small models pass no test, but they do give a right program more or less probability. The unit is
bits per byte of the canonical solution given the prompt: the bits of its symbols after those of
the prompt (``<bos> <raw> prompt``, or the compressor's symbols of both), over its raw bytes.
What is not read of a prompt's end (``scoring.prompts``) counts with the solution, as under the
suffixes of ``prompt_boundary``; with ``exact`` all ways to cover both in tokens count together.
Prompts that do not fit the context are read through strided windows, as in ``evaluate bpb``; read
mixed, they lose their beginning.

Docs: ``docs/evaluation.md`` has the names and formulas of all forms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.errors import DataError
from proxylm.evaluation.benchmarks.problem import Problem
from proxylm.generation.next_bytes import ExactBytes
from proxylm.generation.prompt_ends import Spellings
from proxylm.inputs import as_documents
from proxylm.models.language_model import LanguageModel
from proxylm.models.scoring_windows import default_stride
from proxylm.progress import TellCount, told, untold
from proxylm.scoring.mixed import MixedText
from proxylm.scoring.passes import bits_and_greediness, sequence_bits
from proxylm.scoring.prompts import open_prompt, stripped
from proxylm.scoring.read_as import PromptEnd
from proxylm.scoring.readings import CompressedReading, MixedReading, Reading
from proxylm.scoring.sequences import ScoredSequence

Bits = NDArray[np.float64]
MixedOf = Callable[[bytes], MixedText | None]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model together with the form in which it reads text, and what of a prompt's end."""

    model: LanguageModel
    reading: Reading
    prompt_end: PromptEnd = PromptEnd.KEEP
    progress: TellCount = untold

    def telling(self, progress: TellCount) -> Scorer:
        """The same, and ``progress`` hears how much it has read."""
        return replace(self, progress=progress)

    def bits(self, prompts: Sequence[bytes], continuations: Sequence[bytes]) -> Bits:
        """Bits of each continuation given its prompt, float64 ``[n]``.

        Raises:
            DataError: a compressor has no exact form for one of them.
        """
        if self.prompt_end is PromptEnd.EXACT:
            return self._exact_bits(as_documents(prompts), as_documents(continuations))
        sequences, owners = self._owned(prompts, continuations)
        bits = sequence_bits(self.model, sequences, progress=self.progress)
        return _sums(owners, bits, len(prompts))

    def bits_and_greediness(
        self, prompts: Sequence[bytes], continuations: Sequence[bytes]
    ) -> tuple[Bits, NDArray[np.bool_]]:
        """``bits``, and whether greedy decoding would write each continuation.

        Raises:
            DataError: as ``bits``.
        """
        sequences, owners = self._owned(prompts, continuations)
        bits, greedy = bits_and_greediness(self.model, sequences, self.progress)
        others = _sums(owners, ~greedy, len(prompts))
        return _sums(owners, bits, len(prompts)), others == 0

    def _exact_bits(self, prompts: Sequence[bytes], continuations: Sequence[bytes]) -> Bits:
        assert isinstance(self.reading, CompressedReading), "bytes are kept"
        spellings = self.reading.compressor.spellings
        assert spellings is not None, "the writer has asked"
        exact = ExactBytes(self.model, self.reading, Spellings(spellings))
        pairs = list(zip(prompts, continuations, strict=True))
        return np.array([exact.bits(*pair) for pair in told(pairs, "texts read", self.progress)])

    def _owned(
        self, prompts: Sequence[bytes], continuations: Sequence[bytes]
    ) -> tuple[list[ScoredSequence], NDArray[np.intp]]:
        """Continuations after their prompts, as the model reads them, and which each is of."""
        pairs = zip(as_documents(prompts), as_documents(continuations), strict=True)
        mixed_of = lru_cache(maxsize=1)(self.reading.mixed)  # a prompt's choices follow each other
        found = [self._sequences(*pair, mixed_of) for pair in pairs]
        owners = np.repeat(np.arange(len(found)), [len(own) for own in found])
        return list(chain.from_iterable(found)), owners

    def _sequences(
        self, prompt: bytes, continuation: bytes, mixed_of: MixedOf
    ) -> list[ScoredSequence]:
        if isinstance(self.reading, MixedReading):
            return self._stretches(prompt, continuation, mixed_of)
        opened = open_prompt(self.reading, prompt, self.prompt_end)
        after = self.reading.read(opened.end + continuation).ids
        return [
            ScoredSequence(
                prefix=self.reading.prefix,
                content=np.concatenate([opened.ids, after]),
                first_scored=len(opened.ids),
            )
        ]

    def _stretches(
        self, prompt: bytes, continuation: bytes, mixed_of: MixedOf
    ) -> list[ScoredSequence]:
        """The continuation in bytes after the prompt's symbols, as it would be generated.

        One that is longer than half of the context goes on after the symbols of all before.
        """
        if self.prompt_end is PromptEnd.STRIP:
            prompt, end = stripped(prompt)
            continuation = end + continuation
        context = self.model.config.context
        stride = default_stride(context, len(self.reading.prefix))
        whole = prompt + continuation
        text = mixed_of(whole if len(continuation) > stride else prompt)
        assert text is not None, "a mixed reading has one"
        text = replace(text, raw=self.reading.read(whole).ids)
        return list(text.stretches(len(prompt), stride=stride, context=context))

    def solution_bits(self, problems: Sequence[Problem]) -> Bits:
        """Bits of each problem's canonical solution given its prompt."""
        return self.bits(
            [problem.prompt for problem in problems], [problem.solution for problem in problems]
        )


def solution_bytes(problems: Sequence[Problem]) -> Bits:
    """Raw bytes of each canonical solution.

    Raises:
        DataError: one is empty.
    """
    for problem in problems:
        if not problem.solution:
            raise DataError(f"{problem.task_id}: its canonical solution is empty")
    return np.array([len(problem.solution) for problem in problems], dtype=np.float64)


def solution_bits_per_byte(scorer: Scorer, problems: Sequence[Problem]) -> float:
    """All bits of the canonical solutions over all their bytes."""
    return float(scorer.solution_bits(problems).sum() / solution_bytes(problems).sum())


def _sums(owners: NDArray[np.intp], values: NDArray[Any], count: int) -> NDArray[np.float64]:
    """The sum of the values of each owner."""
    return np.bincount(owners, values, minlength=count).astype(np.float64, copy=False)
