"""A packed context made readable: its pieces, formats, special symbols and masked targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxylm.compressors.registry import load_compressor
from proxylm.data.batch import Batch
from proxylm.data.batches import Loader
from proxylm.data.packing.spans import HAS_BOS, HAS_CLOSE, HAS_EOS, HAS_OPEN, PADDING
from proxylm.data.store.store import StoredView, ViewStore
from proxylm.errors import DamagedFileError, ProxylmError
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

Decode = Callable[[NDArray[np.uint32]], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One span of a context.

    Attributes:
        offset, end: where it stands in the context.
        document_id, first_position: its attention segment and the position id it starts at.
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
    document_id: int
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


def context_pieces(
    loader: Loader,
    sources: Sequence[tuple[ViewStore, StoredView | None]],
    step: int,
    number: int,
) -> list[Piece]:
    """The pieces of one context of a step, from left to right.

    Args:
        loader: of those sources, in that order.
        sources: opened stores and views, to name documents and decode symbols.
        step: in ``[0, loader.steps)``.
        number: of the context inside the step, from 0.

    Raises:
        DamagedFileError: a shard that the context shows is not what was written.
    """
    batch = loader.batch(step, first=number, count=1)
    block = loader.plan.block_of(step)
    spans = block.spans_of(block.contexts_of(step)[number])
    _check_shards(spans, [store for store, _ in sources])
    decoders = [_decoder(view) for _, view in sources]
    ends = [*spans["offset"][1:].tolist(), loader.context]
    return [
        _piece(span, end, batch, sources[span["source"]][0], decoders[span["source"]])
        for span, end in zip(spans, ends, strict=True)
    ]


def _check_shards(spans: NDArray[np.void], stores: Sequence[ViewStore]) -> None:
    shown = spans[spans["format"] != PADDING]
    places = {
        (int(span["source"]), stores[span["source"]].locate(int(span["ordinal"]))[0])
        for span in shown
    }
    for source, shard in sorted(places):
        stores[source].check_shard(shard)


def _piece(span: np.void, end: int, batch: Batch, store: ViewStore, decode: Decode) -> Piece:
    marks, form, offset = int(span["marks"]), int(span["format"]), int(span["offset"])
    is_padding = form == PADDING
    before = [] if is_padding else _present(marks, {HAS_BOS: BOS, HAS_OPEN: Format(form).open})
    after = [] if is_padding else _present(marks, {HAS_CLOSE: Format(form).close, HAS_EOS: EOS})
    content = batch.inputs[0, offset + len(before) : end - len(after)]
    text, is_decoded = ("", True) if is_padding else _readable(content, form, decode)
    targets = batch.targets[0, offset:end]
    return Piece(
        offset=offset,
        end=end,
        document_id=int(span["segment"]),
        first_position=int(span["position"]),
        source=int(span["source"]),
        document="" if is_padding else store.document_id(int(span["ordinal"])),
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


def _readable(content: NDArray[np.int32], form: int, decode: Decode) -> tuple[str, bool]:
    if form == Format.RAW:
        return _text((content - RAW_OFFSET).astype(np.uint8).tobytes()), True
    symbols = (content - COMPRESSED_OFFSET).astype(np.uint32)
    try:
        return _text(decode(symbols)), True
    except ProxylmError:
        # One-way compressors, and ranges that mean nothing alone (half a gzip stream).
        return " ".join(f"#{symbol}" for symbol in symbols), False


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="backslashreplace")


def _decoder(view: StoredView | None) -> Decode:
    """Decodes symbols of a view with the compressor that the store keeps."""
    if view is None or view.compressor_folder is None or not view.reversible:
        return _no_way_back
    if not view.compressor_folder.is_dir():
        raise DamagedFileError(
            f"{view.compressor_folder}: the compressor of view '{view.name}' is missing; "
            "prepare the store again"
        )
    compressor = load_compressor(view.compressor_folder)
    return lambda symbols: compressor.decompress([symbols])[0]


def _no_way_back(symbols: NDArray[np.uint32]) -> bytes:
    raise ProxylmError("these symbols cannot be decoded")
