"""The heads that draft: what the model expects further on than its next symbol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BYTE_COUNT, COMPRESSED_OFFSET, RAW_OFFSET

GREEDY_TEMPERATURE = 0.5
"""What the heads' logits are divided by where head 0 is greedy: it chooses its most probable byte
more often than a text would, and the heads are right about that more often than they say."""


class DraftHeads:
    """Rows of the output layers that are about raw bytes, of every head but head 0.

    The symbols that end a text are not drafted: nothing follows them.

    Attributes:
        count: heads beside head 0, shared ones first, then raw ones (method, section 5).
    """

    def __init__(self, model: LanguageModel) -> None:
        config, raw = model.config, slice(RAW_OFFSET, RAW_OFFSET + BYTE_COUNT)
        shared = model.lm_head.weight.view(-1, config.vocabulary_size, config.width)
        weights = [shared[1:, raw]]
        if config.raw_prediction_heads:
            own = model.raw_multibyte_lm_head.weight.view(-1, COMPRESSED_OFFSET, config.width)
            weights.append(own[:, raw])
        self.count = config.target_heads - 1
        self._weight = torch.cat(weights).detach().flatten(0, 1).float()  # [heads * 256, width]

    def probabilities(
        self, hidden: Float[Tensor, "row width"], temperatures: Sequence[float]
    ) -> Float32[np.ndarray, "row heads byte=256"]:
        """Of every byte by every head, from final states.

        Temperature 0 is taken as ``GREEDY_TEMPERATURE``: how sure the heads are says how far to go.
        """
        if not self.count:
            return np.empty((len(hidden), 0, BYTE_COUNT), dtype=np.float32)
        logits = torch.nn.functional.linear(hidden, self._weight).float()
        divisors = logits.new_tensor([value or GREEDY_TEMPERATURE for value in temperatures])
        scaled = logits.unflatten(1, (self.count, BYTE_COUNT)) / divisors[:, None, None]
        return torch.softmax(scaled, dim=-1).cpu().numpy()
