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
) -> LanguageModel:
    """A model of special symbols, raw bytes and the same tokens; token logits stay bit for bit.

    Args:
        model: of tokens alone; its vocabulary may be larger than the tokenizer's.
        tokenizer: its tokens by id.
        begins, ends: ids of the tokens that begin and end a text; None where it has none.
        rows: see ``ByteRows``.
    """
    size = COMPRESSED_OFFSET + model.config.vocabulary_size
    config = model.config.model_copy(update={"vocabulary_size": size})
    with torch.device("meta"):
        grown = LanguageModel(config)
    grown.allocate("cpu")
    stated = model.state_dict()
    for name, tensor in grown.state_dict().items():
        tokens = stated[name]
        if tensor.shape == tokens.shape:  # neither the embedding nor the output layer
            tensor.copy_(tokens)
            continue
        tensor[COMPRESSED_OFFSET:] = tokens
        tensor[:COMPRESSED_OFFSET] = tokens.mean(dim=0)
        for symbol, token in ((BOS, begins), (EOS, ends), (PAD, ends)):
            if token is not None:
                tensor[symbol] = tokens[token]
        _begin(tensor[RAW_OFFSET:COMPRESSED_OFFSET], tokens, tokenizer.token_bytes, rows)
    return grown


def _begin(raw: Tensor, tokens: Tensor, spelled: Sequence[bytes], rows: ByteRows) -> None:
    """Write the rows of raw bytes; those that nothing is known of keep what they have."""
    if rows is ByteRows.RANDOM:
        drawn = torch.randn(raw.shape, generator=torch.Generator().manual_seed(0))
        raw.copy_(drawn * tokens.std(dim=0))
    elif rows is ByteRows.FIT:
        _fit(raw, tokens, spelled)
    else:
        members: list[list[int]] = [[] for _ in range(BYTE_COUNT)]
        for token, spelling in enumerate(spelled):
            if spelling and (rows is ByteRows.FIRST or len(spelling) == 1):
                members[spelling[0]].append(token)
        for byte, ids in enumerate(members):
            if ids:
                raw[byte] = tokens[ids].mean(dim=0)


def _fit(raw: Tensor, tokens: Tensor, spelled: Sequence[bytes]) -> None:
    """Write the rows that ``ByteRows.FIT`` is about; bytes of no token keep theirs."""
    shares = np.zeros((len(spelled), BYTE_COUNT))
    for token, spelling in enumerate(spelled):
        np.add.at(shares[token], list(spelling), 1 / max(1, len(spelling)))
    spelling_tokens, known = shares.any(axis=1), shares.any(axis=0)
    centre = tokens.mean(dim=0).double()
    wanted = (tokens[: len(spelled)].double() - centre).numpy()[spelling_tokens]
    fitted = np.linalg.lstsq(shares[spelling_tokens][:, known], wanted, rcond=None)[0]
    raw[torch.from_numpy(known)] = (torch.from_numpy(fitted) + centre).to(raw.dtype)
