"""The layouts there are: found by a model's architecture, or by what a ``config.json`` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxylm.checkpoints.layouts.causal import CausalLayout
from proxylm.checkpoints.layouts.contract import Facts, Layout, read_facts
from proxylm.checkpoints.layouts.evabyte import EvaByteLayout
from proxylm.checkpoints.layouts.families import FAMILIES
from proxylm.errors import CheckpointError, UsageError
from proxylm.models.config import CausalAttention, EvaAttention, ModelConfig

EVABYTE = EvaByteLayout()
CAUSAL = tuple(map(CausalLayout, FAMILIES.values()))
LAYOUTS: dict[str, Layout] = {layout.model_type: layout for layout in (EVABYTE, *CAUSAL)}


def layout_for(config: ModelConfig) -> Layout:
    """The layout that a model is exported in.

    Raises:
        UsageError: no family has its biases and norms.
    """
    return EVABYTE if isinstance(config.attention, EvaAttention) else causal_layout_for(config)


def causal_layout_for(config: ModelConfig) -> CausalLayout:
    """The layout of a model with causal attention.

    Raises:
        UsageError: no family has its biases and norms.
    """
    assert isinstance(config.attention, CausalAttention)
    for layout in CAUSAL:
        if layout.family.is_of(config):
            return layout
    raise UsageError(
        f"no family ({', '.join(FAMILIES)}) has attention.biases {config.attention.biases} with "
        f"attention.query_key_norm '{config.attention.query_key_norm}' and norms '{config.norms}'"
    )


def read_config(
    values: Mapping[str, Any], *, origin: str = "config.json"
) -> tuple[ModelConfig, Facts | None]:
    """The model that a parsed ``config.json`` describes, and what it says under ``proxylm``.

    ``origin`` names the file in errors.

    Raises:
        CheckpointError: another architecture, a key is missing, or a value that we cannot mean.
        UsageError: sizes that do not fit together.
    """
    model_type = values.get("model_type", EVABYTE.model_type)
    if not isinstance(model_type, str) or model_type not in LAYOUTS:
        raise CheckpointError(
            f"{origin}: model_type is {model_type!r}, only {', '.join(LAYOUTS)} are supported"
        )
    facts = read_facts(values, origin=origin)
    return LAYOUTS[model_type].read(values, facts, origin=origin), facts
