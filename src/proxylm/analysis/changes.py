"""What an edit changes in a compressor's symbols, one text at a time (paper, §3.4, Fig. 4).

The distance is that of ``stability``, which takes many samples instead: the normalized Levenshtein
distance of the symbol sequences. Here the symbols that stay are named as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from proxylm.analysis.stability import character_starts, moved
from proxylm.compressors.contract import Compressor
from proxylm.errors import needing_extra


@dataclass(frozen=True, slots=True, kw_only=True)
class EditChange:
    """Two forms of a text as a compressor's symbols.

    Attributes:
        distance: from 0 (no symbol changed) to 1.
        kept: of the text as it is now, whether each symbol was there before, ``[m]``.
        lost: symbols of the text as it was that are not there any more.
    """

    distance: float
    kept: Bool[np.ndarray, " symbol"]
    lost: int


def edit_change(compressor: Compressor, before: bytes, after: bytes) -> EditChange:
    """What becomes of a text's symbols by an edit.

    >>> from proxylm.compressors.registry import load_compressor
    >>> change = edit_change(load_compressor("units:bits=16"), b"one two three", b"on two three")
    >>> change.kept.tolist(), change.lost, round(change.distance, 2)
    ([True, False, False, False, False, False], 6, 0.86)

    Args:
        compressor: any.
        before: the text as it was.
        after: the text as it is now.

    Raises:
        UsageError: rapidfuzz is not there.
        DataError: the compressor has no exact form for one of them, or errs.
    """
    was, now = (one.tolist() for one in compressor.compress([before, after]))
    with needing_extra("what an edit changes", "inspect"):
        from rapidfuzz.distance import Levenshtein
    kept, same = np.zeros(len(now), dtype=bool), 0
    for block in Levenshtein.opcodes(was, now):
        if block.tag == "equal":
            kept[block.dest_start : block.dest_end] = True
            same += block.src_end - block.src_start
    distance = Levenshtein.normalized_distance(was, now)
    return EditChange(distance=distance, kept=kept, lost=len(was) - same)


def deletion_distances(
    compressor: Compressor, raw: bytes
) -> tuple[Int64[np.ndarray, " character"], Float64[np.ndarray, " character"]]:
    """How far a text's symbols move when one of its characters is deleted, for each of them.

    The compressor compresses as many texts as there are characters.

    Args:
        compressor: any.
        raw: the text.

    Returns:
        Where each character starts, and the distance without it; NaN where there is no exact form.

    Raises:
        UsageError: rapidfuzz is not there.
        DataError: the compressor errs.
    """
    starts = character_starts(raw)
    ends = [*starts[1:].tolist(), len(raw)]
    damaged = [raw[:start] + raw[end:] for start, end in zip(starts.tolist(), ends, strict=True)]
    return starts, moved(compressor, [raw], np.zeros(len(starts), dtype=np.int64), damaged)
