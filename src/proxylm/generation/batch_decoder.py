"""Continuous batching: sequences come and go, one forward pass at a time moves all of them on.

Every row stands at its own position of its own text; a pass feeds the newest symbol of rows that
write, with what is proposed behind it, and the next stretch of the prompt of rows that still read.
What a row gives does not depend on the other rows nor on the proposals, up to the rounding of
matrix products over more or fewer symbols.

Verification draws from head 0's distribution after the newest symbol, with the random number of
that position, and goes on to the proposal that has the drawn symbol, if there is one. For a
proposal ``x`` this accepts with probability ``p(x)`` and otherwise gives a draw from ``p`` without
``x``: speculative rejection sampling of a proposal that is certain (Leviathan et al. 2023), and
with several proposals the most that can be accepted of them. Every symbol is thus drawn from
exactly the distribution, and by the same number, that drawing one by one would have.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.errors import UsageError
from proxylm.generation.decoding_row import DecodingRow, Piece
from proxylm.generation.output_format import head_0_logits
from proxylm.generation.proposal_heads import ProposalHeads
from proxylm.generation.proposals import KINDS, NOTHING, ONE_BYTE, Draft, OneByte, Proposals
from proxylm.generation.request import DecodingRequest
from proxylm.models.feed import SymbolTree
from proxylm.models.language_model import LanguageModel

PREFILL_SYMBOLS = 2048
"""Most prompt symbols (over all rows) of one forward pass: bounds the memory a prompt takes."""


class BatchDecoder:
    """Decodes up to ``max_rows`` sequences together, each with options of its own.

    Args:
        model: any model over the shared vocabulary, in evaluation mode.
        max_rows: most sequences at a time.
        proposals: how many bytes a pass may yield; a model without further heads yields one.

    Raises:
        UsageError: the model's vocabulary has no bytes, or ``proposals`` are none.
    """

    def __init__(
        self, model: LanguageModel, *, max_rows: int, proposals: Proposals = ONE_BYTE
    ) -> None:
        model.config.require_raw_bytes()
        if not isinstance(proposals, tuple(KINDS.values())):
            raise UsageError(
                f"proposals: expected what proposals_named gives, not {type(proposals).__name__}"
            )
        self._model = model
        self._max_rows = max_rows
        self._proposals = proposals
        self._heads = ProposalHeads(model)
        # By their place in the cache:
        self._rows: dict[int, DecodingRow] = {}
        self._drafts: dict[int, Draft] = {}
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
        fed = self._symbols_to_feed(rows)
        counts = np.zeros(self._cache.batch_size, dtype=np.int64)
        counts[list(fed)] = [len(symbols) for symbols in fed.values()]
        trees = {
            place: SymbolTree(np.concatenate([[-1], draft.parents]))
            for place, draft in self._drafts.items()
            if draft.branches
        }
        feed = self._cache.plan(counts, trees)
        symbols = torch.from_numpy(np.concatenate(list(fed.values())))
        hidden = self._model.step_feed(
            symbols.to(self._model.lm_head.weight.device), self._cache, feed
        )
        # The known symbols' last one and the proposals behind it: where a row reads head 0.
        ends = np.cumsum(counts)
        starts = {
            place: int(ends[place]) - 1 - len(self._draft(place).symbols)
            for place, row in rows.items()
            if not row.pending_count
        }
        read = [t for place, start in starts.items() for t in range(start, int(ends[place]))]
        logits = head_0_logits(
            self._model,
            hidden[read] if len(read) < len(hidden) else hidden,
            end=max((rows[place].output.end for place in starts), default=0),
        )
        paths, newest, first = {}, {}, 0
        for place, start in starts.items():
            draft = self._draft(place)
            path = _verify(rows[place], draft, logits[first:])
            first += 1 + len(draft.symbols)
            newest[place] = start + path[-1]
            if len(draft.symbols):
                paths[place] = path
        self._cache.keep(feed, paths)
        self._propose({place: t for place, t in newest.items() if not rows[place].finish}, hidden)

    def _symbols_to_feed(self, rows: dict[int, DecodingRow]) -> dict[int, NDArray[np.int64]]:
        most = max(1, PREFILL_SYMBOLS // len(rows))
        return {
            place: np.concatenate([row.take(most), self._draft(place).symbols])
            for place, row in rows.items()
        }

    def _draft(self, place: int) -> Draft:
        return self._drafts.get(place, NOTHING)

    def _propose(self, newest: dict[int, int], hidden: Tensor) -> None:
        """Drafts of the next pass: by place, from the state that chose its newest symbol."""
        self._drafts = {}
        if isinstance(self._proposals, OneByte) or not self._heads.count:
            return
        newest = {place: t for place, t in newest.items() if self._rows[place].takes_proposals}
        if not newest:
            return
        rows = [self._rows[place] for place in newest]
        probabilities = self._heads.probabilities(
            hidden[list(newest.values())], [row.temperature for row in rows]
        )
        rooms, most = self._cache.room_in_window, self._cache.room_to_rewind
        for place, row, by_head in zip(newest, rows, probabilities, strict=True):
            # The last byte is chosen, and never fed.
            depth = min(row.symbols_left, int(most[place])) - 1
            self._drafts[place] = self._proposals.draft(
                by_head, depth=depth, window_depth=int(rooms[place]) - 1
            )

    def _free(self, place: int) -> None:
        del self._rows[place]
        self._drafts.pop(place, None)
        if not self._rows:  # nobody is left: the memory goes back
            self._cache = self._model.new_cache(0)


def _verify(row: DecodingRow, draft: Draft, logits: NDArray[np.float32]) -> list[int]:
    """Choose symbols as long as they are among the proposals, and one more.

    Args:
        row: takes the symbols in.
        draft: the proposals.
        logits: ``[1 + m, n]`` or more rows, after the newest symbol and each proposal.

    Returns:
        The way through the draft: 0, then the accepted proposals' indices (as in its parents).
    """
    path = [0]
    while True:
        symbol = row.accept(logits[path[-1]])
        accepted = draft.children.get((path[-1], symbol))
        if accepted is None or row.finish is not None:
            return path
        row.take(1)  # it was fed with the proposals
        path.append(accepted)
