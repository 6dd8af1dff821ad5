"""Pretrained models of other programs that can be imported: what their ``config.json`` may say.

A family is Llama's block with a few additions (``CausalAttention``, ``ModelConfig.norms``). The
names of parameters are the same in all of them, and are ours. Whatever else would change what a
model computes is refused by its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from proxylm.checkpoints.layouts.contract import COMMON_FIELDS, require_value, required
from proxylm.config import validate_config
from proxylm.errors import CheckpointError
from proxylm.models.config import ModelConfig

_MEANS_NOTHING = {
    "hidden_act": "silu",
    "mlp_bias": False,
    "attention_bias": False,
    "use_sliding_window": False,
    "clip_qkv": None,
    "quantization_config": None,
    "partial_rotary_factor": 1.0,
    "pretraining_tp": 1,
}
"""Keys that change what a model computes, with the value that changes nothing."""

_LLAMA3_KEYS = {
    "factor": "factor",
    "low_frequency": "low_freq_factor",
    "high_frequency": "high_freq_factor",
    "original_context": "original_max_position_embeddings",
}


@dataclass(frozen=True, slots=True)
class Family:
    """What a family has beside Llama, as fields of ``CausalAttention`` and ``ModelConfig``.

    Attributes:
        attention: of ``CausalAttention``.
        norms: see ``ModelConfig``.
    """

    attention: Mapping[str, Any] = field(default_factory=dict)
    norms: Literal["before", "after"] = "before"


FAMILIES = {
    "llama": Family(),
    "qwen2": Family({"biases": True}),
    "qwen3": Family({"query_key_norm": "head"}),
    "olmo2": Family({"query_key_norm": "all"}, norms="after"),
}
"""By ``model_type``; Qwen2.5 is a ``qwen2``."""


def family_config(values: Mapping[str, Any], *, origin: str) -> ModelConfig:
    """The model that another program's ``config.json`` describes, with its own vocabulary.

    Args:
        values: the whole file.
        origin: names it in errors.

    Raises:
        CheckpointError: an architecture, a key or a value that is not supported; it is named.
        UsageError: sizes that do not fit together.
    """
    model_type = values.get("model_type")
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        raise CheckpointError(
            f"{origin}: model_type is {model_type!r}; {', '.join(FAMILIES)} can be imported"
        )
    for key, wanted in _MEANS_NOTHING.items():
        require_value(values, key, wanted, origin=origin)
    kinds = values.get("layer_types") or []
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        require_value({"layer_types": kind}, "layer_types", "full_attention", origin=origin)
    fields = {ours: required(values, key, origin=origin) for ours, key in COMMON_FIELDS.items()}
    attention = {
        "kind": "causal",
        "kv_heads": values.get("num_key_value_heads") or fields["heads"],
        "head_width": values.get("head_dim"),
        **family.attention,
    }
    fields |= {
        "attention": attention,
        "norms": family.norms,
        "tied_embeddings": bool(values.get("tie_word_embeddings", False)),
        "sentinels": False,
        **_rotation(values, origin),
    }
    return validate_config(ModelConfig, fields, origin=origin)


def _rotation(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    # transformers 5 writes all of it under rope_parameters, everything before it in two keys.
    nested = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(nested, Mapping):
        raise CheckpointError(f"{origin}: its rotation is {nested!r}, expected keys and values")
    theta = nested.get("rope_theta", values.get("rope_theta"))
    if theta is None:
        raise CheckpointError(f"{origin}: key 'rope_theta' is missing")
    require_value(nested, "partial_rotary_factor", 1.0, origin=origin)
    kind = nested.get("rope_type", nested.get("type", "default"))
    match kind:
        case "default":
            scaling = None
        case "linear":
            scaling = {"kind": "linear", "factor": required(nested, "factor", origin=origin)}
        case "llama3":
            found = {
                ours: required(nested, key, origin=origin) for ours, key in _LLAMA3_KEYS.items()
            }
            scaling = {"kind": "llama3", **found}
        case _:
            raise CheckpointError(
                f"{origin}: rope_type is {kind!r}; default, linear and llama3 are supported"
            )
    return {"rope_theta": theta, "rope_scaling": scaling}
