"""``proxylm byteify``: a model of tokens trained on, on pieces of its tokens and of raw bytes.

It is an ordinary run that starts from the model's weights (``init_from``). The recipe is the
shipped part ``parts/byteify``; the model's sizes and the view of its tokens are looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxylm.checkpoints.reading import LoadedModel, load_module
from proxylm.checkpoints.run_data import COMPRESSOR_FOLDER
from proxylm.config import validate_config
from proxylm.config_files import laid_over, read_config_file
from proxylm.data.store.store import ViewStore
from proxylm.errors import UsageError
from proxylm.models.config import ModelConfig
from proxylm.models.kernels.training.attention import KEPT_BYTES_PER_LAYER
from proxylm.overrides import apply_override
from proxylm.training.config import DERIVED_KEYS, TrainingConfig
from proxylm.training.device import FLOAT32_BYTES

RECIPE = Path("parts/byteify")
"""The shipped values that a run has where nothing else is asked for."""


@dataclass(frozen=True, kw_only=True)
class ByteifyRun:
    """What will be trained.

    Attributes:
        config: the run.
        sizes: of the model, in this run.
    """

    config: TrainingConfig
    sizes: ModelConfig

    @property
    def memory_bytes(self) -> int:
        """Weights, gradients, AdamW's moments, and what a micro batch keeps for backward."""
        sizes, symbols = self.sizes, self.config.micro_batch_symbols
        # Two inputs of halves, queries, keys and values, what attention gives, gate and up.
        rows = 2 * sizes.width + 2 * sizes.head_width * (sizes.heads + sizes.kv_heads)
        kept = symbols * (rows + 2 * sizes.ffn)
        # A document that fills its context: half of all pairs of positions have a weight.
        weights = min(
            FLOAT32_BYTES * symbols * sizes.heads * sizes.context // 2, KEPT_BYTES_PER_LAYER
        )
        return 4 * FLOAT32_BYTES * sizes.parameter_count + sizes.layers * (
            FLOAT32_BYTES * kept + weights
        )


def byteify_run(model: Path, stores: Sequence[Path], overrides: Sequence[str] = ()) -> ByteifyRun:
    """The run that makes a byte model of a model of tokens.

    Args:
        model: what ``proxylm import`` wrote, or any other model of ours with a compressor.
        stores: view stores with a view by the model's own compressor.
        overrides: ``key.sub=value``, over the recipe.

    Raises:
        UsageError: the model knows bytes alone, a store has no view of its tokens, or a value is
            wrong.
        ProxylmError: the model or a store cannot be read.
    """
    loaded = load_module(model)
    sizes = loaded.module.config
    sizes.require_compressed_symbols()
    found = {
        "model": {
            "kind": "explicit",
            "sizes": sizes.model_dump(mode="json", exclude=set(DERIVED_KEYS)),
        },
        "data": [{"store": str(store), "view": _view_of(store, model, loaded)} for store in stores],
        "init_from": str(model),
    }
    recipe = read_config_file(RECIPE)
    values: dict[str, Any] = laid_over(found, recipe.values)
    for override in overrides:
        apply_override(values, override)
    config = validate_config(TrainingConfig, values, origin=f"byteify (with {recipe.origin})")
    return ByteifyRun(config=config, sizes=config.model_for(sizes.compressed_symbol_count))


def _view_of(store: Path, model: Path, loaded: LoadedModel) -> str:
    """The name of the view that the model's compressor made."""
    views = ViewStore.open(store).views
    for name, view in views.items():
        if view.compressor_fingerprint == loaded.compressor_fingerprint:
            return name
    raise UsageError(
        f"{store}: none of its views ({', '.join(views) or 'there are none'}) is of the model's "
        f"tokens; add one: proxylm prepare --compressor tokens={model / COMPRESSOR_FOLDER} "
        f"--out {store}"
    )
