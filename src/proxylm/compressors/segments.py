"""What a compressor makes of one document: its runs of bytes, and the symbols of each, to look at.

``segments(compressor, b"...")`` in two lines: compute them, and print or (in a notebook) show them.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt32

from proxylm.compressors.contract import CannotCompress, Compressor
from proxylm.errors import DataError
from proxylm.inputs import as_bytes
from proxylm.printable import printable

BORDER = "│"
_LINE_END = "⏎"
# Two backgrounds in turn, for terminals and for notebooks.
_TERMINAL_COLOURS = ("\x1b[48;5;153;30m", "\x1b[48;5;229;30m")
_PLAIN = "\x1b[0m"
_HTML_COLOURS = ("#cfe2ff", "#fff3b0")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Segments:
    """One document, divided where its compressor divides it.

    Attributes:
        raw: the document's bytes.
        spans: int64 ``[s, 2]``, the bytes ``[start, stop)`` of each segment; together, all of them.
        symbols: uint32 ``[m_i]`` for each segment, each below the compressor's ``symbol_count``.
    """

    raw: bytes
    spans: Int64[np.ndarray, "segment 2"]
    symbols: list[UInt32[np.ndarray, " symbol"]]

    @property
    def bytes_per_symbol(self) -> float:
        """The rate ρ of this document (method, section 3); NaN for an empty one."""
        symbol_count = sum(map(len, self.symbols))
        return len(self.raw) / symbol_count if symbol_count else float("nan")

    def __repr__(self) -> str:
        return (
            f"{len(self.spans)} segments of {len(self.raw)} bytes, "
            f"{sum(map(len, self.symbols))} symbols, {self.bytes_per_symbol:.2f} bytes per symbol"
        )

    def __str__(self) -> str:
        """Text with a border between segments (coloured on a terminal), and the numbers below."""
        texts = list(self._texts())
        if sys.stdout.isatty():
            texts = [
                f"{_TERMINAL_COLOURS[number % 2]}{text}{_PLAIN}"
                for number, text in enumerate(texts)
            ]
        return f"{BORDER.join(texts)}\n{self!r}"

    def _repr_html_(self) -> str:
        """The same for notebooks: colours in turn, each segment's symbols when pointed at."""
        spans = "".join(
            f'<span style="background:{_HTML_COLOURS[number % 2]};color:black" '
            f'title="{" ".join(map(str, symbols))}">{html.escape(text)}</span>'
            for number, (text, symbols) in enumerate(zip(self._texts(), self.symbols, strict=True))
        )
        return f'<pre style="white-space:pre-wrap">{spans}</pre><p>{html.escape(repr(self))}</p>'

    def _texts(self) -> Iterator[str]:
        """Each segment as text that may be shown; bytes that are no character are escaped."""
        for start, stop in self.spans.tolist():
            text = self.raw[start:stop].decode(errors="backslashreplace")
            yield printable(text.replace("\n", f"{_LINE_END}\n"), keep="\n\t")


def segments(compressor: Compressor, document: bytes) -> Segments:
    """Divide a document into the runs of bytes that have symbols of their own.

    They are a tokenizer's tokens, a neural compressor's segments, what stands between anchors of
    other views, or the whole document where there are none (gzip).

    >>> from proxylm.compressors.registry import load_compressor
    >>> print(segments(load_compressor("gzip"), b"one piece"))
    one piece
    1 segments of 9 bytes, 29 symbols, 0.31 bytes per symbol

    Args:
        compressor: any compressor.
        document: its bytes.

    Raises:
        UsageError: the document is no bytes.
        DataError: the compressor has no exact form for it.
    """
    raw = as_bytes(document, 0, "document")
    (view,) = compressor.views([raw])
    if isinstance(view, CannotCompress):
        raise DataError(f"{compressor.kind}: cannot compress this ({view.reason}) {view.detail}")
    num_bytes, num_symbols = compressor.divide(raw, view)
    stops = np.cumsum(num_bytes, dtype=np.int64)
    return Segments(
        raw=raw,
        spans=np.stack([stops - num_bytes, stops], axis=1),
        symbols=np.split(view.symbols, np.cumsum(num_symbols)[:-1]) if len(stops) else [],
    )
