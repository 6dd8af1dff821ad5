"""Which symbols of a model leave with it, and their rows."""

from __future__ import annotations

from enum import StrEnum

from torch import Tensor

from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import COMPRESSED_OFFSET

EMBEDDING = "model.embed_tokens.weight"
OUTPUT = "lm_head.weight"
RAW_OUTPUT = "raw_multibyte_lm_head.weight"


class Vocabulary(StrEnum):
    """The rows of the embedding and the output layer that an export has.

    ``BYTES``: specials and raw bytes. ``BOTH``: these and the compressed symbols. ``TOKENS``: the
    compressed symbols alone, under the ids that an imported model had them by.
    """

    BYTES = "bytes"
    BOTH = "both"
    TOKENS = "tokens"

    def rows(self, config: ModelConfig) -> range:
        """The symbols of a model that stay; their ids count from 0."""
        first = COMPRESSED_OFFSET if self is Vocabulary.TOKENS else 0
        return range(
            first, COMPRESSED_OFFSET if self is Vocabulary.BYTES else config.vocabulary_size
        )

    def of(self, config: ModelConfig) -> ModelConfig:
        """The model with these rows alone."""
        return config.model_copy(update={"vocabulary_size": len(self.rows(config))})


def kept_tensors(
    module: LanguageModel, exported: ModelConfig, vocabulary: Vocabulary
) -> dict[str, Tensor]:
    """The model's tensors without the rows of symbols and heads that ``exported`` does not have.

    Rows that stay are those of the first heads, bit for bit.
    """
    tensors, config = module.state_dict(), module.config
    rows = vocabulary.rows(config)
    kept = slice(rows.start, rows.stop)
    tensors[EMBEDDING] = tensors[EMBEDDING][kept].clone()
    if OUTPUT in tensors:  # a tied output layer is the embedding
        heads = tensors[OUTPUT].unflatten(0, (config.prediction_heads, config.vocabulary_size))
        tensors[OUTPUT] = heads[: exported.prediction_heads, kept].flatten(0, 1).clone()
    if not exported.raw_prediction_heads:
        tensors.pop(RAW_OUTPUT, None)
    return tensors
