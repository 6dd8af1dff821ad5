"""Several bytes per forward pass: what is drafted, head 0 then verifies.

Head ``k`` predicts the byte ``k`` further on from what head 0 predicts, so one state drafts
several bytes. The next pass feeds them all, behind the byte that is already certain, and head 0
says after each what comes next: where that is what was drafted, the byte cost no pass of its own.
What is generated never depends on the drafts, only how many passes it takes.

A chain drafts one byte after another; a tree alternatives as well. A model of one head has nothing
to draft with but the text: ``Lookup`` asks it what came before after the same bytes, and the heads
beside it where there are any. All stop where a byte would be reached with less than
``least_probability``, by the product of the probabilities on the way to it.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from jaxtyping import Float, Int64
from pydantic import Field, PositiveInt

from proxylm.config import Config
from proxylm.errors import UsageError
from proxylm.generation.lookup import MOST_DEPTH
from proxylm.symbols import RAW_OFFSET

Probabilities = Float[np.ndarray, "heads byte=256"]
"""Of every byte by every head, nearest first."""


@dataclass(frozen=True)
class Draft:
    """Drafted symbols of one row, to be fed behind its newest one.

    Attributes:
        symbols: ids.
        parents: what each follows: 0 is the row's newest symbol, ``j + 1`` is drafted symbol ``j``.
    """

    symbols: Int64[np.ndarray, " drafted"]
    parents: Int64[np.ndarray, " drafted"]

    @cached_property
    def children(self) -> dict[tuple[int, int], int]:
        """Index (as in ``parents``) of the drafted symbol that has this parent and this id."""
        pairs = zip(self.parents.tolist(), self.symbols.tolist(), strict=True)
        return {pair: index for index, pair in enumerate(pairs, start=1)}

    @property
    def branches(self) -> bool:
        """Whether there are alternatives; otherwise each symbol follows the one before."""
        return bool((self.parents != np.arange(len(self.parents))).any())


NO_DRAFT = Draft(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


class RowDrafter(ABC):
    """Drafts the bytes of one row, pass by pass."""

    @abstractmethod
    def append(self, value: int) -> None:
        """Take in the byte that was written."""

    @abstractmethod
    def draft(self, probabilities: Probabilities, *, depth: int, window_depth: int) -> Draft:
        """What may follow the newest byte.

        Args:
            probabilities: the model's further heads', none for a model without.
            depth: most bytes one after another.
            window_depth: how many fit into the model's window, which no alternatives may cross.
        """


class _OfHeads(Config, RowDrafter):
    """What the heads alone draft knows nothing of the row."""

    def start(self, text: bytes) -> Self:
        """The drafter of a row that follows ``text``."""
        return self

    def append(self, value: int) -> None:
        """See the base class."""


class Chain(_OfHeads):
    """Draft each head's most probable byte, one after the other.

    Attributes:
        length: most bytes; further heads of the model are not asked.
        least_probability: stop before a byte that is reached with less.
    """

    kind: Literal["chain"] = "chain"
    length: PositiveInt = 7
    least_probability: float = Field(default=0.1, ge=0, le=1)

    def draft(self, probabilities: Probabilities, *, depth: int, window_depth: int) -> Draft:
        """The chain, by the heads' probabilities; at most ``depth`` bytes.

        It may go on beyond the model's window.
        """
        heads = probabilities[: max(0, min(depth, self.length))]
        reached = np.cumprod(heads.max(axis=1, initial=0))
        count = int(np.count_nonzero(reached >= self.least_probability))
        symbols = heads[:count].argmax(axis=1) + RAW_OFFSET
        return Draft(symbols, np.arange(count))


class Tree(_OfHeads):
    """Draft the bytes that are reached most probably, alternatives among them.

    Attributes:
        nodes: most bytes in all.
        depth: most bytes one after another; further heads of the model are not asked.
        least_probability: leave out what is reached with less.
    """

    kind: Literal["tree"] = "tree"
    nodes: PositiveInt = 8
    depth: PositiveInt = 7
    least_probability: float = Field(default=0.1, ge=0, le=1)

    def draft(self, probabilities: Probabilities, *, depth: int, window_depth: int) -> Draft:
        """The tree, by the heads' probabilities; at most ``depth`` bytes one after another.

        It ends with the model's window (after ``window_depth``): whatever came after would see
        summaries of a window that is different for every alternative.

        Best first: what a byte is reached with falls from parent to child and from one sibling to
        the next, so the most probable of those not taken is a next sibling or a first child.
        """
        heads = probabilities[: max(0, min(depth, window_depth, self.depth))]
        ranked = _ranked(heads, self.least_probability)
        symbols: list[int] = []
        parents: list[int] = []
        # Entries: what the byte is reached with (negative), its place among its siblings, its
        # depth, its parent's index, and what the parent is reached with.
        best = [(-ranked[0][0][0], 0, 0, 0, 1.0)] if ranked and ranked[0] else []
        while best and len(symbols) < self.nodes:
            reached, rank, level, parent, before = heapq.heappop(best)
            if -reached < self.least_probability:
                break
            symbols.append(ranked[level][rank][1] + RAW_OFFSET)
            parents.append(parent)
            if rank + 1 < len(ranked[level]):
                sibling = -before * ranked[level][rank + 1][0]
                heapq.heappush(best, (sibling, rank + 1, level, parent, before))
            if level + 1 < len(ranked) and ranked[level + 1]:
                child = reached * ranked[level + 1][0][0]
                heapq.heappush(best, (child, 0, level + 1, len(symbols), -reached))
        return Draft(np.array(symbols, dtype=np.int64), np.array(parents, dtype=np.int64))


def _ranked(heads: Probabilities, least: float) -> list[list[tuple[float, int]]]:
    """Of each head the bytes that are not below ``least``, as (probability, byte), best first."""
    levels, values = np.nonzero(heads >= least)  # few: to sort all of them takes longer
    found = zip(levels.tolist(), (-heads[levels, values]).tolist(), values.tolist(), strict=True)
    ranked: list[list[tuple[float, int]]] = [[] for _ in heads]
    for level, negative, value in sorted(found):
        ranked[level].append((-negative, value))
    return ranked


class Lookup(Config):
    """Draft the bytes, alternatives among them, that mostly came next after the same bytes before.

    How probable a byte is there, say the latest places of the row's prompt and output that follow
    the same bytes (up to 12 of them), the longer the more. A model's further heads, if it
    has any, have a say in the bytes that they are about, as far as they have been right.

    Attributes:
        nodes: most bytes in all.
        depth: most bytes one after another.
        least_probability: leave out what is reached with less.
    """

    kind: Literal["lookup"] = "lookup"
    nodes: PositiveInt = 8
    depth: Annotated[int, Field(gt=0, le=MOST_DEPTH)] = 16
    least_probability: float = Field(default=0.1, ge=0, le=1)

    def start(self, text: bytes) -> RowDrafter:
        """The drafter of a row that follows ``text``."""
        return _RowLookup(self, text)


class _RowLookup(RowDrafter):
    def __init__(self, settings: Lookup, text: bytes) -> None:
        self._settings = settings
        from proxylm.generation.lookup.seen_text import SeenText  # numba: not for a help

        self._seen = SeenText(text)

    def append(self, value: int) -> None:
        """See the base class."""
        self._seen.append(value)

    def draft(self, probabilities: Probabilities, *, depth: int, window_depth: int) -> Draft:
        """The tree; it ends with the window, as ``Tree``'s does."""
        settings = self._settings
        values, parents = self._seen.draft(
            probabilities,
            depth=max(0, min(depth, window_depth, settings.depth)),
            nodes=settings.nodes,
            least_probability=settings.least_probability,
        )
        return Draft(values + RAW_OFFSET, parents)


Drafter = Annotated[Chain | Tree | Lookup, Field(discriminator="kind")]

DRAFTERS: dict[str, Drafter | None] = {
    "none": None,
    "chain": Chain(),
    "tree": Tree(),
    "lookup": Lookup(),
}
"""The drafters as they are by default, by name; ``none``: one byte per pass."""


def drafter_named(kind: str) -> Drafter | None:
    """The drafter of that name, as it is by default; ``none``: one byte per pass.

    Raises:
        UsageError: there is no such drafter.
    """
    if kind not in DRAFTERS:
        raise UsageError(f"unknown drafter '{kind}'; choose one of {', '.join(DRAFTERS)}")
    return DRAFTERS[kind]
