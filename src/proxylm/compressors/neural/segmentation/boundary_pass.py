"""The boundary pass: one teacher-forced float32 forward over whole documents (method, section 3).

A document longer than the LM's context is scored in overlapping windows, those of
``models.scoring_windows``: each starts with ``<bos>``, and the bytes of its overlap with the one
before are read but not scored again. Windows of similar length are laid end to end into one long
row per forward, so that next to nothing is computed on padding. What is computed together moves a
score by float32's noise only; decisions that close are left to float64 (``entropy``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from proxylm.compressors.neural.byte_lm.exact_pass import bits_of, raw_output_rows
from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.errors import UsageError
from proxylm.groups import in_groups
from proxylm.models.scoring_windows import scoring_windows
from proxylm.progress import TellCount, untold
from proxylm.symbols import BOS, RAW_OFFSET

POSITIONS_PER_FORWARD = {"cpu": 1 << 13, "cuda": 1 << 15}
"""Input positions of one forward: several full contexts, little memory."""


@dataclass(frozen=True, kw_only=True)
class ScoringWindows:
    """Stretches of flat documents that are each read from ``<bos>`` on.

    Attributes:
        starts, ends: int64 ``[w]``, the bytes that are read.
        first_scored: int64 ``[w]``, the first byte whose score this window gives.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    first_scored: NDArray[np.int64]

    @classmethod
    def over(cls, documents: FlatDocuments, context: int, overlap: int) -> ScoringWindows:
        """The windows of documents, in order; every byte is scored by exactly one of them.

        Args:
            documents: the text.
            context: bytes that one window reads at most.
            overlap: bytes that a later window reads before it scores.

        Raises:
            UsageError: the overlap fills the context.
        """
        if not 0 <= overlap < context:
            raise UsageError(f"overlap {overlap}: must be from 0 to below the context {context}")
        found = [
            (first + window.start, first + window.end, first + window.first_scored)
            for first, length in zip(
                documents.starts.tolist(), documents.lengths.tolist(), strict=True
            )
            # ``<bos>`` is the prefix, so a window spans as many bytes as it has inputs.
            for window in scoring_windows(
                length, context=context, stride=context - overlap, prefix_length=1
            )
        ]
        starts, ends, first_scored = np.array(found, dtype=np.int64).reshape(-1, 3).T.copy()
        return cls(starts=starts, ends=ends, first_scored=first_scored)

    def scoring(self, byte: int) -> int:
        """The window that scores a byte."""
        return int(np.searchsorted(self.first_scored, byte, side="right")) - 1

    def batches(self, positions: int) -> Iterator[NDArray[np.int64]]:
        """Numbers of windows of falling length, at most ``positions`` bytes (or one window)."""
        lengths = self.ends - self.starts
        order = np.argsort(-lengths, kind="stable").tolist()
        return map(np.array, in_groups(order, lengths.tolist().__getitem__, positions))


@dataclass(frozen=True, kw_only=True)
class PackedWindows:
    """Windows end to end in one row of ``T`` positions.

    Attributes:
        ids: int64 ``[T]``, ``<bos>`` and all bytes but the last of each window.
        segment_ids, position_ids: int64 ``[T]``, the window's number and the place in it.
        predicted: int64 ``[T]``, which byte of the text each position predicts.
        is_scored: bool ``[T]``, false in overlaps.
    """

    ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    predicted: NDArray[np.int64]
    is_scored: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        raw: NDArray[np.uint8],
        windows: ScoringWindows,
        chosen: NDArray[np.int64],
        padded_to: int = 0,
    ) -> PackedWindows:
        """Lay the chosen windows end to end.

        Args:
            raw: uint8 ``[n]``, the text.
            windows: how it is read.
            chosen: int64, numbers of windows.
            padded_to: where they have fewer positions, one more window of the text that is
                scored nowhere fills the row up to so many.
        """
        starts, first_scored = windows.starts[chosen], windows.first_scored[chosen]
        lengths = windows.ends[chosen] - starts
        if (missing := padded_to - int(lengths.sum())) > 0:
            starts, lengths = np.append(starts, 0), np.append(lengths, missing)
            first_scored = np.append(first_scored, max(missing, len(raw)))
        segment_ids = np.repeat(np.arange(len(starts)), lengths)
        position_ids = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        predicted = starts[segment_ids] + position_ids
        is_scored = predicted >= first_scored[segment_ids]
        predicted = np.minimum(predicted, len(raw) - 1)
        before = raw[np.maximum(predicted - 1, 0)].astype(np.int64) + RAW_OFFSET
        return cls(
            ids=np.where(position_ids == 0, BOS, before),
            segment_ids=segment_ids,
            position_ids=position_ids,
            predicted=predicted,
            is_scored=is_scored,
        )


class BoundaryPass:
    """Scores of documents by a byte LM in float32, in large batches.

    Args:
        lm: the byte LM, on the device where it computes.
        overlap: bytes that a later window of a document reads before it scores.
        positions_per_forward: input positions of one forward; default by device.
    """

    def __init__(
        self, lm: ByteLM, *, overlap: int, positions_per_forward: int | None = None
    ) -> None:
        self.lm = lm
        self.overlap = overlap
        wanted = positions_per_forward or POSITIONS_PER_FORWARD[lm.device.type]
        self._positions = max(wanted, lm.context)
        self._output = raw_output_rows(lm.model)

    def windows(self, documents: FlatDocuments) -> ScoringWindows:
        """How documents are read."""
        return ScoringWindows.over(documents, self.lm.context, self.overlap)

    def scores(self, documents: FlatDocuments, progress: TellCount = untold) -> NDArray[np.float32]:
        """Cross-entropy of every byte in bits: float32 ``[n]``.

        ``progress`` hears how many bytes have theirs.
        """
        done = 0
        scores = np.empty(len(documents.raw), np.float32)
        windows = self.windows(documents)
        # On a GPU compiled kernels are made for one shape.
        padded_to = self._positions if self.lm.device.type == "cuda" else 0
        for chosen in windows.batches(self._positions):
            packed = PackedWindows.of(documents.raw, windows, chosen, padded_to)
            bits = self._forward(packed, documents.raw)
            scores[packed.predicted[packed.is_scored]] = bits[packed.is_scored]
            done += int(packed.is_scored.sum())
            progress("bytes scored", done, len(scores))
        return scores

    @torch.no_grad()
    def _forward(self, packed: PackedWindows, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
        hidden = self.lm.model.hidden(
            self._row(packed.ids), self._row(packed.segment_ids), self._row(packed.position_ids)
        )[0]
        next_bytes = self._row(raw[packed.predicted].astype(np.int64))[0]
        return bits_of(hidden @ self._output.T, next_bytes).cpu().numpy()

    def _row(self, values: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values)[None].to(self.lm.device)
