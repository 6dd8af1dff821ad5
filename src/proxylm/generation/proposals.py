"""How many bytes a forward pass may yield: what the further heads propose, head 0 then verifies.

Head ``k`` predicts the byte ``k`` further on from what head 0 predicts, so one state proposes
several bytes. The next pass feeds them all, behind the byte that is already certain, and head 0
says after each what comes next: where that is what was proposed, the byte cost no pass of its own.
What is generated never depends on the proposals, only how many passes it takes.

A chain proposes one byte after another; a tree alternatives as well. Either stops where a byte
would be reached with less than ``least_probability``, by the product of the heads' probabilities.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from proxylm.config import Config
from proxylm.errors import UsageError
from proxylm.symbols import RAW_OFFSET

Integers = NDArray[np.int64]
Probabilities = NDArray[np.float32]
"""``[K, 256]``: of every byte by every head, nearest first."""


@dataclass(frozen=True)
class Draft:
    """Proposed symbols of one row, to be fed behind its newest one.

    Attributes:
        symbols: int64 ``[m]`` ids.
        parents: int64 ``[m]``; what each follows: 0 is the row's newest symbol, ``j + 1`` is
            proposal ``j``.
    """

    symbols: Integers
    parents: Integers

    @cached_property
    def children(self) -> dict[tuple[int, int], int]:
        """Index (as in ``parents``) of the proposal that has this parent and this symbol."""
        pairs = zip(self.parents.tolist(), self.symbols.tolist(), strict=True)
        return {pair: index for index, pair in enumerate(pairs, start=1)}

    @property
    def branches(self) -> bool:
        """Whether there are alternatives; otherwise each proposal follows the one before."""
        return bool((self.parents != np.arange(len(self.parents))).any())


NOTHING = Draft(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


class OneByte(Config):
    """Propose nothing: every pass yields one byte."""

    kind: Literal["one"] = "one"

    def draft(self, probabilities: Probabilities, *, depth: int, window_depth: int) -> Draft:
        """Nothing."""
        return NOTHING


class Chain(Config):
    """Propose each head's most probable byte, one after the other.

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


class Tree(Config):
    """Propose the bytes that are reached most probably, alternatives among them.

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


Proposals = Annotated[OneByte | Chain | Tree, Field(discriminator="kind")]

ONE_BYTE = OneByte()
"""What is done where nothing else is asked for."""

KINDS: dict[str, type[OneByte | Chain | Tree]] = {"one": OneByte, "chain": Chain, "tree": Tree}


def proposals_named(kind: str) -> Proposals:
    """The kind of proposals of that name, as it is by default.

    Raises:
        UsageError: there is no such kind.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown proposals '{kind}'; choose one of {', '.join(KINDS)}")
    return KINDS[kind]()
