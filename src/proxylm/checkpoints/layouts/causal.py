"""Causal models as transformers' own classes of their family: no code of ours runs there.

Their RMSNorm multiplies by the weight itself, as ours does with causal attention, so tensors
go over unchanged. They have one head, and one softmax over the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxylm.checkpoints.layouts.contract import FACTS_KEY, Facts, Layout
from proxylm.checkpoints.layouts.families import Family, family_config, family_values
from proxylm.errors import CheckpointError, UsageError
from proxylm.models.config import ModelConfig
from proxylm.symbols import COMPRESSED_OFFSET


class CausalLayout(Layout):
    """Plain Llama, or another family.

    Args:
        family: what it has beside Llama.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.model_type = family.model_type
        self.class_name = family.class_name

    def read(self, values: Mapping[str, Any], facts: Facts | None, *, origin: str) -> ModelConfig:
        """See the base class.

        Only our own folders are read: ids of another tokenizer would be taken for bytes.

        Raises:
            CheckpointError: proxylm did not export it; or as there.
        """
        if facts is None:
            raise CheckpointError(
                f"{origin}: a {self.class_name} that proxylm did not export (no key "
                f"'{FACTS_KEY}'): its ids mean another tokenizer's symbols, not ours (proxylm "
                "import hf brings it in)"
            )
        return family_config(values, origin=origin, facts=facts)

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """See the base class."""
        return family_values(config)

    def expressible(self, config: ModelConfig) -> ModelConfig:
        """See the base class.

        Raises:
            UsageError: the model has a softmax of its own for every format.
        """
        if config.normalizes_by_format and config.vocabulary_size > COMPRESSED_OFFSET:
            raise UsageError(
                f"{self.class_name} has one softmax over the whole vocabulary and cannot express "
                "this model's softmax by_format; give --vocabulary bytes to export its bytes alone"
            )
        return config.model_copy(update={"prediction_heads": 1, "raw_prediction_heads": 0})
