"""The value that crosses from the data to the model: packed contexts as integer arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int32, Int64

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Batch:
    """``B`` packed contexts of ``N`` symbols for a model with ``H`` heads.

    Attributes:
        inputs: int32 ``[B, N]``, ids of the shared vocabulary.
        targets: int32 ``[B, N, H]``; head ``k`` at position ``i`` wants the symbol at
            ``i + 1 + k``, or ``IGNORED_TARGET`` where that trains nothing.
        segment_ids: int32 ``[B, N]``, numbers the attention segments inside a context from 0,
            non-decreasing; attention never crosses a change. A document is one, or the stretch
            of it that stands in the context; with ``cross_document_attention`` all of them are.
        position_ids: int32 ``[B, N]``, restarts at 0 with each attention segment.
        contexts: int64 ``[B]``, the contexts' numbers in the order of training.
        batches: the ``Batches`` it was drawn from, which ``show`` asks; it stays behind where a
            batch goes to another process.
    """

    inputs: Int32[np.ndarray, "batch position"]
    targets: Int32[np.ndarray, "batch position head"]
    segment_ids: Int32[np.ndarray, "batch position"]
    position_ids: Int32[np.ndarray, "batch position"]
    contexts: Int64[np.ndarray, " batch"]
    batches: Any = field(default=None)

    def __repr__(self) -> str:
        contexts, symbols, heads = self.targets.shape
        numbers = f"{self.contexts[0]} to {self.contexts[-1]}" if contexts else "none"
        return f"Batch({contexts} contexts of {symbols} symbols, {heads} heads; contexts {numbers})"

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"batches": None}

    def tensors(self, device: str | torch.device = "cpu") -> tuple[torch.Tensor, ...]:
        """Inputs, targets, segment ids and position ids, as ``LanguageModel.loss`` takes them.

        Returns:
            int64 tensors on ``device``: ``[B, N]``, ``[B, N, H]``, ``[B, N]``, ``[B, N]``.
        """
        import torch

        arrays = (self.inputs, self.targets, self.segment_ids, self.position_ids)
        return tuple(
            torch.from_numpy(array).to(device=device, dtype=torch.int64) for array in arrays
        )
