"""The contract of constraints: which bytes may come next, and whether the text may end here.

A constraint is asked before every byte and told every byte that was chosen. It only ever takes
choices away from head 0, so it holds under proposals as well: a proposal that is not allowed is
never chosen, and nothing has to be taken back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxylm.symbols import BYTE_COUNT


@dataclass(frozen=True, slots=True)
class Choices:
    """What may follow.

    Attributes:
        values: bool ``[256]``, by byte value.
        may_end: whether the text is complete as it stands.
    """

    values: NDArray[np.bool_]
    may_end: bool

    @property
    def none(self) -> bool:
        """Whether the text can neither go on nor end."""
        return not (self.may_end or self.values.any())


class ConstraintState(ABC):
    """One text on its way through a constraint."""

    @abstractmethod
    def choices(self, bytes_left: int) -> Choices:
        """What may follow, where at most ``bytes_left`` (at least 1) further bytes will come."""

    @abstractmethod
    def advance(self, value: int) -> None:
        """Take in the byte that was chosen, one of ``choices``."""


class AllOf(ConstraintState):
    """Several constraints at once; none of them: anything may follow."""

    def __init__(self, states: Sequence[ConstraintState]) -> None:
        self._states = states

    def choices(self, bytes_left: int) -> Choices:
        """What every one of them allows."""
        values, may_end = np.ones(BYTE_COUNT, dtype=bool), True
        for state in self._states:
            own = state.choices(bytes_left)
            values, may_end = values & own.values, may_end and own.may_end
        return Choices(values, may_end)

    def advance(self, value: int) -> None:
        """See the base class."""
        for state in self._states:
            state.advance(value)
