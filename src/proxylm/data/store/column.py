"""One column of a store, all rows' values one after the other: how every reader sees its arrays.

``GrowingColumn`` is one that is being written, in memory that does not grow with it.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Int64, Shaped
from numpy.typing import NDArray

from proxylm.files import named_write

HELD_BYTES = 16 << 20
"""What a growing column holds in memory before it goes on in a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of one shard, as arrays over the memory map.

    Attributes:
        values: all rows' values one after the other, ``[n]`` (anchors: ``[n, 2]``), read-only.
        offsets: int64 ``[rows + 1]``; row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    """

    values: Shaped[np.ndarray, "value ..."]
    offsets: Int64[np.ndarray, " border"]

    @classmethod
    def of(cls, rows: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> Column:
        """Rows one after the other, as ``dtype``."""
        values = np.concatenate(rows, dtype=dtype, casting="unsafe") if rows else np.empty(0, dtype)
        return cls(values=values, offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64))

    def row(self, index: int | np.integer) -> Shaped[np.ndarray, "length ..."]:
        """Row ``index`` of this shard, without copying."""
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> Int64[np.ndarray, " rows"]:
        """Length of each row, int64 ``[rows]``."""
        return np.diff(self.offsets)


class GrowingColumn:
    """Rows one after the other, of which a few megabytes are in memory, however many there are.

    Args:
        dtype: of the values.
        folder: where the file without a name lies that holds the others.
    """

    def __init__(self, dtype: np.dtype[Any], folder: Path) -> None:
        self._dtype = dtype
        self._folder = folder
        self._held: list[NDArray[Any]] = []
        self._held_bytes = 0
        self._file: BinaryIO | None = None
        self._lengths = [np.zeros(1, np.int64)]

    def extend(self, rows: Sequence[NDArray[Any]]) -> None:
        """Append rows.

        Raises:
            CannotWriteError: the disk is full.
        """
        added = Column.of(rows, self._dtype)
        self._lengths.append(added.lengths)
        self._held.append(added.values.reshape(-1))
        self._held_bytes += added.values.nbytes
        if self._held_bytes > HELD_BYTES:
            self._put_away()

    def _put_away(self) -> None:
        with named_write(self._folder):
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - kept open
            for values in self._held:
                self._file.write(values.data)
            self._file.flush()
        self._held, self._held_bytes = [], 0

    def column(self) -> Column:
        """All rows so far; values of pairs one after the other.

        Raises:
            CannotWriteError: the disk is full.
        """
        offsets = np.cumsum(np.concatenate(self._lengths))
        if self._file is None:
            held = self._held or [np.empty(0, self._dtype)]
            return Column(values=np.concatenate(held), offsets=offsets)
        self._put_away()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return Column(values=np.frombuffer(mapped, self._dtype), offsets=offsets)
