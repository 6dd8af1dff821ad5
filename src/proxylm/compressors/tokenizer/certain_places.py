"""From places in texts to places among a document's bytes, and what must be known of each.

A document is text with runs of bytes that are not UTF-8 between. Places in a text are those of
``borders``; a run's bytes have tokens of their own, so that it begins and ends at a place as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64

from proxylm.compressors.tokenizer.borders import Borders

INVALID_BYTES = re.compile("[\udc80-\udcff]+")
"""How Python decodes bytes that are not UTF-8 under ``surrogateescape``."""

_LONGEST_CHARACTER = 4
"""Bytes after which it is certain whether the first of them begins a character of UTF-8."""

Places = Int64[np.ndarray, " place"]


def cut_at_invalid_bytes(raw: bytes) -> Iterator[str | bytes]:
    """A document as valid texts and the runs of bytes between them, in order."""
    text = raw.decode(errors="surrogateescape")
    runs = () if text.isascii() else INVALID_BYTES.finditer(text)
    start = 0
    for run in runs:
        if run.start() > start:
            yield text[start : run.start()]
        yield run[0].encode(errors="surrogateescape")
        start = run.end()
    if start < len(text):
        yield text[start:]


def certain_places(raw: bytes, borders: Borders) -> tuple[Places, Places]:
    """Places among a document's bytes before which no token depends on what follows.

    Args:
        raw: the document.
        borders: finds them in texts.

    Returns:
        ``[p]`` both, rising: the places, and how many bytes have to be known for each.
    """
    places: list[Places] = []
    known: list[Places] = []
    start = 0
    for piece in cut_at_invalid_bytes(raw):
        if isinstance(piece, bytes):
            places.append(np.array([start]))
            known.append(np.array([start + _LONGEST_CHARACTER]))
            start += len(piece)
            continue
        ends = start + byte_ends(piece)
        if start:  # the run before ends here, as the first character shows
            places.append(np.array([start]))
            known.append(ends[:1])
        cuts = borders.cuts(piece)
        places.append(ends[cuts])
        known.append(ends[cuts + 1])
        start = int(ends[-1])
    found = np.array([np.concatenate([[], *one]) for one in (places, known)], dtype=np.int64)
    # What is known of a run's first byte may be known sooner: with the text behind the run.
    found[1] = np.minimum.accumulate(found[1, ::-1])[::-1]
    is_known = (found[0] > 0) & (found[1] <= len(raw))
    return found[0, is_known], found[1, is_known]


def byte_ends(text: str) -> Places:
    """Where each character of a text ends among its UTF-8 bytes: ``[n]``."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    lengths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return np.cumsum(lengths)
