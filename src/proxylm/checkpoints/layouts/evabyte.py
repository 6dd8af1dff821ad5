"""EvaByte in the keys of published checkpoints, with modelling code of our own beside it.

Published code knows no raw-byte heads in its exported form; the keys are those of the published
training code (``apply_raw_multibyte_lm_head`` and ``num_raw_pred_heads``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxylm.checkpoints.layouts.contract import (
    COMMON_FIELDS,
    Facts,
    Layout,
    require_value,
    required,
)
from proxylm.config import validate_config
from proxylm.errors import CheckpointError
from proxylm.models.config import EvaAttention, ModelConfig
from proxylm.symbols import COMPRESSED_OFFSET

CODE_FOLDER = Path(__file__).parent / "remote_code"

_MEANS_NOTHING = {
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "qk_norm": False,
    "attention_bias": False,
    "mlp_bias": False,
}
"""Keys that change what a model computes, with the value that changes nothing."""


class EvaByteLayout(Layout):
    """Published EvaByte; carries every head and both softmaxes."""

    model_type = "evabyte"
    class_name = "EvaByteForCausalLM"
    code = (CODE_FOLDER / "configuration_evabyte.py", CODE_FOLDER / "modeling_evabyte.py")

    def read(self, values: Mapping[str, Any], facts: Facts | None, *, origin: str) -> ModelConfig:
        """See the base class."""
        fields = _attention_and_heads(values, origin) | _common_fields(values, facts, origin)
        config = validate_config(ModelConfig, fields, origin=origin)
        # Heads of another width, or keys and values shared in another way.
        own = {"head_dim": config.head_width, "num_key_value_heads": config.kv_heads}
        for key, ours in own.items():
            if values.get(key) is not None:
                require_value(values, key, ours, origin=origin)
        return config

    def write(self, config: ModelConfig) -> dict[str, Any]:
        """See the base class."""
        assert isinstance(config.attention, EvaAttention)
        return {
            "rope_theta": config.rope_theta,
            "tie_word_embeddings": False,
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


def _attention_and_heads(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
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


def _common_fields(values: Mapping[str, Any], facts: Facts | None, origin: str) -> dict[str, Any]:
    """The sizes, the rotation and how its symbols are read."""
    fields: dict[str, Any] = {
        ours: required(values, theirs, origin=origin) for ours, theirs in COMMON_FIELDS.items()
    }
    for key, wanted in _MEANS_NOTHING.items():
        require_value(values, key, wanted, origin=origin)
    _require_plain_rotation(values, origin=origin)
    # transformers 5 writes the base under rope_parameters, everything before it at the top.
    nested = values.get("rope_parameters")
    place = nested if isinstance(nested, Mapping) and "rope_theta" in nested else values
    fields["rope_theta"] = required(place, "rope_theta", origin=origin)
    if facts is None:
        return fields | {"sentinels": False}
    return fields | {"softmax": facts.softmax, "sentinels": facts.sentinels}


def _require_plain_rotation(values: Mapping[str, Any], *, origin: str) -> None:
    for key in ("rope_scaling", "rope_parameters"):
        scaling = values.get(key) or {}
        if not isinstance(scaling, Mapping):
            raise CheckpointError(f"{origin}: {key} is {scaling!r}, expected keys and values")
        # Older programs write the kind as "type".
        kind = scaling.get("rope_type", scaling.get("type", "default"))
        if kind != "default":
            raise CheckpointError(f"{origin}: {key} is {kind!r}, only 'default' is supported")
        others = sorted(map(str, scaling.keys() - {"rope_type", "type", "rope_theta"}))
        if others:
            raise CheckpointError(f"{origin}: {key}.{others[0]} is not supported")
