"""Packed contexts made readable: their spans, formats, special symbols and masked targets."""

from __future__ import annotations

import html
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.contract import Compressor
from proxylm.data.batch import Batch
from proxylm.data.batches import Batches
from proxylm.data.packing.spans import HAS_BOS, HAS_CLOSE, HAS_EOS, HAS_OPEN, PADDING
from proxylm.data.sources import OpenSource
from proxylm.errors import ProxylmError, UsageError
from proxylm.symbols import (
    BOS,
    COMPRESSED_OFFSET,
    EOS,
    IGNORED_TARGET,
    RAW_OFFSET,
    Format,
    symbol_name,
)

FORMAT_NAMES = {Format.RAW: "raw", Format.COMPRESSED: "compressed", PADDING: "padding"}
COLOURS = {"raw": "#dbeafe", "compressed": "#dcfce7", "padding": "#e5e7eb"}
"""Backgrounds in a notebook."""
CONTEXT_STYLE = "font-family: monospace; white-space: pre-wrap"
LINE_END_SIGN = "⏎"
MASK_SIGN = "∎"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSpan:
    """One span of a context.

    Attributes:
        offset, end: where it stands in the context.
        segment_id, first_position: its attention segment and the position id it starts at.
        source, document: the source's number and the document's id in its store ("" for padding).
        format: raw, compressed or padding.
        start, length: the range of the view, in bytes or symbols.
        before, after: special symbols around it, by name.
        text: its content as text; bytes that are not UTF-8 are escaped.
        is_decoded: False where symbols are shown by number, for want of a way back.
        masked_targets: for each head, positions of the span that train nothing.
    """

    offset: int
    end: int
    segment_id: int
    first_position: int
    source: int
    document: str
    format: str
    start: int
    length: int
    before: list[str]
    after: list[str]
    text: str
    is_decoded: bool
    masked_targets: list[list[int]]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def content(self) -> str:
        """What stands there, in one line; ∎ where head 0 trains nothing."""
        if self.format == FORMAT_NAMES[PADDING]:
            return f"<pad> x {self.length}"
        text = "".join(_visible(character) for character in self.text)
        # The end of a segment is the only place where head 0 trains nothing.
        end = MASK_SIGN if self.masked_targets[0] else ""
        return f"{''.join(self.before)}{text}{''.join(self.after)}{end}"

    @property
    def facts(self) -> str:
        """Where it stands and what of it is masked, in one line."""
        unit = "bytes" if self.format == FORMAT_NAMES[Format.RAW] else "symbols"
        masked = [
            f", head {head}: {len(positions)} masked"
            for head, positions in enumerate(self.masked_targets)
            if positions
        ]
        return (
            f"[{self.offset}, {self.end}) {self.format}, {unit} {self.start} to "
            f"{self.start + self.length}, positions {self.first_position} to "
            f"{self.first_position + self.end - self.offset}{''.join(masked)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownContext:
    """One packed context: its number in the order of training, its spans from left to right."""

    number: int
    spans: list[ShownSpan]

    def lines(self) -> list[str]:
        """The context as text: each attention segment, and below it its spans."""
        lines: list[str] = []
        shown = None
        for span in self.spans:
            if shown != (span.segment_id, span.document):
                shown = span.segment_id, span.document
                lines += ["", f"segment {span.segment_id}: {span.document or 'padding'}"]
            lines += [f"  {span.facts}", f"    {span.content}"]
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Contexts to look at: text where it is printed, colours in a notebook."""

    contexts: list[ShownContext]

    def __str__(self) -> str:
        return "\n".join(
            line
            for context in self.contexts
            for line in (f"context {context.number}", *context.lines(), "")
        ).rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(
            f"<p>context {context.number}</p><div style='{CONTEXT_STYLE}'>"
            f"{''.join(map(_html, context.spans))}</div>"
            for context in self.contexts
        )


def show(batch: Batch, batches: Batches | None = None, *, context: int | None = None) -> Picture:
    """Spans, formats, special symbols and masked targets of a batch.

    Compressed symbols are shown as the text that they stand for where the view's compressor gives
    it back, and by number elsewhere. A ∎ stands where the next symbol is no target: at the end of
    each attention segment.

    Args:
        batch: of ``px.batches``.
        batches: what it was drawn from; needed only for a batch that came from another process.
        context: one context of the batch, from 0; None for all of them.

    Raises:
        UsageError: the batch has no such context, or what it was drawn from is not known.
        DamagedFileError: a shard that is shown is not what was written.

    >>> from proxylm.data.batches import batches
    >>> from proxylm.data.memory import MemoryStore
    >>> from proxylm.data.mixture import Mixture
    >>> store = MemoryStore.of(["a.txt", "b.txt"], [b"one two three"] * 2, {}, [False, False])
    >>> drawn = batches(store, Mixture.bytes_only(), context=17, contexts_per_step=1, steps=1)
    >>> print(show(drawn[0]))
    context 0
    <BLANKLINE>
    segment 0: a.txt
      [0, 17) raw, bytes 0 to 13, positions 0 to 17, head 0: 1 masked
        <bos><raw>one two three</raw><eos>∎
    """
    drawn_from = batches if batches is not None else batch.batches
    if drawn_from is None:
        raise UsageError(
            "this batch came from another process, without what it was drawn from; give that too: "
            "show(batch, batches)"
        )
    count = len(batch.contexts)
    if context is not None and not 0 <= context < count:
        raise UsageError(f"context {context}: the batch has {count}, from 0")
    rows = range(count) if context is None else [context]
    spans = [_spans(drawn_from, int(batch.contexts[row])) for row in rows]
    _check_content(np.concatenate(spans), drawn_from.sources)
    decoders = [_decoder(source) for source in drawn_from.sources]
    return Picture(
        contexts=[
            _context(batch, row, found, drawn_from.sources, decoders)
            for row, found in zip(rows, spans, strict=True)
        ]
    )


def _spans(batches: Batches, number: int) -> NDArray[np.void]:
    """Spans of the context with that number in the order of training."""
    step, place = divmod(number, batches.contexts_per_step)
    block = batches.plan.block_of(step)
    return block.spans_of(block.contexts_of(step)[place])


def _check_content(spans: NDArray[np.void], sources: Sequence[OpenSource]) -> None:
    for number, source in enumerate(sources):
        shown = (spans["source"] == number) & (spans["format"] != PADDING)
        source.store.check_content(np.unique(spans["ordinal"][shown]).tolist())


def _context(
    batch: Batch,
    row: int,
    spans: NDArray[np.void],
    sources: Sequence[OpenSource],
    decoders: Sequence[Compressor | None],
) -> ShownContext:
    ends = [*spans["offset"][1:].tolist(), batch.inputs.shape[1]]
    of_row = (batch.inputs, batch.targets, batch.segment_ids, batch.position_ids)
    shown = [
        _shown(
            span,
            [values[row, span["offset"] : end] for values in of_row],
            sources[span["source"]],
            decoders[span["source"]],
        )
        for span, end in zip(spans, ends, strict=True)
    ]
    return ShownContext(number=int(batch.contexts[row]), spans=shown)


def _shown(
    span: np.void,
    arrays: Sequence[NDArray[np.int32]],
    source: OpenSource,
    decoder: Compressor | None,
) -> ShownSpan:
    inputs, targets, segment_ids, position_ids = arrays
    marks, form, offset = int(span["marks"]), int(span["format"]), int(span["offset"])
    is_padding = form == PADDING
    before = [] if is_padding else _present(marks, {HAS_BOS: BOS, HAS_OPEN: Format(form).open})
    after = [] if is_padding else _present(marks, {HAS_CLOSE: Format(form).close, HAS_EOS: EOS})
    content = inputs[len(before) : len(inputs) - len(after)]
    text, is_decoded = ("", True) if is_padding else _readable(content, form, decoder)
    return ShownSpan(
        offset=offset,
        end=offset + len(inputs),
        segment_id=int(segment_ids[0]),
        first_position=int(position_ids[0]),
        source=int(span["source"]),
        document="" if is_padding else source.store.document_id(int(span["ordinal"])),
        format=FORMAT_NAMES[form],
        start=int(span["start"]),
        length=int(span["length"]),
        before=before,
        after=after,
        text=text,
        is_decoded=is_decoded,
        masked_targets=[
            (offset + np.flatnonzero(targets[:, head] == IGNORED_TARGET)).tolist()
            for head in range(targets.shape[1])
        ],
    )


def _present(marks: int, symbols: dict[int, int]) -> list[str]:
    return [symbol_name(symbol) for bit, symbol in symbols.items() if marks & bit]


def _readable(
    content: NDArray[np.int32], form: int, decoder: Compressor | None
) -> tuple[str, bool]:
    if form == Format.RAW:
        return _text((content - RAW_OFFSET).astype(np.uint8).tobytes()), True
    symbols = (content - COMPRESSED_OFFSET).astype(np.uint32)
    with suppress(ProxylmError):  # ranges that mean nothing alone (half a gzip stream)
        if decoder is not None:
            return _text(decoder.decompress([symbols])[0]), True
    return " ".join(f"#{symbol}" for symbol in symbols), False


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="backslashreplace")


def _decoder(source: OpenSource) -> Compressor | None:
    """What gives back the bytes of a source's symbols; None where nothing does."""
    view = source.view
    return view.load_compressor() if view is not None and view.reversible else None


def _visible(character: str) -> str:
    """A terminal must not obey what a document contains."""
    if character == "\n":
        return LINE_END_SIGN
    return character if character.isprintable() else repr(character)[1:-1]


def _html(span: ShownSpan) -> str:
    return (
        f"<span style='background: {COLOURS[span.format]}; color: black' "
        f"title='{html.escape(f'{span.document}: {span.facts}')}'>"
        f"{html.escape(span.content)}</span> "
    )
