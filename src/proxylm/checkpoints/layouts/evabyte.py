"""EvaByte in the keys of published checkpoints, with modelling code of our own beside it.

Published code knows no raw-byte heads in its exported form; the keys are those of the published
training code (``apply_raw_multibyte_lm_head`` and ``num_raw_pred_heads``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxylm.checkpoints.layouts.contract import (
    Facts,
    Layout,
    require_value,
    required,
)
from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.symbols import COMPRESSED_OFFSET

CODE_FOLDER = Path(__file__).parent / "remote_code"


class EvaByteLayout(Layout):
    """Published EvaByte; carries every head and both softmaxes."""

    model_type = "evabyte"
    class_name = "EvaByteForCausalLM"
    code = (CODE_FOLDER / "configuration_evabyte.py", CODE_FOLDER / "modeling_evabyte.py")

    def own_fields(
        self, values: Mapping[str, Any], facts: Facts | None, origin: str
    ) -> dict[str, Any]:
        """See the base class."""
        require_value(values, "norm_add_unit_offset", True, origin=origin)
        require_value(values, "attention_class", "eva", origin=origin)
        attention = {
            "kind": "eva",
            "window": required(values, "window_size", origin=origin),
            "chunk": required(values, "chunk_size", origin=origin),
        }
        heads = required(values, "num_pred_heads", origin=origin)
        fields = {"attention": attention, "prediction_heads": heads}
        if values.get("apply_raw_multibyte_lm_head"):
            require_value(values, "raw_vocab_size", COMPRESSED_OFFSET, origin=origin)
            fields["raw_prediction_heads"] = required(values, "num_raw_pred_heads", origin=origin)
        return fields

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """See the base class."""
        assert isinstance(config.attention, EvaAttention)
        return {
            "attention_class": "eva",
            "window_size": config.attention.window,
            "chunk_size": config.attention.chunk,
            "num_pred_heads": config.prediction_heads,
            "apply_raw_multibyte_lm_head": config.raw_prediction_heads > 0,
            "num_raw_pred_heads": config.raw_prediction_heads,
            "raw_vocab_size": COMPRESSED_OFFSET,
            "norm_add_unit_offset": True,
            "fp32_ln": True,
            "fp32_logits": True,
            "fp32_skip_add": True,
            "mixedp_attn": True,
            "auto_map": {
                "AutoConfig": "configuration_evabyte.EvaByteConfig",
                "AutoModel": "modeling_evabyte.EvaByteModel",
                "AutoModelForCausalLM": "modeling_evabyte.EvaByteForCausalLM",
            },
        }
