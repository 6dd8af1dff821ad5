"""The contract of structured output: which bytes may come next, and whether the text may end here.

A state is asked before every byte and told every byte that was chosen. It only ever takes choices
away from head 0, so it holds for drafted bytes as well: one that is not allowed is never accepted,
and nothing has to be taken back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from proxylm.symbols import BYTE_COUNT


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may follow.

    Attributes:
        values: by byte value; by symbol, where a compressor's are written.
        may_end: whether the text is complete as it stands.
    """

    values: Bool[np.ndarray, " value"]
    may_end: bool

    @property
    def none(self) -> bool:
        """Whether the text can neither go on nor end."""
        return not (self.may_end or self.values.any())


class StructuredOutputState(ABC):
    """One text on its way through what it must satisfy."""

    @abstractmethod
    def allowed(self, bytes_left: int) -> Allowed:
        """What may follow, where at most ``bytes_left`` (at least 1) further bytes will come."""

    @abstractmethod
    def advance(self, value: int) -> None:
        """Take in the byte that was chosen, one of ``allowed``."""


class AllOf(StructuredOutputState):
    """Several of them at once; none: anything may follow."""

    def __init__(self, states: Sequence[StructuredOutputState]) -> None:
        self._states = states

    def allowed(self, bytes_left: int) -> Allowed:
        """What every one of them allows."""
        values, may_end = np.ones(BYTE_COUNT, dtype=bool), True
        for state in self._states:
            own = state.allowed(bytes_left)
            values, may_end = values & own.values, may_end and own.may_end
        return Allowed(values, may_end)

    def advance(self, value: int) -> None:
        """See the base class."""
        for state in self._states:
            state.advance(value)
