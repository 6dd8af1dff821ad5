"""One text in both forms: what comes before as symbols, its end and what follows as bytes.

    <bos> <compressed> symbols </compressed> <raw> bytes        with sentinels
    <bos> symbols bytes                                         without

So lies a document that training cuts into pieces (``data.packing.definition``). The symbols end
where they are certain whatever follows (``Compressor.settled``), so that they are those that the
whole document begins with; what is left of the known text, a word or a segment, is read as bytes.
Nothing at a prompt's end is cut otherwise than in training, and only bytes are predicted.

All of a document is predicted in *stretches* of bytes, each after the symbols of everything before
it. A stretch costs a forward pass over these symbols: where ``stride`` bytes are predicted at a
time and a symbol stands for ``rho``, a document of ``n`` bytes costs ``n² / (2 rho stride) + n``
inputs until it fills the context, and then at most ``context`` for each stretch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from proxylm.errors import UsageError
from proxylm.inputs import require_whole
from proxylm.models.scoring_windows import window_span
from proxylm.scoring.sequences import ScoredSequence
from proxylm.symbols import BOS, Format, opening

STRETCH_BYTES = 256
"""Bytes predicted at a time: about the shortest raw piece of a training on pieces, which are cut
at anchors (64 symbols, of some four bytes each)."""

Ids = Int64[np.ndarray, " symbol"]


def default_stretch(context: int, prefix_length: int) -> int:
    """``STRETCH_BYTES``, as far as a context spans that many."""
    return min(STRETCH_BYTES, window_span(context, prefix_length))


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedText:
    """A text, and the symbols of as much of it as is certain.

    Attributes:
        raw: int64 ``[n]``, ids of all its bytes.
        symbols: int64 ``[m]``, ids of its symbols; none where it has no compressed form.
        places: int64 ``[p, 3]``, up to which places these are certain (``Compressor.settled``).
        sentinels: whether each form stands between its own.
    """

    raw: Ids
    symbols: Ids
    places: Int64[np.ndarray, "place byte_symbol_known=3"]
    sentinels: bool

    def opened(self, known: int) -> tuple[Ids, int]:
        """What stands before raw bytes when only the first ``known`` bytes are known.

        Returns:
            The ids, and how many bytes these stand for; the bytes from there on follow them.
        """
        byte, symbols = self._certain(known)
        return self._opening(symbols), byte

    def stretches(
        self, first: int, *, stride: int | None, context: int
    ) -> Iterator[ScoredSequence]:
        """Every byte from ``first`` on predicted once, each stretch in a sequence of its own.

        What does not fit the context is left out at the beginning of what comes before.

        Args:
            first: bytes before this one are only read.
            stride: bytes of a stretch; None takes ``STRETCH_BYTES``, as far as they fit.
            context: most input symbols of a sequence.

        Raises:
            UsageError: no such stretch fits the context.
        """
        require_whole("context", context)
        prefix_length = len(self._opening(self.symbols[:0]))
        span = window_span(context, prefix_length)
        stride = default_stretch(context, prefix_length) if stride is None else stride
        require_whole("stride", stride)
        if not 1 <= stride <= span:
            raise UsageError(
                f"stride: must be between 1 and {span} bytes (a context of {context} spans that "
                f"many), not {stride}"
            )
        for start in range(first, len(self.raw), stride):
            yield self._stretch(start, min(start + stride, len(self.raw)), context)

    def _stretch(self, start: int, end: int, context: int) -> ScoredSequence:
        byte, symbols = self._certain(start)
        around = len(self._opening(self.symbols[:1])) - 1
        room = max(0, context + 1 - (end - byte) - around)
        prefix = self._opening(symbols[max(0, len(symbols) - room) :])
        byte = max(byte, end - window_span(context, len(prefix)))
        return ScoredSequence(prefix=prefix, content=self.raw[byte:end], first_scored=start - byte)

    def _certain(self, known: int) -> tuple[int, Ids]:
        """How many bytes are certain symbols, and these."""
        count = int(np.searchsorted(self.places[:, 2], known, side="right"))
        if not count:
            return 0, self.symbols[:0]
        byte, symbol, _ = self.places[count - 1].tolist()
        return byte, self.symbols[:symbol]

    def _opening(self, symbols: Ids) -> Ids:
        """What stands before raw bytes: symbols as a piece of their own, where there are some."""
        if not len(symbols):
            return np.array(opening(Format.RAW, sentinels=self.sentinels), dtype=np.int64)
        if not self.sentinels:
            return np.concatenate([[BOS], symbols])
        before = opening(Format.COMPRESSED, sentinels=True)
        after = [Format.COMPRESSED.close, Format.RAW.open]
        return np.concatenate([before, symbols, after])
