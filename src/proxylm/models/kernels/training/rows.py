"""Blocks of rows: the unit in which elementwise work and matrix products alternate.

A block's rows are still in the cache when the next step reads them, which whole contexts are not.
"""

from __future__ import annotations

from collections.abc import Iterator

ROWS_PER_BLOCK = 1024
"""Enough for a matrix product to run at full speed; 1.5 MiB of float32 at a width of 384."""


def row_blocks(row_count: int) -> Iterator[slice]:
    """Slices that cover ``row_count`` rows in order."""
    for start in range(0, row_count, ROWS_PER_BLOCK):
        yield slice(start, min(start + ROWS_PER_BLOCK, row_count))
