"""Operations of a training against torch's own counter, on fake tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from memory_trace import traceable
from proxylm.models.attention import DenseForm
from proxylm.models.config import ModelConfig
from proxylm.models.flops import attention_pairs, training_flops
from proxylm.models.kernels import dispatch
from proxylm.models.language_model import LanguageModel
from proxylm.models.masks import visible_chunk_count
from proxylm.models.presets import PRESETS, preset


def product_added_in_place(
    total: tuple[int, int], left: tuple[int, int], right: tuple[int, int], **_: Any
) -> int:
    """Operations of ``addmm_``, of which the loss is made, and which the counter does not know."""
    return 2 * left[0] * left[1] * right[1]


def _counter() -> FlopCounterMode:
    mapping = {torch.ops.aten.addmm_: product_added_in_place}
    return FlopCounterMode(display=False, custom_mapping=mapping)


def counted(config: ModelConfig) -> int:
    """Operations of one context, forward and backward, with a product for every pair."""
    with torch.device("meta"):
        model = LanguageModel(config)
    ids = torch.zeros((1, config.context), dtype=torch.int64, device="meta")
    targets = ids[..., None].expand(-1, -1, config.target_heads)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        ids, targets = (torch.empty_like(x, device="cpu") for x in (ids, targets))
        with _counter() as counter, torch.autocast("cpu", torch.bfloat16):
            model.loss(ids, targets, normalizer=1).loss.backward()
    return counter.get_total_flops()


QUICK = ("evabyte-7b", "opencoder-8b", "laptop")
REST = [pytest.param(name, marks=pytest.mark.long) for name in PRESETS if name not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *REST])
def test_within_two_percent_of_the_counter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = preset(name, layers=2)
    with traceable(), monkeypatch.context() as patched:
        patched.setattr(dispatch, "DenseForm", DenseForm)  # every pair is a product there
        found = counted(config)
    one_document = np.zeros((1, config.context), np.int64)
    columns = config.context + visible_chunk_count(config.context, config.attention)
    masked = config.context * columns - attention_pairs(config, one_document)
    expected = (
        training_flops(config, one_document) + 12 * config.layers * config.query_width * masked
    )
    assert expected == pytest.approx(found, rel=0.02)
