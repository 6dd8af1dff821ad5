"""Reading the ``config.json`` of published EvaByte checkpoints as a ``ModelConfig``.

Only what changes the numbers is read. Published checkpoints of this architecture carry names that
ours shares (EVA, "Block and heads"), so their tensors load without a mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxylm.config import validate_config
from proxylm.errors import CheckpointError
from proxylm.models.config import ModelConfig

_FIELDS = {
    "vocabulary_size": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "ffn": "intermediate_size",
    "heads": "num_attention_heads",
    "context": "max_position_embeddings",
    "rope_theta": "rope_theta",
    "norm_epsilon": "rms_norm_eps",
    "prediction_heads": "num_pred_heads",
}
_REQUIRED_VALUES = {
    "model_type": "evabyte",
    "norm_add_unit_offset": True,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}


def config_from_published(values: Mapping[str, Any], *, origin: str = "config.json") -> ModelConfig:
    """The model that a published EvaByte ``config.json`` describes.

    Args:
        values: the parsed file.
        origin: named in errors.

    Raises:
        CheckpointError: another architecture, or a key is missing.
        UsageError: sizes that do not fit together.
    """
    for key, wanted in _REQUIRED_VALUES.items():
        found = values.get(key, wanted)
        if found != wanted:
            raise CheckpointError(f"{origin}: {key} is {found!r}, only {wanted!r} is supported")
    missing = [key for key in (*_FIELDS.values(), "window_size", "chunk_size") if key not in values]
    if missing:
        raise CheckpointError(f"{origin}: key '{missing[0]}' is missing")
    fields: dict[str, Any] = {ours: values[theirs] for ours, theirs in _FIELDS.items()}
    fields["attention"] = {
        "kind": "eva",
        "window": values["window_size"],
        "chunk": values["chunk_size"],
    }
    return validate_config(ModelConfig, fields, origin=origin)
