"""The values that planning works with: spans, and what the packing kernel takes and keeps.

A *span* is a run of one format inside one context, with the special symbols around it: a row of
``SPAN_DTYPE``. The kernel reads a mixture as ``Rules`` (numbers) and ``Draws`` (where random draws
start and what they are compared with), and lays a ``DrawnDocument`` as one or more ``Stretch``
values. Offsets, lengths and positions count symbols of a context; starts and ends of a view count
its bytes or symbols.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Uint64
from proxylm.data.packing.tables import DOCUMENT_FIELDS
from proxylm.symbols import Format

MINIMUM_CONTENT = 4
"""Symbols of content for which a document is begun near a context's end."""

SPAN_DTYPE = np.dtype(
    [
        ("context", "i8"),  # number of the context, in packing order
        ("ordinal", "i8"),  # document in its store
        ("start", "i8"),  # first byte, or symbol, of the document's view
        ("draw", "i8"),  # how many documents its source had given before
        ("offset", "i4"),  # where the span starts in the context, specials included
        ("length", "i4"),  # bytes or symbols of content (padding: pads)
        ("num_bytes", "i4"),  # raw bytes that it is the first to show, in whatever view
        ("position", "i4"),  # position id of its first symbol
        ("segment", "i4"),  # attention segment inside the context, from 0
        ("views", "i4"),  # views (of documents, or pieces) that begin here
        ("source", "i2"),
        ("format", "u1"),  # Format.RAW, Format.COMPRESSED or PADDING
        ("marks", "u1"),  # the flags below
    ],
    align=True,
)

DRAWN_DTYPE = np.dtype([("epoch", "i8"), *DOCUMENT_FIELDS])
"""A document and the epoch in which it is drawn."""

DRAWN_AHEAD = 32
"""Documents of a source that are fetched together: enough that their reads overlap."""

PADDING = 2
"""In ``format``: neither view."""

# Bits of ``marks``. The first four are symbols that stand in the span.
HAS_BOS, HAS_OPEN, HAS_CLOSE, HAS_EOS = 1, 2, 4, 8
SECOND_VIEW = 16
"""The other view of this pair stands before it in the same segment."""
STARTS_DOCUMENT, STARTS_PAIR, PAIR_MEETS = 32, 64, 128
"""``PAIR_MEETS``: both views of the pair (or of this part of it) stand in one context."""

# The cursor: one int64 array, so that a state of the packer can be kept as it is. Documents drawn
# so far; where the next symbol goes (context, offset in it, attention segment, position id); spans
# in the window; from TAKEN on, documents that each source has given.
DRAWN, CONTEXT, OFFSET, SEGMENT, POSITION, SPAN_COUNT, TAKEN = range(7)

RAW, COMPRESSED = int(Format.RAW), int(Format.COMPRESSED)


class Rules(NamedTuple):
    """A mixture's numbers as the kernel sees them; ``data.packing.plan`` derives them.

    Attributes:
        context: symbols in a context.
        contexts_per_step: contexts in a training step.
        sentinels: whether sentinels surround the views.
        rewraps: after a context's end, ``<bos>`` and the sentinel come again.
        truncates: what does not fit is dropped.
        stops: the data ends where a source has no further document.
        splits_pairs: pairs are cut at anchors into parts that fit into a context.
        compressed_first: probability that a pair shows the compressed view first.
        piece_min, piece_max: bounds of a piece in symbols; both 0 for whole documents.
    """

    context: int
    contexts_per_step: int
    sentinels: bool
    rewraps: bool
    truncates: bool
    stops: bool
    splits_pairs: bool
    compressed_first: float
    piece_min: int
    piece_max: int


class Draws(NamedTuple):
    """What random draws start from, and what they are compared with.

    Attributes:
        keys: uint64 ``[purposes, sources]``, the state where each purpose's draws start.
        source_below: float64 ``[sources]``, cumulative probabilities of the sources.
        compressed_below: float64 ``[steps]``; a draw below it shows the compressed view.
        pair_below: float64 ``[steps]``; a draw from there to here shows a pair.
        block_first: int64 ``[steps]``, first step of each step's block.
        block_steps: int64 ``[steps]``, steps of that block if it is laid in lanes, else 0.
    """

    keys: NDArray[np.uint64]
    source_below: NDArray[np.float64]
    compressed_below: NDArray[np.float64]
    pair_below: NDArray[np.float64]
    block_first: NDArray[np.int64]
    block_steps: NDArray[np.int64]


class Ahead(NamedTuple):
    """The next documents of each source, fetched in groups; filled by the kernel itself.

    Documents lie in random places: fetched one by one, each would be waited for alone.

    Attributes:
        documents: ``DRAWN_DTYPE`` ``[sources, DRAWN_AHEAD]``.
        group: int64 ``[sources]``, which group of draws that is; -1 for none.
    """

    documents: NDArray[np.void]
    group: NDArray[np.int64]

    @classmethod
    def empty(cls, sources: int) -> Ahead:
        """Nothing fetched yet."""
        documents = np.empty((sources, DRAWN_AHEAD), DRAWN_DTYPE)
        return cls(documents, np.full(sources, -1, np.int64))


class Page(NamedTuple):
    """Where spans go: those of contexts in [first, end) are written, the others only counted out.

    Attributes:
        first, end: the window of contexts, in packing order.
        cursor: int64 ``[TAKEN + sources]``, the packer's state.
        spans: ``SPAN_DTYPE``; if it is too short, ``cursor[SPAN_COUNT]`` says what was needed.
    """

    first: int
    end: int
    cursor: NDArray[np.int64]
    spans: NDArray[np.void]


class DrawnDocument(NamedTuple):
    """One document drawn from one source; ``draw`` counts the source's documents over epochs."""

    source: int
    ordinal: int
    draw: int
    epoch: int
    num_bytes: int
    num_symbols: int


class PieceDraws(NamedTuple):
    """Where the draws of one document's pieces start, and the rate of its step."""

    lengths: Uint64
    formats: Uint64
    compressed_below: float


class Stretch(NamedTuple):
    """A run of one format of a document, before it is known where contexts end.

    Attributes:
        format: RAW or COMPRESSED.
        start, end: range in that view.
        new_bytes: raw bytes that no earlier stretch of the document has shown.
        opens, ends: whether the document's ``<bos>`` stands before it, its ``<eos>`` after it.
        views, marks: what the stretch's first span carries.
    """

    format: int
    start: int
    end: int
    new_bytes: int
    opens: bool
    ends: bool
    views: int
    marks: int
