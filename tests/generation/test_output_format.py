"""Logits of head 0 for the ids that may follow, beside the model's logits of everything."""

from __future__ import annotations

import torch

from proxylm.generation.output_format import OutputFormat, head_0_logits
from proxylm.symbols import BYTE_COUNT, Format
from small_models import small_model


def test_head_0_logits_are_the_first_of_the_models() -> None:
    model = small_model(seed=1)
    ids = torch.arange(80, 100)[None]
    end = OutputFormat(Format.RAW, True, BYTE_COUNT).end
    with torch.inference_mode():
        expected = model.logits(ids)[0, :, 0, :end].numpy()
        found = head_0_logits(model, model.hidden(ids)[0], end=end)
    assert found.shape == (20, end)
    assert abs(found - expected).max() < 1e-5
