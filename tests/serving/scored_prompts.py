"""What a server must say about a prompt: its log-probabilities, without a server."""

from __future__ import annotations

from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import decode
from proxylm.generation.logprobs import ByteLogprobs
from proxylm.generation.options import GenerationOptions
from proxylm.generation.request import ByteRequest


def scored_prompt(model: ByteModel, prompt: bytes, *, alternatives: int) -> list[ByteLogprobs]:
    """One entry for each byte."""
    options = GenerationOptions(max_new_bytes=0)
    request = ByteRequest(prompt=prompt, options=options, logprobs=alternatives, score_prompt=True)
    return [entry for delta in decode(model.module, [request]) for entry in delta.logprobs]
