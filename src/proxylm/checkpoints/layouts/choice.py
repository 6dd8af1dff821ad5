"""The layouts there are: found by a model's architecture, or by what a ``config.json`` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxylm.checkpoints.layouts.contract import Facts, Layout, read_facts
from proxylm.checkpoints.layouts.evabyte import EvaByteLayout
from proxylm.checkpoints.layouts.llama import LlamaLayout
from proxylm.errors import CheckpointError
from proxylm.models.config import EvaAttention, ModelConfig

EVABYTE, LLAMA = EvaByteLayout(), LlamaLayout()
LAYOUTS: dict[str, Layout] = {layout.model_type: layout for layout in (EVABYTE, LLAMA)}


def layout_for(config: ModelConfig) -> Layout:
    """The layout that a model is exported in."""
    return EVABYTE if isinstance(config.attention, EvaAttention) else LLAMA


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
