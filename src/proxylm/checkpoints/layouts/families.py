"""Families of causal models, as other programs describe them in ``config.json``.

A family is Llama's block with a few additions (``CausalAttention``, ``ModelConfig.norms``). The
names of parameters are the same in all of them, and are ours. Whatever else would change what a
model computes is refused by its key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from proxylm.checkpoints.layouts.contract import (
    COMMON_FIELDS,
    Facts,
    require_value,
    required,
)
from proxylm.config import validate_config
from proxylm.errors import CheckpointError
from proxylm.models.config import (
    CausalAttention,
    LinearRope,
    Llama3Rope,
    ModelConfig,
    RopeScaling,
)

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
    """What a family has beside Llama.

    Attributes:
        model_type: what ``config.json`` calls it.
        class_name: the transformers class that runs it.
        biases, query_key_norm: as in ``CausalAttention``.
        norms: as in ``ModelConfig``.
    """

    model_type: str
    class_name: str
    biases: bool = False
    query_key_norm: Literal["none", "head", "all"] = "none"
    norms: Literal["before", "after"] = "before"

    def is_of(self, config: ModelConfig) -> bool:
        """Whether a causal model has this family's block."""
        attention = config.attention
        return (
            isinstance(attention, CausalAttention)
            and attention.biases == self.biases
            and attention.query_key_norm == self.query_key_norm
            and config.norms == self.norms
        )


FAMILIES = {
    family.model_type: family
    for family in (
        Family("llama", "LlamaForCausalLM"),
        Family("qwen2", "Qwen2ForCausalLM", biases=True),
        Family("qwen3", "Qwen3ForCausalLM", query_key_norm="head"),
        Family("olmo2", "Olmo2ForCausalLM", query_key_norm="all", norms="after"),
    )
}
"""By ``model_type``; Qwen2.5 is a ``qwen2``."""


def family_config(
    values: Mapping[str, Any], *, origin: str, facts: Facts | None = None
) -> ModelConfig:
    """The model that a ``config.json`` of a family describes.

    Args:
        values: the whole file.
        origin: names it in errors.
        facts: what the file says of our symbols; None where ids are another program's tokens.

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
    fields |= {
        "attention": {
            "kind": "causal",
            "kv_heads": values.get("num_key_value_heads") or fields["heads"],
            "head_width": values.get("head_dim"),
            "biases": family.biases,
            "query_key_norm": family.query_key_norm,
        },
        "norms": family.norms,
        "tied_embeddings": bool(values.get("tie_word_embeddings", False)),
        "sentinels": False,
        **_rotation(values, origin),
    }
    if facts is not None:
        fields |= {"softmax": facts.softmax, "sentinels": facts.sentinels}
    return _without_stated_width(validate_config(ModelConfig, fields, origin=origin))


def _without_stated_width(config: ModelConfig) -> ModelConfig:
    # Some programs state the width of a head even where it follows from the model's.
    if config.query_width != config.width:
        return config
    attention = config.attention.model_copy(update={"head_width": None})
    return config.model_copy(update={"attention": attention})


def family_values(config: ModelConfig) -> dict[str, Any]:
    """What a ``config.json`` says of a family's model beside ``COMMON_FIELDS``.

    ``family_config`` gives the model back.
    """
    return {
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": config.tied_embeddings,
        "rope_theta": config.rope_theta,
        **_stretched(config.rope_scaling),
    }


def _stretched(scaling: RopeScaling | None) -> dict[str, Any]:
    match scaling:
        case None:
            return {}
        case LinearRope(factor=factor):
            return {"rope_scaling": {"rope_type": "linear", "factor": factor}}
        case Llama3Rope():
            found = {theirs: getattr(scaling, ours) for ours, theirs in _LLAMA3_KEYS.items()}
            return {"rope_scaling": {"rope_type": "llama3", **found}}


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
