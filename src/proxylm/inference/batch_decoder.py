"""Continuous batching: sequences come and go, one forward pass at a time moves all of them on.

Every row stands at its own position of its own text; a pass feeds the newest symbol of rows that
write and the next stretch of the prompt of rows that still read. What a row gives does not depend
on the other rows, up to the rounding of matrix products over more or fewer of them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.inference.decoding_row import DecodingRequest, DecodingRow, Piece
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import COMPRESSED_OFFSET

PREFILL_SYMBOLS = 2048
"""Most prompt symbols (over all rows) of one forward pass: bounds the memory a prompt takes."""


class BatchDecoder:
    """Decodes up to ``max_rows`` sequences together, each with options of its own.

    Args:
        model: any model over the shared vocabulary, in evaluation mode.
        max_rows: most sequences at a time.

    Raises:
        UsageError: the model's vocabulary has no bytes.
    """

    def __init__(self, model: LanguageModel, *, max_rows: int) -> None:
        model.config.require_raw_bytes()
        self._model = model
        self._max_rows = max_rows
        self._rows: dict[int, DecodingRow] = {}  # by their place in the cache
        self._next_handle = 0
        self._cache = model.new_cache(0)

    @property
    def active(self) -> int:
        """Sequences that have not ended."""
        return len(self._rows)

    @property
    def free_rows(self) -> int:
        """How many sequences can be added now."""
        return self._max_rows - len(self._rows)

    def add(self, request: DecodingRequest) -> int:
        """Start a sequence; its handle (they count from 0). There must be a free row."""
        assert self.free_rows, "every row is taken"
        place = next(place for place in range(self._max_rows) if place not in self._rows)
        if place == self._cache.batch_size:
            self._cache.add_rows(max(1, min(place, self._max_rows - place)))
        self._cache.restart(place)
        handle, self._next_handle = self._next_handle, self._next_handle + 1
        sentinels = self._model.config.sentinels
        self._rows[place] = DecodingRow(handle, request, sentinels=sentinels)
        return handle

    def cancel(self, handle: int) -> None:
        """Give a sequence up; nothing more comes of it. One that has ended is passed over."""
        for place, row in list(self._rows.items()):
            if row.handle == handle:
                self._free(place)

    def step(self) -> list[Piece]:
        """One forward pass over all rows; the bytes that became certain, oldest sequence first.

        Raises:
            CheckpointError: the model's output is not a number.
        """
        rows = {place: row for place, row in sorted(self._rows.items()) if row.finish is None}
        if rows:
            with torch.inference_mode():
                self._pass(rows)
        pieces = []
        for place, row in list(self._rows.items()):
            piece = row.take_piece()
            if piece is not None:
                pieces.append(piece)
            if row.finish is not None:
                self._free(place)
        return sorted(pieces, key=lambda piece: piece.handle)

    def _pass(self, rows: dict[int, DecodingRow]) -> None:
        most = max(1, PREFILL_SYMBOLS // len(rows))
        taken = [row.take(most) for row in rows.values()]
        counts = np.zeros(self._cache.batch_size, dtype=np.int64)
        counts[list(rows)] = [len(symbols) for symbols in taken]
        feed = self._cache.plan(counts)
        device = self._model.lm_head.weight.device
        symbols = torch.from_numpy(np.concatenate(taken)).to(device)
        hidden = self._model.step_feed(symbols, self._cache, feed)
        ends = np.cumsum(counts[list(rows)]) - 1
        writing = [
            (row, end)
            for row, end in zip(rows.values(), ends, strict=True)
            if not row.pending_count
        ]
        logits = self._head_0_logits(hidden[[end for _, end in writing]])
        for (row, _), row_logits in zip(writing, logits, strict=True):
            row.accept(row_logits)

    def _head_0_logits(self, hidden: Tensor) -> NDArray[np.float32]:
        """Of specials and bytes after final states ``[n, width]``, ``[n, COMPRESSED_OFFSET]``.

        The output layer's first rows are head 0's, and specials and bytes come first among them:
        what cannot follow inside raw text is not computed.
        """
        weight = self._model.lm_head.weight[:COMPRESSED_OFFSET]
        return torch.nn.functional.linear(hidden, weight).float().cpu().numpy()

    def _free(self, place: int) -> None:
        del self._rows[place]
        if not self._rows:  # nobody is left: the memory goes back
            self._cache = self._model.new_cache(0)
