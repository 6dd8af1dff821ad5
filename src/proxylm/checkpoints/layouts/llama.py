"""Llama-style models as plain ``LlamaForCausalLM``: no code of ours runs where they are used.

Llama's RMSNorm multiplies by the weight itself, as ours does with causal attention, so tensors
go over unchanged. It has one head, and one softmax over the whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxylm.checkpoints.layouts.contract import FACTS_KEY, Facts, Layout, required
from proxylm.errors import CheckpointError, UsageError
from proxylm.models.config import ModelConfig
from proxylm.symbols import COMPRESSED_OFFSET


class LlamaLayout(Layout):
    """Plain Llama."""

    model_type = "llama"
    class_name = "LlamaForCausalLM"

    def own_fields(
        self, values: Mapping[str, Any], facts: Facts | None, origin: str
    ) -> dict[str, Any]:
        """See the base class.

        Only our own folders are read: ids of another tokenizer would be taken for bytes.

        Raises:
            CheckpointError: proxylm did not export it; or as there.
        """
        if facts is None:
            raise CheckpointError(
                f"{origin}: a Llama model that proxylm did not export (no key '{FACTS_KEY}'): its "
                "ids mean another tokenizer's symbols, not ours"
            )
        kv_heads = required(values, "num_key_value_heads", origin=origin)
        return {"attention": {"kind": "causal", "kv_heads": kv_heads}}

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """See the base class."""
        return {
            "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_width,
            "attention_bias": False,
            "mlp_bias": False,
        }

    def expressible(self, config: ModelConfig) -> ModelConfig:
        """See the base class.

        Raises:
            UsageError: the model has a softmax of its own for every format, or is an imported one
                with more than plain Llama's block.
        """
        if not config.is_plain or config.rope_scaling or config.tied_embeddings:
            raise UsageError(
                f"{self.class_name} as it is written here has no biases, no norms of queries and "
                "keys, no stretched positions and no tied embeddings: this imported model cannot "
                "be exported"
            )
        if config.normalizes_by_format and config.vocabulary_size > COMPRESSED_OFFSET:
            raise UsageError(
                f"{self.class_name} has one softmax over the whole vocabulary and cannot express "
                "this model's softmax by_format; give --drop-compressed to export its bytes alone"
            )
        return config.model_copy(update={"prediction_heads": 1, "raw_prediction_heads": 0})
