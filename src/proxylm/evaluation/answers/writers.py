"""A model as a writer of programs: read as bytes, or, with its compressor, as tokens or mixed.

Every generative benchmark takes one of these (``--read-as``) and sees bytes only.
(``evaluation.translation`` has one more, which reads the solution's compressed form.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
import xxhash

from proxylm.compressors.contract import Compressor
from proxylm.evaluation.answers.options import SamplingPlan
from proxylm.evaluation.benchmarks.problem import Problem
from proxylm.evaluation.likelihood import Scorer
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import Completion
from proxylm.generation.options import GenerationOptions, SymbolOptions
from proxylm.generation.token_reading import TokenReading
from proxylm.models.language_model import LanguageModel
from proxylm.scoring.read_as import BYTES, DEFAULT_ENDS, MIXED, TOKENS, PromptEnd
from proxylm.scoring.readings import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How some completions are drawn.

    Attributes:
        plan: how each is; its budget bounds it.
        stop: byte strings before which one ends.
        samples: the number of each, all that its randomness depends on beside the seed.
    """

    plan: SamplingPlan
    stop: tuple[bytes, ...]
    samples: Sequence[int]

    def in_bytes(self, prompt_end: PromptEnd = PromptEnd.KEEP) -> GenerationOptions:
        """The options of a generation of bytes."""
        most = self.plan.budget.max_bytes
        return GenerationOptions(max_new_bytes=most, prompt_end=prompt_end, **self._drawing())

    def in_symbols(self, prompt_end: PromptEnd) -> SymbolOptions:
        """The options of a generation of a compressor's symbols."""
        most = self.plan.budget.max_symbols
        return SymbolOptions(max_new_symbols=most, prompt_end=prompt_end, **self._drawing())

    def _drawing(self) -> dict[str, Any]:
        return self.plan.model_dump(include={"temperature", "top_p", "seed"}) | {"stop": self.stop}


class ProgramWriter(ABC):
    """Answers problems by bytes that continue their prompts.

    Attributes:
        read_as: how the model is read, for reports.
        model: the model.
        prompt_end: what is read of a prompt's end.
    """

    read_as: str
    model: ByteModel
    prompt_end: PromptEnd = PromptEnd.KEEP

    @property
    @abstractmethod
    def identity(self) -> str:
        """Names the weights (and the compressor): equal identities write equal completions."""

    def budget_of(self, plan: SamplingPlan) -> int:
        """The bound of a plan's budget that holds for this writer's completions."""
        return plan.budget.max_bytes

    @abstractmethod
    def answer(self, problems: Sequence[Problem], draws: Draws) -> list[Completion]:
        """One completion per problem, in order.

        Args:
            problems: whose prompts are continued.
            draws: how completions are drawn, one of its samples per problem.
        """


class PromptWriter(ProgramWriter):
    """A writer that reads nothing but the prompt.

    Attributes:
        reading: how the model scores text in the same form.
    """

    reading: Reading

    @property
    def scorer(self) -> Scorer:
        """Scores solutions in the same form, their prompts read up to the same end."""
        return Scorer(self.model.module, self.reading, self.prompt_end)

    def ending(self, prompt_end: PromptEnd) -> Self:
        """The same with prompts read up to another end."""
        other = copy(self)
        other.prompt_end = prompt_end
        return other

    def answer(self, problems: Sequence[Problem], draws: Draws) -> list[Completion]:
        """See the base class."""
        return self.complete([problem.prompt for problem in problems], draws)

    @abstractmethod
    def complete(self, prompts: Sequence[bytes], draws: Draws) -> list[Completion]:
        """As ``answer``, for prompts alone."""


class BytesWriter(PromptWriter):
    """The model as it is meant: raw bytes in, raw bytes out.

    Args:
        model: the model.
        prompt_end: what is read of a prompt's end; None: all of it. Bytes are not healed: the
            byte that would be dropped is the one that would be written; and they are exact as
            they are.
    """

    read_as = BYTES

    def __init__(self, model: ByteModel, prompt_end: PromptEnd | None = None) -> None:
        self.prompt_end = prompt_end or DEFAULT_ENDS[BYTES]
        if self.prompt_end in (PromptEnd.HEAL, PromptEnd.EXACT):
            self.prompt_end = PromptEnd.KEEP
        self.model = model
        self.reading = model.reading

    @cached_property
    def identity(self) -> str:
        """See the base class."""
        return weights_fingerprint(self.model.module)

    def complete(self, prompts: Sequence[bytes], draws: Draws) -> list[Completion]:
        """See the base class."""
        options = draws.in_bytes(self.prompt_end)
        return self.model.complete(prompts, options, samples=draws.samples)


class MixedWriter(BytesWriter):
    """Prompts as symbols, their ends as bytes; raw bytes out (``scoring.mixed``).

    Args:
        model: the model.
        compressor: that of its training.
        prompt_end: as of a ``BytesWriter``: prompts end in bytes.

    Raises:
        UsageError: the compressor is not the one that the model was trained with, or one whose
            symbols are never certain before a text is complete.
    """

    read_as = MIXED

    def __init__(
        self, model: ByteModel, compressor: Compressor, prompt_end: PromptEnd | None = None
    ) -> None:
        super().__init__(model.read_mixed(compressor), prompt_end)
        self.compressor = compressor

    @cached_property
    def identity(self) -> str:
        """See the base class."""
        return f"{super().identity}+{self.compressor.fingerprint}"


class TokensWriter(PromptWriter):
    """The model read as its compressor's symbols: ``<bos> <compressed> C(prompt)`` goes on.

    Args:
        model: the model.
        compressor: that of its training.
        prompt_end: what is read of a prompt's end; None: all but trailing white space.

    Raises:
        UsageError: the compressor is lossy, not the one that the model was trained with, or one
            that heals no prompts.
    """

    read_as = TOKENS

    def __init__(
        self, model: ByteModel, compressor: Compressor, prompt_end: PromptEnd | None = None
    ) -> None:
        self.prompt_end = prompt_end or DEFAULT_ENDS[TOKENS]
        self._tokens = TokenReading(model, compressor)
        self._tokens.require_end(self.prompt_end)
        self.reading = self._tokens.scoring
        self.model = model
        self.compressor = compressor

    @cached_property
    def identity(self) -> str:
        """See the base class."""
        return f"{weights_fingerprint(self.model.module)}+{self.compressor.fingerprint}"

    def budget_of(self, plan: SamplingPlan) -> int:
        """See the base class."""
        return plan.budget.max_symbols

    def complete(self, prompts: Sequence[bytes], draws: Draws) -> list[Completion]:
        """See the base class."""
        options = draws.in_symbols(self.prompt_end)
        return self._tokens.complete(prompts, options, draws.samples)


def weights_fingerprint(model: LanguageModel) -> str:
    """128-bit XXH3 over every weight: names, shapes, types and values."""
    digest = xxhash.xxh3_128()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole = tensor.detach().cpu().contiguous().flatten()
        digest.update(whole.view(torch.uint8).numpy().data)
    return digest.hexdigest()
