"""A byte interface for a model of tokens: rows of the embedding and the output layer for it.

The model's own vocabulary moves behind our special symbols and the 256 raw bytes: token ``t``
becomes symbol ``320 + t``, with the same row. Its tokens at a text's start and end lend their rows
to ``<bos>`` and ``<eos>``. What rows the bytes begin with is a choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.models.language_model import LanguageModel
from proxylm.symbols import BOS, BYTE_COUNT, COMPRESSED_OFFSET, EOS, PAD, RAW_OFFSET

EMBEDDING, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"


class ByteRows(StrEnum):
    """What the rows of raw bytes begin as.

    ``RANDOM``: drawn as the model's own rows are spread. ``SINGLE``: the model's token of that
    one byte. ``FIRST``: the mean of the tokens that begin with the byte. ``FIT``: the rows whose
    mean over a token's bytes is nearest to the token's row, by least squares over all tokens.
    Where a byte has no such token, the mean of all.
    """

    RANDOM = "random"
    SINGLE = "single"
    FIRST = "first"
    FIT = "fit"


@torch.no_grad()
def with_bytes(
    model: LanguageModel,
    tokenizer: TokenizerCompressor,
    *,
    begins: int | None,
    ends: int | None,
    rows: ByteRows = ByteRows.SINGLE,
    seed: int = 0,
) -> LanguageModel:
    """A model of special symbols, raw bytes and the same tokens; token logits stay bit for bit.

    Args:
        model: of tokens alone; its vocabulary may be larger than the tokenizer's.
        tokenizer: its tokens by id.
        begins, ends: ids of the tokens that begin and end a text; None where it has none.
        rows: see ``ByteRows``.
        seed: of random rows.
    """
    size = COMPRESSED_OFFSET + model.config.vocabulary_size
    config = model.config.model_copy(update={"vocabulary_size": size})
    with torch.device("meta"):
        grown = LanguageModel(config)
    grown.to_empty(device="cpu")
    stated, tensors = model.state_dict(), grown.state_dict()
    members = _members(tokenizer.token_bytes, rows)
    for name, tensor in tensors.items():
        if name not in (EMBEDDING, OUTPUT):
            tensor.copy_(stated[name])
            continue
        tokens = stated[name]
        tensor[COMPRESSED_OFFSET:] = tokens
        tensor[:COMPRESSED_OFFSET] = tokens.mean(dim=0)
        for symbol, token in ((BOS, begins), (EOS, ends), (PAD, ends)):
            if token is not None:
                tensor[symbol] = tokens[token]
        raw = tensor[RAW_OFFSET:COMPRESSED_OFFSET]
        if rows is ByteRows.RANDOM:
            generator = torch.Generator().manual_seed(seed)
            raw.copy_(torch.randn(raw.shape, generator=generator) * tokens.std(dim=0))
        for byte, ids in enumerate(members):
            if ids:
                raw[byte] = tokens[ids].mean(dim=0)
        if rows is ByteRows.FIT:
            _fit(raw, tokens, tokenizer.token_bytes)
    return grown


def _fit(raw: Tensor, tokens: Tensor, spelled: Sequence[bytes]) -> None:
    """Write the rows that ``ByteRows.FIT`` is about; bytes of no token keep theirs."""
    shares = np.zeros((len(spelled), BYTE_COUNT))
    for token, spelling in enumerate(spelled):
        np.add.at(shares[token], list(spelling), 1 / max(1, len(spelling)))
    known = shares.any(axis=0)
    centre = tokens.mean(dim=0).double()
    wanted = (tokens[: len(spelled)].double() - centre).numpy()[shares.any(axis=1)]
    fitted = np.linalg.lstsq(shares[shares.any(axis=1)][:, known], wanted, rcond=None)[0]
    raw[torch.from_numpy(known)] = (torch.from_numpy(fitted) + centre).to(raw.dtype)


def _members(spelled: Sequence[bytes], rows: ByteRows) -> list[list[int]]:
    """For each byte, the tokens whose mean its row is."""
    members: list[list[int]] = [[] for _ in range(BYTE_COUNT)]
    if rows in (ByteRows.RANDOM, ByteRows.FIT):
        return members
    for token, spelling in enumerate(spelled):
        if spelling and (rows is ByteRows.FIRST or len(spelling) == 1):
            members[spelling[0]].append(token)
    return members
