"""Small random models for the tests of inference and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from proxylm.checkpoints.checkpoint import (
    CHECKPOINTS_FOLDER,
    Origin,
    TrainingState,
    save_checkpoint,
)
from proxylm.models.config import CausalAttention, EvaAttention, ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import EOS, RAW_CLOSE, vocabulary_size

COMPRESSED_SYMBOLS = 256
SMALL = {"layers": 2, "width": 32, "ffn": 48, "heads": 2, "context": 64}
ATTENTIONS = {"eva": EvaAttention(window=16, chunk=4), "causal": CausalAttention(kv_heads=1)}


def small_model(*, seed: int = 0, sharpness: float = 60.0, **overrides: Any) -> LanguageModel:
    """Two layers, windows of 16; the output layer is scaled up so that choices are distinct."""
    values = {
        "vocabulary_size": vocabulary_size(COMPRESSED_SYMBOLS),
        "attention": ATTENTIONS["eva"],
        "prediction_heads": 2,
        **SMALL,
        **overrides,
    }
    model = LanguageModel(ModelConfig.model_validate(values), seed=seed).eval()
    model.lm_head.weight.data.mul_(sharpness)
    return model


def endless(model: LanguageModel) -> LanguageModel:
    """The same model, which never ends its text: its closing symbols' logits are 0.

    The largest of 256 random logits is not below that.
    """
    model.lm_head.weight.data[[RAW_CLOSE, EOS]] = 0
    return model


def save_small_run(
    run: Path,
    *,
    compressor_fingerprint: str | None = None,
    data_fingerprint: str = "d",
    **model: Any,
) -> None:
    """A run folder whose only checkpoint holds ``small_model(**model)``."""
    save_run(
        run,
        small_model(**model),
        compressor_fingerprint=compressor_fingerprint,
        data_fingerprint=data_fingerprint,
    )


def save_run(
    run: Path,
    made: LanguageModel,
    *,
    compressor_fingerprint: str | None = None,
    data_fingerprint: str = "d",
) -> None:
    """A run folder whose only checkpoint holds this model."""
    save_checkpoint(
        run / CHECKPOINTS_FOLDER,
        model_tensors=made.state_dict(),
        optimizer_tensors={"moment": torch.zeros(1)},
        model_config=made.config,
        state=TrainingState(step=10),
        origin=Origin(
            configuration_hash="c",
            data_fingerprint=data_fingerprint,
            compressor_fingerprint=compressor_fingerprint,
        ),
    )
