"""``proxylm train-heads``: heads that draft several bytes ahead, for a model that has none.

It is an ordinary run that starts from the model's weights (``init_from``), with raw heads more, and
trains these alone: the body is read, never changed, and nothing is kept of it for backward. The
recipe is the shipped part ``parts/heads``; the model's sizes and data are looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxylm.checkpoints.reading import load_module
from proxylm.checkpoints.run_data import run_config_of
from proxylm.config import validate_config
from proxylm.config_files import laid_over, read_config_file
from proxylm.data.mixture import Mixture, PieceGranularity
from proxylm.errors import UsageError
from proxylm.models.config import ModelConfig
from proxylm.overrides import apply_override
from proxylm.training.config import DERIVED_KEYS, TrainingConfig

RECIPE = Path("parts/heads")
"""The shipped values that a run has where nothing else is asked for."""

HEADS = 7
"""Further heads: eight bytes a pass at the most, as of the published EvaByte."""


def train_heads_run(
    model: Path, stores: Sequence[Path] = (), overrides: Sequence[str] = ()
) -> TrainingConfig:
    """The run that adds heads to a model.

    Args:
        model: a run, a checkpoint or any other model of ours.
        stores: view stores whose raw bytes are read; none: those that the run was trained on.
        overrides: ``key.sub=value``, over the recipe.

    Raises:
        UsageError: the model has heads, knows no bytes, or nothing says what to read; or a value
            is wrong.
        ProxylmError: the model cannot be read.
    """
    sizes, trained = load_module(model).module.config, run_config_of(model) or {}
    sizes.require_raw_bytes()
    if sizes.target_heads > 1:
        raise UsageError(f"{model}: has {sizes.target_heads - 1} further heads already")
    data = [{"store": str(store)} for store in stores] or trained.get("data")
    if not data:
        raise UsageError(f"{model}: nothing says what it was trained on; give --data STORE")
    found: dict[str, Any] = {
        "model": {"kind": "explicit", "sizes": _with_heads(sizes)},
        "mixing": _raw_bytes_of(trained.get("mixing"), sentinels=sizes.sentinels),
        "data": data,
        "init_from": str(model),
    }
    recipe = read_config_file(RECIPE)
    values: dict[str, Any] = laid_over(found, recipe.values)
    # A step has whole contexts, however long the model's are.
    values["symbols_per_step"] = -(-values["symbols_per_step"] // sizes.context) * sizes.context
    for override in overrides:
        apply_override(values, override)
    return validate_config(TrainingConfig, values, origin=f"train-heads (with {recipe.origin})")


def _with_heads(sizes: ModelConfig) -> dict[str, Any]:
    own = sizes.model_dump(mode="json", exclude=set(DERIVED_KEYS))
    return own | {"raw_prediction_heads": HEADS}


def _raw_bytes_of(mixing: dict[str, Any] | None, *, sentinels: bool) -> dict[str, Any]:
    """Raw bytes alone, in pieces where the model knows pieces: it goes on being read so."""
    plain = Mixture.bytes_only(sentinels=sentinels).model_dump(mode="json")
    granularity = (mixing or {}).get("granularity", {})
    if granularity.get("kind") == PieceGranularity().kind:
        return plain | {"granularity": granularity}
    return plain
