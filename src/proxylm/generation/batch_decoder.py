"""Continuous batching: sequences come and go, one forward pass at a time moves all of them on.

Every row stands at its own position of its own text; a pass feeds the newest symbol of rows that
write, with what is drafted behind it, and the next stretch of the prompt of rows that still read.
What a row gives does not depend on the other rows nor on the drafts, up to the rounding of
matrix products over more or fewer symbols.

Verification draws from head 0's distribution after the newest symbol, with the random number of
that position, and goes on to the drafted symbol that is the drawn one, if there is one. A drafted
``x`` is thus accepted with probability ``p(x)``, and otherwise the draw is one from ``p`` without
``x``: speculative rejection sampling of a draft that is certain (Leviathan et al. 2023), and with
several alternatives the most that can be accepted of them. Every symbol is thus drawn from exactly
the distribution, and by the same number, that drawing one by one would have.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from proxylm.errors import UsageError
from proxylm.generation.decoding_row import ByteDelta, DecodingRow
from proxylm.generation.draft_heads import DraftHeads
from proxylm.generation.drafts import NO_DRAFT, Draft
from proxylm.generation.output_format import head_0_logits
from proxylm.generation.prefill import PREFILL_SYMBOLS, PrefillPace, Room
from proxylm.generation.prefix_memory import PrefixMemory
from proxylm.generation.request import DecodingRequest
from proxylm.models.feed import Feed, SymbolTree
from proxylm.models.language_model import LanguageModel


class BatchDecoder:
    """Decodes up to ``max_rows`` sequences together, each with options of its own.

    Args:
        model: any model over the shared vocabulary, in evaluation mode; one without further heads
            drafts from the text alone.
        max_rows: most sequences at a time.
        prefixes: keeps what was read for prompts that begin alike; None: each is read whole.
        pace: says how much of prompts a pass reads; None: as much as memory allows.

    Raises:
        UsageError: the model's vocabulary has no bytes.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        max_rows: int,
        prefixes: PrefixMemory | None = None,
        pace: PrefillPace | None = None,
    ) -> None:
        model.config.require_raw_bytes()
        self._model = model
        self._max_rows = max_rows
        self._heads = DraftHeads(model)
        self._prefixes = prefixes
        self._pace = pace
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

    @property
    def drafts(self) -> dict[int, Draft]:
        """What the next pass will verify, by handle; nothing of rows that draft nothing."""
        return {self._rows[place].handle: draft for place, draft in self._drafts.items()}

    def add(self, request: DecodingRequest) -> int:
        """Start a sequence; its handle (they count from 0).

        Raises:
            UsageError: every row is taken.
        """
        if not self.free_rows:
            raise UsageError(f"all {self._max_rows} rows are taken: add when free_rows is above 0")
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

    def step(self) -> list[ByteDelta]:
        """One forward pass over all rows; the bytes that became certain, oldest sequence first.

        Raises:
            DamagedWeightsError: the model's output is not a number.
        """
        rows = {place: row for place, row in sorted(self._rows.items()) if row.finish is None}
        if rows:
            with torch.inference_mode():
                self._pass(rows)
        deltas = []
        for place, row in list(self._rows.items()):
            deltas += row.take_deltas()
            if row.finish is not None:
                self._remember([place])
                self._free(place)
        return sorted(deltas, key=lambda delta: delta.handle)

    def _pass(self, rows: dict[int, DecodingRow]) -> None:
        started, reading = time.perf_counter(), [place for place in rows if rows[place].reads]
        feed, hidden = self._feed(rows)
        spans = self._spans_to_read(rows, np.cumsum(feed.counts).tolist())
        read = [t for span in spans.values() for t in span]
        read_states = hidden[read] if len(read) < len(hidden) else hidden
        end = max((rows[place].output.end for place in spans), default=0)
        logits = head_0_logits(self._model, read_states, end=end)
        paths, newest, start = {}, {}, 0
        for place, span in spans.items():
            row, draft = rows[place], self._draft(place)
            scored = row.scorable
            if scored:
                row.score_prompt(logits[start : start + scored])
            if row.writes:
                path = _verify(row, draft, logits[start + scored :])
                newest[place] = span[scored + path[-1]]
                if len(draft.symbols):
                    paths[place] = path
            start += len(span)
        self._cache.keep(feed, paths)
        self._draft_next(newest, hidden)
        if self._pace is not None:
            seconds = time.perf_counter() - started
            num_read = int(feed.counts[reading].sum())
            self._pace.observe(seconds, read=num_read, writing=len(reading) < len(rows))
        self._remember([place for place in reading if not rows[place].reads])

    def _feed(self, rows: dict[int, DecodingRow]) -> tuple[Feed, Float[Tensor, "fed width"]]:
        """Feed known symbols and drafts; the final state after each of them, row after row."""
        taken = self._take(rows)
        fed = {place: np.concatenate([taken[place], self._draft(place).symbols]) for place in rows}
        counts = np.zeros(self._cache.batch_size, dtype=np.int64)
        counts[list(fed)] = [len(symbols) for symbols in fed.values()]
        trees = {
            place: SymbolTree(np.concatenate([[-1], draft.parents]))
            for place, draft in self._drafts.items()
            if draft.branches
        }
        feed = self._cache.plan(counts, trees)
        symbols = torch.from_numpy(np.concatenate(list(fed.values())))
        device = self._model.lm_head.weight.device
        return feed, self._model.step_feed(symbols.to(device), self._cache, feed)

    def _take(self, rows: dict[int, DecodingRow]) -> dict[int, Int64[np.ndarray, " taken"]]:
        """The known symbols that a pass feeds, by place; of prompts the oldest one's first."""
        writing = any(not row.reads for row in rows.values())
        room = Room(PREFILL_SYMBOLS) if self._pace is None else self._pace.room(writing=writing)
        taken, beginnings = {}, set()
        for place, row in sorted(rows.items(), key=lambda one: one[1].handle):
            if not row.reads:
                taken[place] = row.take(1)
                continue
            if not self._cache.positions[place]:
                self._resume(place, row)
            beginning = self._beginning(row)
            waits = beginning in beginnings and not self._cache.positions[place]
            beginnings.add(beginning)
            taken[place] = row.take(0 if waits else room.take(row.pending))
        return taken

    def _beginning(self, row: DecodingRow) -> object:
        """Equal of rows of which the second had better go on from what the first reads."""
        beginning = self._prefixes and self._prefixes.beginning(row.known(PREFILL_SYMBOLS))
        return row.handle if beginning is None else beginning

    def _resume(self, place: int, row: DecodingRow) -> None:
        """Pass over the beginning of a prompt that was read before."""
        if self._prefixes is not None:
            row.take(self._prefixes.resume(row.skippable, self._cache, place))

    def _remember(self, places: list[int]) -> None:
        """Keep what these rows have been fed for prompts that begin like it."""
        if self._prefixes is not None:
            for place in places:
                fed = int(self._cache.positions[place])
                self._prefixes.keep(self._rows[place].known(fed), self._cache, place)

    def _spans_to_read(self, rows: dict[int, DecodingRow], ends: list[int]) -> dict[int, range]:
        """After which of the fed symbols head 0 is read, by place: a row's newest, and its draft's.

        ``ends`` count the symbols fed up to each place, its own included.
        """
        return {
            place: range(ends[place] - wanted - len(self._draft(place).symbols), ends[place])
            for place, row in rows.items()
            if (wanted := row.scorable + row.writes)
        }

    def _draft(self, place: int) -> Draft:
        return self._drafts.get(place, NO_DRAFT)

    def _draft_next(self, newest: dict[int, int], hidden: Float[Tensor, "fed width"]) -> None:
        """Drafts of the next pass: by place, from the state that chose its newest symbol."""
        self._drafts = {}
        rows = {place: self._rows[place] for place in newest}
        drafting = {place: row for place, row in rows.items() if row.drafter and row.finish is None}
        if not drafting:
            return
        probabilities = self._heads.probabilities(
            hidden[[newest[place] for place in drafting]],
            [row.options.temperature for row in drafting.values()],
        )
        rooms, most = self._cache.room_in_window, self._cache.room_to_rewind
        for (place, row), by_head in zip(drafting.items(), probabilities, strict=True):
            # The last byte is chosen, and never fed.
            depth = min(row.symbols_left, int(most[place])) - 1
            assert row.drafter is not None
            self._drafts[place] = row.drafter.draft(
                by_head, depth=depth, window_depth=int(rooms[place]) - 1
            )

    def _free(self, place: int) -> None:
        del self._rows[place]
        self._drafts.pop(place, None)
        if not self._rows:  # nobody is left: the memory goes back
            self._cache = self._model.new_cache(0)


def _verify(
    row: DecodingRow, draft: Draft, logits: Float32[np.ndarray, "read symbols"]
) -> list[int]:
    """Choose the row's symbols as long as they are among the drafted ones, and one more.

    ``logits`` are those after its newest symbol and each drafted one (and more, which are not
    looked at); the result is the way through the draft: 0, then the accepted symbols' indices (as
    in its parents).
    """
    path = [0]
    while True:
        symbol = row.accept(logits[path[-1]])
        accepted = draft.children.get((path[-1], symbol))
        if accepted is None or row.finish is not None:
            return path
        row.take(1)  # it was fed with the draft
        path.append(accepted)
