"""The rule for greedy bytes of two forms of the same computation."""

from __future__ import annotations

import numpy as np
import torch

from proxylm.generation.byte_model import ByteModel
from proxylm.generation.request import prompt_symbols
from proxylm.symbols import BYTE_COUNT, EOS, RAW_CLOSE, RAW_OFFSET

NEAR_TIE = 1e-4
_MAY_FOLLOW = [EOS, RAW_CLOSE, *range(RAW_OFFSET, RAW_OFFSET + BYTE_COUNT)]


def assert_same_greedy(model: ByteModel, prompt: bytes, one: bytes, other: bytes) -> None:
    """Equal, or first different where the two best logits are closer than 1e-4."""
    if one == other:
        return
    pairs = zip(one, other, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
    ids = prompt_symbols(prompt + one[:place], sentinels=True)[None]
    logits = model.logits(torch.from_numpy(ids))[0, -1, 0, _MAY_FOLLOW].numpy()
    second, best = np.sort(logits)[-2:]
    assert best - second < NEAR_TIE, f"after {prompt!r} and {place} bytes: {one!r}, {other!r}"
