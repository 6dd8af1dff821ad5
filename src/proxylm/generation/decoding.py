"""Prompts in, bytes out, one or many together, as they become certain or all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.decoding_row import Finish, Piece
from proxylm.generation.proposals import ONE_BYTE, Proposals
from proxylm.generation.request import DecodingRequest
from proxylm.models.language_model import LanguageModel

ROWS_TOGETHER = 32
"""Most prompts that are decoded at once; results do not depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """All new bytes of one prompt, and why they end."""

    data: bytes
    finish: Finish


def complete(
    model: LanguageModel, requests: Sequence[DecodingRequest], *, proposals: Proposals = ONE_BYTE
) -> list[Completion]:
    """Decode the requests together; the result for each is what it is alone.

    Raises:
        UsageError: the model's vocabulary has no bytes.
    """
    collected = [bytearray() for _ in requests]
    ended: dict[int, Completion] = {}
    for piece in decode(model, requests, proposals=proposals):
        collected[piece.handle] += piece.data
        if piece.finish is not None:
            data = bytes(collected[piece.handle])
            ended[piece.handle] = Completion(data=data, finish=piece.finish)
    return [ended[index] for index in range(len(requests))]


def decode(
    model: LanguageModel, requests: Sequence[DecodingRequest], *, proposals: Proposals = ONE_BYTE
) -> Iterator[Piece]:
    """Decode the requests together, yielding pieces in the order in which they become certain.

    A piece's handle is its request's index. The concatenated pieces of a request never contain
    part of a stop string that is later cut. Errors are those of ``complete``.
    """
    max_rows = min(len(requests), ROWS_TOGETHER)
    decoder = BatchDecoder(model, max_rows=max_rows, proposals=proposals)
    waiting = iter(requests)
    while True:
        for _, request in zip(range(decoder.free_rows), waiting, strict=False):
            decoder.add(request)
        if not decoder.active:
            return
        yield from decoder.step()
