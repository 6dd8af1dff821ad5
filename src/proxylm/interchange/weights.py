"""What an export leaves out of a model's weights: compressed symbols, further heads.

Tensors are by parameter name; ``lm_head.weight`` is ``[H1 * V, width]``, head by head.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from proxylm.models.config import ModelConfig
from proxylm.symbols import COMPRESSED_OFFSET

EMBEDDING = "model.embed_tokens.weight"
OUTPUT = "lm_head.weight"
RAW_OUTPUT = "raw_multibyte_lm_head.weight"


def reduced_tensors(
    tensors: Mapping[str, Tensor], config: ModelConfig, reduced: ModelConfig
) -> dict[str, Tensor]:
    """The tensors of a model without the rows that ``reduced`` does not have.

    Rows that stay are those of the lowest symbols and of the first heads, bit for bit.

    Args:
        tensors: of a model of ``config``.
        config: sizes as they are.
        reduced: the same with a smaller vocabulary, or with fewer heads.
    """
    rows = reduced.vocabulary_size
    heads = tensors[OUTPUT].unflatten(0, (config.prediction_heads, config.vocabulary_size))
    kept = dict(tensors)
    kept[EMBEDDING] = tensors[EMBEDDING][:rows].clone()
    kept[OUTPUT] = heads[: reduced.prediction_heads, :rows].flatten(0, 1).clone()
    if not reduced.raw_prediction_heads:
        kept.pop(RAW_OUTPUT, None)
    return kept


def bytes_alone(config: ModelConfig) -> ModelConfig:
    """The same model without its compressed symbols."""
    return config.model_copy(update={"vocabulary_size": COMPRESSED_OFFSET})
