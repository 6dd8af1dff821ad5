"""Caches for incremental decoding: EVA in memory ``O(W + N/C)``, causal attention in ``O(N)``.

Every row of a batch stands at its own position, counted from 0: there is no padding. A layer holds
the summaries and the current window's keys of a row in one buffer, summaries written backwards
from an origin and keys forwards, so that what a symbol sees is one slice::

    [ free | summary M-1 ... summary 1, summary 0 | key 0, key 1 ... key W-1 | room for trees ]

Causal attention is the same with one window that never ends.

A window becomes summaries when the first symbol *after* it is fed, so no drafted symbol that may
still be rejected is summarized as the last of its window. A pass that goes on into the next window
does summarize; the keys of the newest sealed window are therefore kept beside, and ``rewind``
brings them back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from proxylm.errors import UsageError
from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.models.feed import Feed, Integers, PaddedRound, Room, Round, Sealing, SymbolTree
from proxylm.models.summaries import summarize_chunks

_FIRST_CAPACITY = 64
_ENDLESS = 1 << 61  # the window of causal attention

SummaryVectors = Callable[[], tuple[Tensor | None, Tensor | None]]
"""Gives EVA's ``mu`` and ``phi`` ``[H, D]``; asked only when a window is complete."""


class LayerCache:
    """Keys and values of one layer: ``buffer [2, B, H_kv, summaries + keys, D]``.

    It knows neither positions nor windows; a ``Feed`` says what goes where.
    """

    def __init__(self, attention: EvaAttention | None) -> None:
        self.attention = attention
        self.room = Room(0, 0, 0)
        self.buffer: Tensor | None = None
        self.previous_window: Tensor | None = None  # [2, B, H, W, D], of the newest sealed window

    def rounds(
        self, feed: Feed, like: Tensor, summary_vectors: SummaryVectors
    ) -> Iterator[tuple[Round, Tensor]]:
        """Each round of a pass with the buffer, once the windows before it are summarized.

        ``like`` is any key of the pass, ``[..., H_kv, D]``. The caller writes the round's keys and
        values into the buffer.
        """
        buffer = self.reserve(feed.room, like)
        for round_ in feed.rounds:
            for sealing in round_.sealing:
                self._seal(sealing, summary_vectors)
            yield round_, buffer

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        feed: Feed,
        summary_vectors: SummaryVectors,
    ) -> Tensor:
        """Append keys and values ``[T, H_kv, D]``, attend from the queries, ``[T, H, D]``."""
        out = torch.empty_like(query)
        for round_, buffer in self.rounds(feed, key, summary_vectors):
            tokens, padded = round_.tokens, round_.padded(query.device)
            buffer[0][padded.write_rows, :, padded.write_places] = key[tokens]
            buffer[1][padded.write_rows, :, padded.write_places] = value[tokens]
            mixed = attend(query[tokens], buffer, padded)
            if len(feed.rounds) == 1:
                return mixed  # nothing is copied
            out[tokens] = mixed
        return out

    def restore_window(self, rows: Integers) -> None:
        """Bring back the keys of these rows' newest sealed window."""
        assert self.buffer is not None and self.previous_window is not None
        start = self.room.summaries
        window = self.previous_window.shape[3]
        self.buffer[:, rows, :, start : start + window] = self.previous_window[:, rows]

    def move(self, rows: Tensor, from_places: Tensor, to_places: Tensor) -> None:
        """Copy keys and values from place to place within their rows, int64 ``[n]`` each."""
        if self.buffer is not None:
            self.buffer[:, rows, :, to_places] = self.buffer[:, rows, :, from_places]

    def reserve(self, room: Room, like: Tensor) -> Tensor:
        """The buffer, as large as ``room`` says; ``like`` is any key, ``[..., H_kv, D]``."""
        if self.buffer is None or self.room != room:
            old, was = self.buffer, self.room
            heads, width = like.shape[-2:]
            # Zeros, not garbage: masked places still take part in products, and 0 x NaN is NaN.
            shape = (2, room.rows, heads, room.summaries + room.keys, width)
            self.buffer, self.room = like.new_zeros(shape), room
            if old is not None:
                start = room.summaries - was.summaries
                self.buffer[:, : was.rows, :, start : start + old.shape[3]] = old
            if self.previous_window is not None and room.rows > was.rows:
                added = self.previous_window.new_zeros(
                    2, room.rows - was.rows, *self.previous_window.shape[2:]
                )
                self.previous_window = torch.cat([self.previous_window, added], dim=1)
        return self.buffer

    def _seal(self, sealing: Sealing, summary_vectors: SummaryVectors) -> None:
        assert self.buffer is not None and self.attention is not None
        mu, phi = summary_vectors()
        assert mu is not None and phi is not None
        row, window = sealing
        chunks, origin = self.attention.chunks_per_window, self.room.summaries
        # [2, H, W, D], -> [2, chunks, C, H, D]
        keys = self.buffer[:, row, :, origin : origin + self.attention.window]
        if self.previous_window is None:
            self.previous_window = keys.new_zeros(2, self.room.rows, *keys.shape[1:])
        self.previous_window[:, row] = keys
        by_chunk = keys.unflatten(2, (chunks, self.attention.chunk)).permute(0, 2, 3, 1, 4)
        summaries = torch.stack(summarize_chunks(by_chunk[0], by_chunk[1], mu, phi))
        first = origin - (window + 1) * chunks
        self.buffer[:, row, :, first : first + chunks] = summaries.transpose(1, 2).flip(2)


def attend(
    query: Float[Tensor, "symbol head channel"],
    buffer: Float[Tensor, "2 row kv_head place channel"],
    padded: PaddedRound,
) -> Float[Tensor, "symbol head channel"]:
    """Attention of a round's queries ``[t, H, D]`` over what they see of the buffer."""
    queries = query.unflatten(0, padded.shape) if padded.full else query[padded.queries]
    seen = buffer[:, padded.rows, :, padded.seen]
    grouped = query.shape[1] != buffer.shape[2]
    out = F.scaled_dot_product_attention(
        queries.transpose(1, 2), seen[0], seen[1], attn_mask=padded.mask, enable_gqa=grouped
    )
    out = out.transpose(1, 2).flatten(0, 1)
    return out if padded.full else out[padded.cells]


class Cache:
    """What decoding remembers: every row's position, and one ``LayerCache`` per layer.

    Attributes:
        positions: int64 ``[B]``; symbols that each row has been fed.
        layers: in order.
    """

    def __init__(self, config: ModelConfig, batch_size: int) -> None:
        attention = config.attention if isinstance(config.attention, EvaAttention) else None
        self.positions = np.zeros(batch_size, dtype=np.int64)
        self.layers = [LayerCache(attention) for _ in range(config.layers)]
        self.stack_arrays: Any = None  # the CPU step's views of all layers
        self._window = attention.window if attention else _ENDLESS
        self._chunks_per_window = attention.chunks_per_window if attention else 0
        self._sealed = np.zeros(batch_size, dtype=np.int64)  # windows that are summaries
        self._restorable = np.zeros(batch_size, dtype=bool)  # the newest of them can come back
        self._room = Room(batch_size, 0, 0)

    @property
    def batch_size(self) -> int:
        """``B``."""
        return len(self.positions)

    @property
    def room_in_window(self) -> Integers:
        """``[B]``: how many symbols of each row still fit before a window's border; endless: many.

        The next symbol is the first of them, at a border too.
        """
        return self._window - self.positions % self._window

    @property
    def room_to_rewind(self) -> Integers:
        """``[B]``: how many symbols a pass may feed so that all but the first can be taken back.

        They end one window after that of the first: only the newest sealed window comes back.
        """
        return self.room_in_window + self._window

    def plan(
        self, counts: Int64[np.ndarray, " batch"], trees: Mapping[int, SymbolTree] | None = None
    ) -> Feed:
        """How the next pass goes that feeds ``counts [B]`` symbols to the rows.

        ``trees`` has the rows whose symbols are alternatives; none may be deeper than
        ``room_in_window``.

        Raises:
            UsageError: a tree that is deeper; its row is named.
        """
        trees = dict(trees or {})
        rows, indices = _flat(counts)
        depths = indices.copy() if trees else indices
        for row, tree in trees.items():
            depths[rows == row] = tree.depths
        position_ids = self.positions[rows] + depths
        windows, within = np.divmod(position_ids, self._window)
        for row in trees:
            if np.ptp(windows[rows == row]):
                raise UsageError(f"row {row}: a tree crosses a window; feed it after the border")
        summaries = windows * self._chunks_per_window
        offsets = within + (indices - depths) if trees else within
        self._grow(int(summaries.max(initial=0)), 1 + int(offsets.max(initial=0)))
        places = self._room.summaries + offsets
        ancestors, end = np.empty((len(rows), 0), dtype=np.int64), places + 1
        if trees:
            ancestors = _ancestor_places(rows, places - indices, trees)
            end = np.where(ancestors[:, 0] >= 0, places - indices, end)
        whole = Round(
            tokens=slice(None),
            sealing=[],
            rows=rows,
            places=places,
            first=self._room.summaries - summaries,
            end=end,
            ancestors=ancestors,
        )
        sealed = self._sealed.copy()
        np.maximum.at(sealed, rows, windows)
        return Feed(
            counts=counts,
            rows=rows,
            position_ids=position_ids,
            rounds=self._rounds(whole, windows, trees),
            room=self._room,
            sealed=sealed,
            trees=trees,
        )

    def _rounds(
        self, whole: Round, windows: Integers, trees: Mapping[int, SymbolTree]
    ) -> list[Round]:
        """The pass cut where windows end; a row's first symbol may already follow a full one."""
        borders = windows - self._sealed[whole.rows]
        if not borders.any():
            return [whole]
        rounds = []
        for border in np.unique(borders).tolist():
            tokens = np.flatnonzero(borders == border)
            sealing = []
            if border:
                crossing = np.unique(whole.rows[tokens])
                sealing = [Sealing(row, int(self._sealed[row]) + border - 1) for row in crossing]
            rounds.append(whole.part(tokens, sealing))
        return rounds

    def advance(self, feed: Feed) -> None:
        """Count a pass's symbols in. Rows with trees stay where they are until ``keep``."""
        moved = feed.counts.copy()
        moved[list(feed.trees)] = 0
        self.positions = self.positions + moved
        self._restorable |= feed.sealed > self._sealed
        self._sealed = feed.sealed

    def keep(self, feed: Feed, paths: Mapping[int, Sequence[int]]) -> None:
        """Keep of the pass just made only some symbols; rows that are not named keep all.

        A path has indices of a row's symbols in this pass, from the first one on, each the parent
        of the next (without a tree: 0, 1, ...). Rows with trees must all be named.

        Raises:
            UsageError: a row with a tree that is not; or see ``rewind``.
        """
        if not paths and not feed.trees:
            return
        if missing := feed.trees.keys() - paths.keys():
            raise UsageError(f"row {min(missing)}: fed a tree, but not the path of it that is kept")
        positions = self.positions.copy()
        moves: list[tuple[int, int, int]] = []
        for row, path in paths.items():
            if row in feed.trees:
                start = self._room.summaries + int(positions[row] % self._window)
                moves += [
                    (row, start + index, start + depth)
                    for depth, index in enumerate(path)
                    if depth != index
                ]
                positions[row] += len(path)
            else:
                positions[row] -= feed.counts[row] - len(path)
        self.positions = np.maximum(self.positions, positions)
        self.rewind(positions)
        if moves:
            rows, from_places, to_places = torch.tensor(moves).unbind(1)
            for layer in self.layers:
                layer.move(rows, from_places, to_places)

    def rewind(self, positions: int | Int64[np.ndarray, " batch"]) -> None:
        """Forget of every row the symbols from a position on (drafted and rejected).

        With EVA, at most back into the window before the one of the newest symbol.

        Raises:
            UsageError: further back than that, or ahead of a row's position.
        """
        wanted = np.broadcast_to(positions, self.positions.shape).astype(np.int64)
        if ((wanted < 0) | (wanted > self.positions)).any():
            raise UsageError(
                f"rewind: to {wanted.tolist()}, but the rows stand at {self.positions.tolist()}"
            )
        back = wanted < self._sealed * self._window
        if back.any():
            far = wanted < (self._sealed - 1) * self._window
            if (back & (far | ~self._restorable)).any():
                raise UsageError("rewind: by more than a window; its keys are no longer there")
            for layer in self.layers:
                layer.restore_window(np.flatnonzero(back))
            self._sealed = self._sealed - back
            self._restorable &= ~back
        self.positions = wanted

    def restart(self, row: int) -> None:
        """Forget everything of a row: it starts at position 0 again."""
        self.positions[row] = self._sealed[row] = 0
        self._restorable[row] = False

    @property
    def window(self) -> int:
        """Symbols whose keys become summaries together; endless: many."""
        return self._window

    def summarized_windows(self, row: int) -> int:
        """How many windows of a row are summaries by now."""
        return int(self._sealed[row])

    def keys_of(self, row: int, start: int, end: int) -> Float[Tensor, "layer 2 kv_head n channel"]:
        """A copy of the keys and values of positions that are no summaries yet."""
        origin = self._room.summaries - int(self._sealed[row]) * self._window
        return self._places_of(row, origin + start, origin + end)

    def summaries_of(self, row: int, window: int) -> Float[Tensor, "layer 2 kv_head chunk channel"]:
        """A copy of a window's summaries."""
        first = self._room.summaries - (window + 1) * self._chunks_per_window
        return self._places_of(row, first, first + self._chunks_per_window)

    def resume(self, row: int, summaries: Sequence[Tensor], keys: Sequence[Tensor]) -> None:
        """Have a row stand where another stood, of which these are copies.

        ``summaries`` are those of its windows from the first on, ``keys`` the copies of what
        follows, in order.
        """
        length = sum(copied.shape[3] for copied in keys)
        self._grow(len(summaries) * self._chunks_per_window, max(1, length))
        self.restart(row)
        self._sealed[row] = len(summaries)
        self.positions[row] = len(summaries) * self._window + length
        origin, chunks = self._room.summaries, self._chunks_per_window
        for window, copied in enumerate(summaries):
            self._write(row, origin - (window + 1) * chunks, copied)
        start = origin
        for copied in keys:
            self._write(row, start, copied)
            start += copied.shape[3]

    def _places_of(self, row: int, start: int, end: int) -> Tensor:
        buffers = [layer.buffer for layer in self.layers]
        return torch.stack([b[:, row, :, start:end] for b in buffers if b is not None])

    def _write(self, row: int, start: int, copied: Tensor) -> None:
        for layer, values in zip(self.layers, copied, strict=True):
            buffer = layer.reserve(self._room, values[0].transpose(0, 1))
            buffer[:, row, :, start : start + values.shape[2]] = values

    def add_rows(self, count: int) -> None:
        """So many new rows, after the others, at position 0."""
        self.positions, self._sealed, self._restorable = (
            np.concatenate([old, np.zeros(count, old.dtype)])
            for old in (self.positions, self._sealed, self._restorable)
        )
        self._room = self._room._replace(rows=self.batch_size)

    def _grow(self, summaries: int, keys: int) -> None:
        """Make room; twice as much as there was, where it has no bound."""
        if summaries > self._room.summaries:
            summaries = max(summaries, 2 * self._room.summaries)
        if self._chunks_per_window:
            keys = max(keys, self._window)
        elif keys > self._room.keys:
            keys = max(keys, 2 * self._room.keys, _FIRST_CAPACITY)
        self._room = self._room._replace(
            summaries=max(summaries, self._room.summaries), keys=max(keys, self._room.keys)
        )


def _flat(counts: Integers) -> tuple[Integers, Integers]:
    """Of all symbols, row after row: the row, and which of the row's it is."""
    rows = np.flatnonzero(counts)
    if counts.sum() == len(rows):  # one each, as where nothing is drafted
        return rows, np.zeros(len(rows), dtype=np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _ancestor_places(rows: Integers, starts: Integers, trees: Mapping[int, SymbolTree]) -> Integers:
    """``[T, A]``: places of each tree symbol's ancestors and its own; -1 is none.

    ``starts`` are the places of each symbol's row's first symbol.
    """
    widest = max(tree.ancestors.shape[1] for tree in trees.values())
    places = np.full((len(rows), widest), -1, dtype=np.int64)
    for row, tree in trees.items():
        tokens = np.flatnonzero(rows == row)
        shifted = starts[tokens, None] + tree.ancestors
        places[tokens, : tree.ancestors.shape[1]] = np.where(tree.ancestors < 0, -1, shifted)
    return places
