"""The step that is measured: forward and backward of a model on one packed context."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from proxylm.models.config import ModelConfig
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET
from proxylm.training.device import Place

_DOCUMENT_STARTS = (0.21, 0.55, 0.77)

Step = Callable[[], object]


def model_step(config: ModelConfig, place: Place) -> Step:
    """Forward and backward of a new model over one context of four documents."""
    model = LanguageModel(config).to(place.device)
    ids = symbols(config.context).to(place.device)
    documents = torch.from_numpy(document_layout(config.context)).to(place.device)
    targets = ids.roll(-1, dims=1)[..., None]
    return forward_and_backward(model, lambda: model.loss(ids, targets, documents).loss, place)


def forward_and_backward(
    model: nn.Module, loss_of: Callable[[], torch.Tensor], place: Place
) -> Step:
    """The loss that ``loss_of`` computes with a model, and new gradients of it."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with place.precision():
            loss = loss_of()
        loss.backward()

    return step


def few_steps(config: ModelConfig, place: Place) -> None:
    """As many steps as memory needs to reach its peak."""
    step = model_step(config, place)
    step()
    step()


def document_layout(context: int) -> np.ndarray:
    """``segment_ids [1, N]`` of four documents of unequal length."""
    starts = [int(context * fraction) for fraction in _DOCUMENT_STARTS]
    return np.searchsorted(starts, np.arange(context), side="right")[None]


def symbols(context: int) -> torch.Tensor:
    """Random bytes as ids ``[1, N]``; the speed does not depend on them."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(RAW_OFFSET, COMPRESSED_OFFSET, (1, context), generator=generator)
