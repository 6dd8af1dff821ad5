"""One column of a store, all rows' values one after the other: how every reader sees its arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped
from numpy.typing import NDArray


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
