"""The copying kernel: spans become input ids, targets, segment ids and position ids.

Records (``data.packing.spans``, ``tables``) and units: a span is ``SPAN_DTYPE``, its ``offset`` in
positions of its context, its ``start`` and ``length`` in bytes or symbols of its view; a shard is
``SHARD_DTYPE``, addresses of its columns in bytes. Arrays of one context: inputs, segment ids and
position ids int32 ``[N]``, targets int32 ``[N, H]``.

Content goes straight from the memory-mapped columns into the outputs. Which targets are masked:

- past the end of the attention segment, whatever follows it (another document, padding, the
  context's end); an end that a context cut is therefore never trained to close;
- for heads from 1 on, in a pair, from the first closing sentinel's successor on (method,
  section 5): the second view repeats the first, and guessing it far ahead would train copying;
- for heads from 1 on, across a border between pieces: what they predict ends with the closing
  sentinel (without sentinels, with the last symbol) of the piece that they stand in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Int64, Record
from proxylm.data.packing.compiled import compiled
from proxylm.data.packing.pointers import borrowed, int64_at, uint8_at, uint16_at, uint32_at
from proxylm.data.packing.spans import (
    HAS_BOS,
    HAS_CLOSE,
    HAS_EOS,
    HAS_OPEN,
    PADDING,
    RAW,
    SECOND_VIEW,
)
from proxylm.data.packing.tables import Tables, shard_of
from proxylm.symbols import BOS, COMPRESSED_OFFSET, EOS, IGNORED_TARGET, PAD, RAW_OFFSET, Format

_OPEN = np.array([form.open for form in Format], np.int32)
_CLOSE = np.array([form.close for form in Format], np.int32)


@compiled
def materialize(
    spans: NDArray[np.void],
    first_span: NDArray[np.int64],
    contexts: NDArray[np.int64],
    tables: Tables,
    inputs: NDArray[np.int32],
    targets: NDArray[np.int32],
    segment_ids: NDArray[np.int32],
    position_ids: NDArray[np.int32],
) -> None:
    """Write contexts of a block (``first_span`` says where their spans are) into the outputs.

    The outputs are ``[B, N]``, the targets ``[B, N, H]``; every element is written.
    """
    tables = borrowed(tables)  # no reference counts inside the loop
    for row in range(len(contexts)):
        first, end = first_span[contexts[row]], first_span[contexts[row] + 1]
        segment_first = first
        for index in range(first, end):
            span = spans[index]
            size = write_inputs(tables, span, inputs[row])
            number(span, size, segment_ids[row], position_ids[row])
            # Targets look ahead: they are written once all of the segment's inputs are.
            if index + 1 == end or spans[index + 1].segment != span.segment:
                segment = spans[segment_first : index + 1]
                write_targets(segment, span.offset + size, inputs[row], targets[row])
                segment_first = index + 1


@compiled
def write_inputs(tables: Tables, span: Record, inputs: NDArray[np.int32]) -> Int64:
    """Write one span's symbols; returns how many there are, specials included."""
    at = np.int64(span.offset)
    if span.format == PADDING:
        inputs[at : at + span.length] = PAD
        return np.int64(span.length)
    if span.marks & HAS_BOS:
        inputs[at] = BOS
        at += 1
    if span.marks & HAS_OPEN:
        inputs[at] = _OPEN[span.format]
        at += 1
    copy_content(tables, span, inputs[at : at + span.length])
    at += span.length
    if span.marks & HAS_CLOSE:
        inputs[at] = _CLOSE[span.format]
        at += 1
    if span.marks & HAS_EOS:
        inputs[at] = EOS
        at += 1
    return at - span.offset


@compiled
def copy_content(tables: Tables, span: Record, output: NDArray[np.int32]) -> None:
    """Copy a span's bytes or symbols out of its shard, moved to their place in the vocabulary."""
    length = int(span.length)
    shard = shard_of(tables, span.source, span.ordinal)
    # Offsets are int64: 8 bytes a row. One loop for each width, so that each is a plain copy.
    row = span.ordinal - shard.first_ordinal
    if span.format == RAW:
        start = int64_at(shard.raw_offsets + 8 * row, 1)[0] + span.start
        raw = uint8_at(shard.raw_values + start, length)
        for index in range(length):
            output[index] = np.int32(raw[index]) + np.int32(RAW_OFFSET)
        return
    start = int64_at(shard.symbol_offsets + 8 * row, 1)[0] + span.start
    if shard.symbol_width == 2:
        narrow = uint16_at(shard.symbol_values + 2 * start, length)
        for index in range(length):
            output[index] = np.int32(narrow[index]) + np.int32(COMPRESSED_OFFSET)
    else:
        wide = uint32_at(shard.symbol_values + 4 * start, length)
        for index in range(length):
            output[index] = np.int32(wide[index]) + np.int32(COMPRESSED_OFFSET)


@compiled
def number(
    span: Record, size: int, segment_ids: NDArray[np.int32], position_ids: NDArray[np.int32]
) -> None:
    """Write a span's attention segment and positions."""
    segments = segment_ids[span.offset : span.offset + size]
    positions = position_ids[span.offset : span.offset + size]
    # Read once: fields of a record in the loop would keep it from becoming vector code.
    segment, first = span.segment, span.position
    for index in range(size):
        segments[index] = segment
        positions[index] = first + np.int32(index)


@compiled
def write_targets(
    segment: NDArray[np.void], end: int, inputs: NDArray[np.int32], targets: NDArray[np.int32]
) -> None:
    """Targets of one attention segment: its spans, and where it ends in the context."""
    start = segment[0].offset
    if segment[0].format == PADDING:
        targets[start:end, :] = IGNORED_TARGET
    elif targets.shape[1] == 1:
        # The common case, laid out so that it is one plain copy.
        targets.reshape(-1)[start : end - 1] = inputs[start + 1 : end]
        targets[end - 1, 0] = IGNORED_TARGET
    else:
        for index in range(len(segment)):
            is_last = index + 1 == len(segment)
            span_end = end if is_last else segment[index + 1].offset
            write_further_targets(segment[index], span_end, end, inputs, targets)


@compiled
def write_further_targets(
    span: Record,
    span_end: int,
    segment_end: int,
    inputs: NDArray[np.int32],
    targets: NDArray[np.int32],
) -> None:
    """Targets of all heads for one span of a segment."""
    heads = targets.shape[1]
    # A span ends where its format does: the further heads' targets do not lie beyond.
    limit = 0 if span.marks & SECOND_VIEW else span_end
    for position in range(span.offset, span_end):
        # Slices that start at 0 let the inner loops become plain copies.
        wanted, following = targets[position], inputs[position + 1 : segment_end]
        # Head 0 is known wherever anything follows; the others as far as the limit.
        known = max(min(1, len(following)), min(heads, limit - position - 1))
        for head in range(known):
            wanted[head] = following[head]
        for head in range(known, heads):
            wanted[head] = IGNORED_TARGET
