"""The model a run starts with: fresh weights, or those of another run (``init_from``).

The vocabulary is extended where the new data needs it; every old row stays. A larger vocabulary
than the data needs is kept too, so that a mixture can be trained further on bytes alone. A byte
model of several heads, as published EvaByte is, can become a mixture whose further heads predict
bytes alone: over 320 symbols both kinds of head have the same rows.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import Tensor

from proxylm.checkpoints.reading import load_module
from proxylm.errors import UsageError
from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import COMPRESSED_OFFSET
from proxylm.training.config import TrainingConfig
from proxylm.training.run_folder import differences

logger = logging.getLogger(__name__)

LM_HEAD, RAW_HEADS = "lm_head.weight", "raw_multibyte_lm_head.weight"

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
    loaded = load_module(origin)
    model = _with_raw_heads(loaded.module, wanted)
    if config.trains_heads_alone:
        model = _with_new_heads(model, wanted.raw_prediction_heads)
    _require_same_sizes(origin, model, wanted)
    there = loaded.compressor_fingerprint
    _warn_about_other_compressor(origin, there, compressor_fingerprint)
    model.extend_vocabulary(
        max(wanted.vocabulary_size, model.config.vocabulary_size), seed=config.seed
    )
    model.config = wanted.model_copy(update={"vocabulary_size": model.config.vocabulary_size})
    return trainable(model, config)


def trainable(model: LanguageModel, config: TrainingConfig) -> LanguageModel:
    """The model, ready to train as much of it as the run does."""
    model.requires_grad_(not config.trains_heads_alone)
    if config.trains_heads_alone:
        model.raw_multibyte_lm_head.requires_grad_()
    return model.train()


def _with_raw_heads(model: LanguageModel, wanted: ModelConfig) -> LanguageModel:
    """The same weights with the last of the shared heads as raw heads, where ``wanted`` has such.

    Only over specials and raw bytes alone; any other model stays as it is.
    """
    old = model.config
    heads = {name: getattr(wanted, name) for name in ("prediction_heads", "raw_prediction_heads")}
    same_heads = old.target_heads == wanted.target_heads
    can_move = old.vocabulary_size == COMPRESSED_OFFSET and not old.raw_prediction_heads
    if not (can_move and same_heads and wanted.raw_prediction_heads):
        return model
    shared, raw = model.lm_head.weight.detach().split(
        [count * COMPRESSED_OFFSET for count in heads.values()]
    )
    return _with_tensors(model, heads, {LM_HEAD: shared.clone(), RAW_HEADS: raw.clone()})


def _with_new_heads(model: LanguageModel, count: int) -> LanguageModel:
    """The same weights and ``count`` raw heads, unless it has some.

    They begin as head 0: what comes further on is more like what comes next than like anything
    drawn at random.
    """
    if model.config.raw_prediction_heads:
        return model
    bytes_of_head_0 = model.lm_head.weight.detach()[:COMPRESSED_OFFSET]
    heads = {"raw_prediction_heads": count}
    return _with_tensors(model, heads, {RAW_HEADS: bytes_of_head_0.repeat(count, 1)})


def _with_tensors(
    model: LanguageModel, sizes: dict[str, int], tensors: dict[str, Tensor]
) -> LanguageModel:
    """A model of other sizes with these tensors, and all others of ``model``."""
    with torch.device("meta"):
        changed = LanguageModel(model.config.model_copy(update=sizes))
    changed.load_state_dict(model.state_dict() | tensors, assign=True)
    return changed


def _require_same_sizes(origin: Path, model: LanguageModel, wanted: ModelConfig) -> None:
    old = model.config.model_dump(mode="json", exclude=FREE_TO_CHANGE)
    new = wanted.model_dump(mode="json", exclude=FREE_TO_CHANGE)
    changed = differences(old, new)
    if changed:
        raise UsageError(
            f"init_from: the model in {origin} is not of the configured size "
            f"({'; '.join(changed)}, there → here); set model to its sizes"
        )


def _warn_about_other_compressor(origin: Path, there: str | None, here: str | None) -> None:
    if there and here and there != here:
        logger.warning(
            "init_from: %s was trained with compressor %s, the data has %s: rows of compressed "
            "symbols start with another compressor's meaning",
            origin,
            there,
            here,
        )
