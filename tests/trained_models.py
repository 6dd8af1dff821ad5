"""Tiny models that have learned a few words, so that what their heads draft is often right."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from proxylm.generation.request import prompt_symbols
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import EOS, IGNORED_TARGET, RAW_CLOSE, vocabulary_size
from small_models import ATTENTIONS, small_model

TEXT_BYTES = 4_000
WORDS = ["area", "of", "radius", "return", "self.width", "import", "for", "in", "(x)", "\n"]
CONTEXT = 64
HEADS = {"one": (1, 0), "shared": (6, 0), "raw": (1, 5), "both": (3, 3)}
"""Prediction heads, shared and raw."""


def source_text() -> bytes:
    """Words in any order: what comes next is clear inside a word and open after it."""
    words = np.random.default_rng(0).choice(WORDS, size=TEXT_BYTES)
    return " ".join(words).encode()[:TEXT_BYTES]


def _contexts(count: int, seed: int) -> NDArray[np.int64]:
    """Stretches of the text as documents of their own, every fourth of them ending."""
    text, generator = source_text(), np.random.default_rng(seed)
    rows = []
    for index in range(count):
        start = int(generator.integers(0, len(text) - CONTEXT))
        symbols = prompt_symbols(text[start : start + CONTEXT], sentinels=True)[:CONTEXT]
        if index % 4 == 0:
            end = int(generator.integers(8, CONTEXT - 1))
            symbols[end : end + 2] = RAW_CLOSE, EOS
            symbols[end + 2 :] = EOS
        rows.append(symbols)
    return np.stack(rows)


@cache
def trained_model(attention: str, heads: str, *, steps: int = 80) -> LanguageModel:
    """A model of the kind of attention and heads; the same for the same arguments."""
    shared, raw = HEADS[heads]
    model = small_model(
        sharpness=1.0,
        attention=ATTENTIONS[attention],
        prediction_heads=shared,
        raw_prediction_heads=raw,
        vocabulary_size=vocabulary_size(0),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * min(1.0, (step + 1) / 20) * (1 - 0.95 * step / steps)
        ids = torch.from_numpy(_contexts(8, seed=step))
        targets = torch.full((*ids.shape, shared + raw), IGNORED_TARGET)
        for head in range(shared + raw):
            targets[:, : -1 - head, head] = ids[:, 1 + head :]
        optimizer.zero_grad()
        model.loss(ids, targets).loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)
