"""What one pass through a decoding cache feeds, where the keys go, and what each symbol sees.

A pass feeds some symbols to some rows of a cache, every row at its own position. They are handled
flat, row after row: ``T`` symbols, and of each the place of its key in its row's buffer and the
places it sees. This is worked out once per pass and shared by all layers.

The symbols of a row follow one another, or form a ``SymbolTree`` of alternatives: then a symbol
sees, beside everything before the tree, its own ancestors alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.errors import UsageError

Integers = NDArray[np.int64]


class SymbolTree:
    """Alternatives fed to one row in one pass.

    Attributes:
        parents: int64 ``[n]``; the index of the symbol before, -1 where it is the row's last one.
            A symbol comes after its parent.
        depths: int64 ``[n]``; how many of the fed symbols come before on the way from the root.
        ancestors: int64 ``[n, depth]``; a symbol's own index and those before it, -1 beyond.

    Raises:
        UsageError: a parent that does not come before its symbol.
    """

    def __init__(self, parents: Integers) -> None:
        self.parents = parents
        paths: list[list[int]] = []
        for index, parent in enumerate(parents.tolist()):
            if not -1 <= parent < index:
                raise UsageError(f"tree: symbol {index} has the parent {parent}, not one before it")
            paths.append([*(paths[parent] if parent >= 0 else []), index])
        self.depths = np.array([len(path) - 1 for path in paths], dtype=np.int64)
        self.ancestors = np.full((len(paths), max(map(len, paths))), -1, dtype=np.int64)
        for index, path in enumerate(paths):
            self.ancestors[index, : len(path)] = path


class Room(NamedTuple):
    """How large each layer's buffer is: ``summaries`` before its origin, ``keys`` from there."""

    rows: int
    summaries: int
    keys: int


class Sealing(NamedTuple):
    """A row's window that is complete and becomes summaries; windows count from 0."""

    row: int
    window: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """Symbols of a pass that can be attended together: no row crosses a window's border inside.

    Attributes:
        tokens: which of the pass's ``T`` symbols these ``t`` are.
        sealing: windows to summarize before.
        rows, places: int64 ``[t]``; where each symbol's key and value go.
        first, end: int64 ``[t]``; each symbol sees the places ``first`` ... ``end - 1``.
        ancestors: int64 ``[t, A]``; and these places, its own among them; -1 is none.
    """

    tokens: slice | Integers
    sealing: list[Sealing]
    rows: Integers
    places: Integers
    first: Integers
    end: Integers
    ancestors: Integers
    _padded: dict[torch.device, PaddedRound] = field(default_factory=dict)

    @cached_property
    def products(self) -> int:
        """Pairs of a symbol and a place it sees."""
        return int((self.end - self.first).sum()) + self.ancestors.size

    def part(self, tokens: Integers, sealing: list[Sealing]) -> Round:
        """Some of the symbols as a round of their own."""
        return Round(
            tokens=tokens,
            sealing=sealing,
            rows=self.rows[tokens],
            places=self.places[tokens],
            first=self.first[tokens],
            end=self.end[tokens],
            ancestors=self.ancestors[tokens],
        )

    def padded(self, device: torch.device) -> PaddedRound:
        """The round as one rectangle, for attention over whole batches; made once."""
        if device not in self._padded:
            self._padded[device] = PaddedRound(self, device)
        return self._padded[device]


class PaddedRound:
    """A round as queries ``[r, n]`` of neighbouring rows, and the mask of what they see.

    Rows in between that feed less are padded with a symbol of the round, whose output is dropped.

    Attributes:
        rows: the ``r`` rows of the buffer that the rectangle covers.
        seen: the ``L`` places of the buffer that any of them sees.
        shape: ``(r, n)``.
        full: whether nothing is padded.
        queries: int64 ``[r, n]``; the symbol at each place of the rectangle.
        cells: int64 ``[t]``; where in the flattened rectangle each symbol is.
        write_rows, write_places: int64 ``[t]``; where each symbol's key and value go.
        mask: boolean ``[r, 1, n, L]``; None where every query sees all of ``seen``.
    """

    def __init__(self, round_: Round, device: torch.device) -> None:
        lowest, highest = int(round_.rows[0]), int(round_.rows[-1])
        self.rows = slice(lowest, highest + 1)
        within_row = np.bincount(round_.rows - lowest, minlength=highest + 1 - lowest)
        width = int(within_row.max())
        self.shape = (highest + 1 - lowest, width)
        self.full = len(round_.rows) == self.shape[0] * width
        starts = np.cumsum(within_row) - within_row
        steps = np.arange(len(round_.rows)) - starts[round_.rows - lowest]
        cells = (round_.rows - lowest) * width + steps
        queries = np.zeros(self.shape[0] * width, dtype=np.int64)
        queries[cells] = np.arange(len(cells))
        self.queries = torch.from_numpy(queries.reshape(self.shape)).to(device)
        self.cells = torch.from_numpy(cells).to(device)
        self.write_rows = torch.from_numpy(round_.rows).to(device)
        self.write_places = torch.from_numpy(round_.places).to(device)
        self.seen = slice(int(round_.first.min()), 1 + int(round_.places.max()))
        self.mask = self._mask(round_, device)

    def _mask(self, round_: Round, device: torch.device) -> Tensor | None:
        if (
            self.shape[1] == 1
            and not round_.ancestors.shape[1]
            and (round_.first == self.seen.start).all()
            and (round_.end == self.seen.stop).all()
        ):
            return None
        places = torch.arange(self.seen.start, self.seen.stop, device=device)
        first, end, ancestors = (
            torch.from_numpy(values).to(device)
            for values in (round_.first, round_.end, round_.ancestors)
        )
        mask = (places >= first[:, None]) & (places < end[:, None])
        for generation in ancestors.unbind(1):
            mask |= places == generation[:, None]
        return mask[self.queries][:, None]


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One pass: made by ``Cache.plan``, used by every layer, counted in by ``Cache.advance``.

    Attributes:
        counts: int64 ``[B]``; symbols fed to each row.
        rows: int64 ``[T]``; the row of each symbol, in increasing order.
        position_ids: int64 ``[T]``; its position, counted from its row's start.
        rounds: the symbols, cut where windows end.
        room: the buffers' size.
        sealed: int64 ``[B]``; windows of each row that are summaries afterwards.
        trees: the rows whose symbols are alternatives.
    """

    counts: Integers
    rows: Integers
    position_ids: Integers
    rounds: list[Round]
    room: Room
    sealed: Integers
    trees: dict[int, SymbolTree]
