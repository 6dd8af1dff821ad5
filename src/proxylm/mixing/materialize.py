"""The copying kernel: spans become input ids, targets, document ids and positions.

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

from proxylm.mixing.compiled import Int64, Record, compiled
from proxylm.mixing.packing import (
    HAS_BOS,
    HAS_CLOSE,
    HAS_EOS,
    HAS_OPEN,
    PADDING,
    RAW,
    SECOND_VIEW,
)
from proxylm.mixing.pointers import borrowed, int64_at, uint8_at, uint16_at, uint32_at
from proxylm.mixing.tables import Tables, shard_of
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
    document_ids: NDArray[np.int32],
    position_ids: NDArray[np.int32],
) -> None:
    """Write contexts of a block (``first_span`` says where their spans are) into the outputs.

    The outputs are ``[B, N]``, the targets ``[B, N, H]``; every element is written.
    """
    tables = borrowed(tables)
    heads = targets.shape[2]
    for row in range(len(contexts)):
        first, end = first_span[contexts[row]], first_span[contexts[row] + 1]
        segment_start = 0
        for index in range(first, end):
            span = spans[index]
            size = write_inputs(tables, span, inputs[row])
            number(
                span.segment, span.position, span.offset, size, document_ids[row], position_ids[row]
            )
            span_end = span.offset + size
            if index + 1 == end or spans[index + 1].segment != span.segment:
                write_next_symbols(
                    inputs[row], targets[row], segment_start, span_end, span.format == PADDING
                )
                segment_start = span_end
        for head in range(1, heads):
            write_further_symbols(spans[first:end], inputs[row], targets[row], head)


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
    segment: int,
    position: int,
    offset: int,
    size: int,
    document_ids: NDArray[np.int32],
    position_ids: NDArray[np.int32],
) -> None:
    """Write a span's attention segment and positions."""
    documents, positions = (
        document_ids[offset : offset + size],
        position_ids[offset : offset + size],
    )
    first = np.int32(position)
    for index in range(size):
        documents[index] = segment
        positions[index] = first + np.int32(index)


@compiled
def write_next_symbols(
    inputs: NDArray[np.int32], targets: NDArray[np.int32], start: int, end: int, is_padding: bool
) -> None:
    """Targets of head 0 for one attention segment."""
    if is_padding:
        targets[start:end, :] = IGNORED_TARGET
        return
    if targets.shape[1] == 1:
        # The common case, laid out so that it is one plain copy.
        targets.reshape(-1)[start : end - 1] = inputs[start + 1 : end]
    else:
        for position in range(start, end - 1):
            targets[position, 0] = inputs[position + 1]
    targets[end - 1, 0] = IGNORED_TARGET


@compiled
def write_further_symbols(
    spans: NDArray[np.void], inputs: NDArray[np.int32], targets: NDArray[np.int32], head: int
) -> None:
    """Targets of one of the heads from 1 on, for a whole context."""
    for index in range(len(spans)):
        span = spans[index]
        start = np.int64(span.offset)
        is_last = index + 1 == len(spans)
        end = len(inputs) if is_last else np.int64(spans[index + 1].offset)
        # A span ends where its format does, or with its segment: no target lies beyond.
        is_trained = span.format != PADDING and not span.marks & SECOND_VIEW
        trained_end = max(start, end - 1 - head) if is_trained else start
        for position in range(start, trained_end):
            targets[position, head] = inputs[position + 1 + head]
        for position in range(trained_end, end):
            targets[position, head] = IGNORED_TARGET
