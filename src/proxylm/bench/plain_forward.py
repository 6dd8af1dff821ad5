"""The floor of the entropy rule: one teacher-forced forward pass over a text, as fast as it goes.

Nothing of the compressor is in it but the model: the cross-entropy of every byte is computed once.
It runs in the fastest of several batchings, tried before: the text as one string in rows of full
contexts (no padding, but attention crosses documents), or documents laid end to end in one row,
both with fewer or more bytes in a forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from proxylm.bench.report import alternate
from proxylm.compressors.neural.byte_lm.exact_pass import bits_of, raw_output_rows
from proxylm.compressors.neural.byte_lm.model import ByteLM
from proxylm.compressors.neural.flat_documents import FlatDocuments
from proxylm.compressors.neural.segmentation.boundary_pass import BoundaryPass
from proxylm.symbols import BOS, RAW_OFFSET

CONTEXTS_PER_FORWARD = (1, 4, 8, 16, 64)


@dataclass(frozen=True, kw_only=True)
class PlainForward:
    """A pass in one batching; ``run`` does all of it once."""

    batching: str
    run: Callable[[], Any]


def fastest_plain_forward(
    lm: ByteLM, documents: Sequence[bytes], *, tried_bytes: int
) -> PlainForward:
    """The pass over ``documents`` in the batching that is fastest on the first of them."""
    first = _up_to(documents, tried_bytes)
    makers = [
        partial(batched, lm, contexts=contexts)
        for batched in (in_full_rows, end_to_end)
        for contexts in CONTEXTS_PER_FORWARD
    ]
    seconds = alternate(*(maker(first).run for maker in makers), repeats=1)
    return makers[int(np.argmin(seconds))](documents)


def in_full_rows(lm: ByteLM, documents: Sequence[bytes], *, contexts: int) -> PlainForward:
    """The documents as one string, ``contexts`` rows of a full context in a forward."""
    raw = torch.from_numpy(FlatDocuments.of(documents).raw.astype(np.int64))
    rows = raw[: len(raw) // lm.context * lm.context].reshape(-1, lm.context)
    parts = [*rows.split(contexts), raw[rows.numel() :][None]]

    def run() -> list[Tensor]:
        return [_bits(lm, part.to(lm.device)) for part in parts if part.numel()]

    return PlainForward(batching=f"{contexts} rows of {lm.context} bytes", run=run)


def end_to_end(lm: ByteLM, documents: Sequence[bytes], *, contexts: int) -> PlainForward:
    """Documents one after the other, as many as fill ``contexts`` full contexts in a forward."""
    positions = contexts * lm.context
    forward = BoundaryPass(lm, overlap=0, positions_per_forward=positions)
    flat = FlatDocuments.of(documents)
    return PlainForward(
        batching=f"documents end to end, {positions} bytes", run=lambda: forward.scores(flat)
    )


@torch.no_grad()
def _bits(lm: ByteLM, rows: Tensor) -> Tensor:
    """Cross-entropy of rows of bytes int64 ``[B, N]``, each after ``<bos>``: ``[B · N]``."""
    ids = rows.roll(1, dims=1) + RAW_OFFSET
    ids[:, 0] = BOS
    hidden = lm.model.hidden(ids)
    return bits_of(hidden.flatten(0, 1) @ raw_output_rows(lm.model).T, rows.flatten())


def _up_to(documents: Sequence[bytes], num_bytes: int) -> list[bytes]:
    ends = np.cumsum([len(document) for document in documents])
    return list(documents[: int(np.searchsorted(ends, num_bytes)) + 1])
