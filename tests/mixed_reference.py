"""Mixed reading laid by hand, and the model asked in one whole forward: what the fast ways give."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from chain_compressor import chain_compressor
from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.compressors.tokenizer.training import BpeTraining
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import COMPRESSED_OFFSET, RAW_OFFSET, vocabulary_size
from small_models import ATTENTIONS, small_model

TEXT = (
    "def area(radius):\n    return 3.14159 * radius ** 2\n\n\n"
    "class Größe:\n    def __init__(self, name):\n        self.name = name  # it's 漢字\n"
) * 2
BEGIN, OPEN_COMPRESSED, CLOSE_COMPRESSED, OPEN_RAW = 1, 14, 15, 12


@cache
def compressor_of_kind(kind: str) -> Compressor:
    """``bpe``, ``units`` (of 4 bits) or ``lines`` (neural, lossy)."""
    if kind == "bpe":
        return TokenizerCompressor(BpeTraining(vocabulary_size=330).train([TEXT] * 3))
    return load_compressor("units:bits=4") if kind == "units" else chain_compressor(kind)


def model_over(
    compressor: Compressor, attention: str = "eva", *, sentinels: bool = True, context: int = 1024
) -> LanguageModel:
    model = small_model(
        seed=7,
        attention=ATTENTIONS[attention],
        sentinels=sentinels,
        context=context,
        vocabulary_size=vocabulary_size(compressor.symbol_count),
    )
    for name, weight in model.named_parameters():
        if "v_proj" in name or "o_proj" in name:  # what stands far before shall matter
            weight.data.mul_(10)
    return model


def laid_by_hand(compressor: Compressor, prompt: bytes, *, sentinels: bool) -> list[int]:
    """All ids of a prompt."""
    [view] = compressor.views([prompt])
    places = compressor.settled(prompt, view)
    byte, symbol, _ = places[-1].tolist() if len(places) else (0, 0, 0)
    symbols = [int(one) + COMPRESSED_OFFSET for one in view.symbols[:symbol]]
    raw = [one + RAW_OFFSET for one in prompt[byte:]]
    if not sentinels:
        return [BEGIN, *symbols, *raw]
    if not symbols:
        return [BEGIN, OPEN_RAW, *raw]
    return [BEGIN, OPEN_COMPRESSED, *symbols, CLOSE_COMPRESSED, OPEN_RAW, *raw]


@torch.no_grad()
def bits_after(
    model: LanguageModel, ids: Sequence[int], continuation: bytes, *, of_bytes: bool = False
) -> np.ndarray:
    """Bits of each byte of a continuation, by one whole forward over all of it.

    ``of_bytes``: among bytes alone, as a model without ends writes them.
    """
    whole = torch.tensor([[*ids, *(one + RAW_OFFSET for one in continuation)]])
    logits = model.logits(whole)[0, :, 0].double()
    if model.config.normalizes_by_format:
        logits = logits[:, :COMPRESSED_OFFSET]
    if of_bytes:
        logits[:, :RAW_OFFSET] = logits[:, COMPRESSED_OFFSET:] = -torch.inf
    nats = -logits.log_softmax(dim=-1)
    places = range(len(ids) - 1, whole.shape[1] - 1)
    found = [nats[place, whole[0, place + 1]].item() for place in places]
    return np.array(found) / np.log(2)


@torch.no_grad()
def greedy_bytes(model: LanguageModel, ids: Sequence[int], count: int) -> bytes:
    """The most probable byte, again and again, each by a whole forward."""
    known, written = list(ids), bytearray()
    for _ in range(count):
        logits = model.logits(torch.tensor([known]))[0, -1, 0, RAW_OFFSET:COMPRESSED_OFFSET]
        written.append(int(logits.argmax()))
        known.append(written[-1] + RAW_OFFSET)
    return bytes(written)
