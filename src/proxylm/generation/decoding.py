"""Prompts in, bytes out, one or many together, as they become certain or all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.decoding_row import ByteDelta, Finish
from proxylm.generation.request import DecodingRequest
from proxylm.models.language_model import LanguageModel

ROWS_TOGETHER = 32
"""Most prompts that are decoded at once; results do not depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """All new bytes of one prompt, and why they end."""

    data: bytes
    finish: Finish


def complete(model: LanguageModel, requests: Sequence[DecodingRequest]) -> list[Completion]:
    """Decode the requests together; the result for each is what it is alone.

    Raises:
        UsageError: the model's vocabulary has no bytes.
        DamagedWeightsError: the model's output is not a number.
    """
    collected = [bytearray() for _ in requests]
    ended: dict[int, Completion] = {}
    for delta in decode(model, requests):
        collected[delta.handle] += delta.data
        if delta.finish is not None:
            data = bytes(collected[delta.handle])
            ended[delta.handle] = Completion(data=data, finish=delta.finish)
    return [ended[index] for index in range(len(requests))]


def decode(model: LanguageModel, requests: Sequence[DecodingRequest]) -> Iterator[ByteDelta]:
    """Decode the requests together, yielding bytes in the order in which they become certain.

    A delta's handle is its request's index. The concatenated deltas of a request never contain
    part of a stop string that is later cut. Errors are those of ``complete``.
    """
    decoder = BatchDecoder(model, max_rows=min(len(requests), ROWS_TOGETHER))
    waiting = iter(requests)
    while True:
        for _, request in zip(range(decoder.free_rows), waiting, strict=False):
            decoder.add(request)
        if not decoder.active:
            return
        yield from decoder.step()
