"""The model a run starts with: fresh weights, or those of another run (``init_from``).

The vocabulary is extended where the new data needs it; every old row stays. A larger vocabulary
than the data needs is kept too, so that a mixture can be trained further on bytes alone.
"""

from __future__ import annotations

import logging
from pathlib import Path

from proxylm.errors import UsageError
from proxylm.inference.loading import load
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.training.checkpoint import compressor_fingerprint_of
from proxylm.training.config import TrainingConfig
from proxylm.training.run_folder import differences

logger = logging.getLogger(__name__)

FREE_TO_CHANGE = {"vocabulary_size", "context", "softmax", "sentinels"}
"""What may differ from the model of ``init_from``: its weights mean the same under all of them."""


def starting_model(
    config: TrainingConfig, compressed_symbol_count: int, compressor_fingerprint: str | None
) -> LanguageModel:
    """The model before the first update, on the CPU, ready to train.

    Raises:
        UsageError: the weights of ``init_from`` have other sizes; both are shown.
        CheckpointError: ``init_from`` holds nothing that can be loaded.
    """
    wanted = config.model_for(compressed_symbol_count)
    if config.init_from is None:
        return LanguageModel(wanted, seed=config.seed)
    origin = Path(config.init_from)
    model = load(origin).module
    _require_same_sizes(origin, model, wanted)
    _warn_about_other_compressor(origin, compressor_fingerprint)
    model.extend_vocabulary(
        max(wanted.vocabulary_size, model.config.vocabulary_size), seed=config.seed
    )
    model.config = wanted.model_copy(update={"vocabulary_size": model.config.vocabulary_size})
    return model.requires_grad_(True).train()


def _require_same_sizes(origin: Path, model: LanguageModel, wanted: ModelConfig) -> None:
    old = model.config.model_dump(mode="json", exclude=FREE_TO_CHANGE)
    new = wanted.model_dump(mode="json", exclude=FREE_TO_CHANGE)
    changed = differences(old, new)
    if changed:
        raise UsageError(
            f"init_from: the model in {origin} is not of the configured size "
            f"({'; '.join(changed)}, there → here); set model to its sizes"
        )


def _warn_about_other_compressor(origin: Path, here: str | None) -> None:
    there = compressor_fingerprint_of(origin)
    if there and here and there != here:
        logger.warning(
            "init_from: %s was trained with compressor %s, the data has %s: rows of compressed "
            "symbols start with another compressor's meaning",
            origin,
            there,
            here,
        )
