"""What a model may write: the symbols of one format, and those that end it (method, section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from proxylm.models.language_model import LanguageModel
from proxylm.models.stored_matrices import product
from proxylm.symbols import EOS, Format


@dataclass(frozen=True)
class OutputFormat:
    """The symbols that may follow inside one text.

    Attributes:
        content_format: raw bytes, or a compressor's symbols.
        sentinels: whether the model's texts carry ``<raw>`` and its kin.
        symbol_count: of bytes, or of the compressor; ids above them are never chosen.
    """

    content_format: Format
    sentinels: bool
    symbol_count: int

    @cached_property
    def offset(self) -> int:
        """Id of symbol 0; every id below it that may follow ends the text."""
        return self.content_format.offset

    @cached_property
    def end(self) -> int:
        """One above the largest id: logits of others are not needed."""
        return self.offset + self.symbol_count

    @cached_property
    def mask(self) -> Float32[np.ndarray, " end"]:
        """To be added to logits: 0 where a symbol may follow, elsewhere −∞."""
        mask = np.full(self.end, -np.inf, dtype=np.float32)
        mask[[EOS, self.content_format.close] if self.sentinels else [EOS]] = 0
        mask[self.offset :] = 0
        return mask


def head_0_logits(
    model: LanguageModel, hidden: Float[Tensor, "position width"], *, end: int
) -> Float32[np.ndarray, "position end"]:
    """Head 0's logits of the ids below ``end``, from final states.

    The output layer's first rows are head 0's, and specials and bytes come first among them:
    where only bytes are written, those of compressed symbols are not computed.
    """
    logits = product(hidden, model.lm_head.weight[:end])
    return logits.float().cpu().numpy()
