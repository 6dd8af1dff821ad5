"""One request seen from the event loop: in pieces, so that others have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from proxylm.generation.decoding_row import ByteDelta, Finish
from proxylm.generation.logprobs import ByteLogprobs
from proxylm.generation.options import GenerationOptions
from proxylm.generation.request import ByteRequest
from proxylm.serving.choice_text import TextDelta
from proxylm.serving.choices import Choices
from proxylm.serving.completion_request import CompletionRequest
from proxylm.serving.limits import ServingLimits
from proxylm.serving.opening import OpenedPrompt
from proxylm.serving.scheduler import ScheduledSequence
from proxylm.serving.service import Service
from proxylm.symbols import RAW_OFFSET

PROMPT = "é€a" * 1000
READ_TOGETHER = 200
"""Bytes of a prompt that a pass reads."""


def delta(data: bytes, *, finish: Finish | None = None, of_prompt: bool = False) -> ByteDelta:
    logprobs = tuple(ByteLogprobs(symbol=RAW_OFFSET + value, logprob=-1.0) for value in data)
    return ByteDelta(handle=0, data=data, logprobs=logprobs, finish=finish, of_prompt=of_prompt)


class AllAtOnce:
    """In the place of the scheduler: all events are there at once."""

    def submit(self, sequences: Sequence[ScheduledSequence]) -> None:
        for sequence in sequences:
            prompt = sequence.request.prompt
            for start in range(0, len(prompt), READ_TOGETHER):
                sequence.on_event(delta(prompt[start : start + READ_TOGETHER], of_prompt=True))
            sequence.on_event(delta(b"!", finish=Finish.LIMIT))


def test_a_long_scored_prompt_does_not_keep_the_event_loop() -> None:
    turns, gained = asyncio.run(generate())
    own = [one for index, one in gained if index == 1]
    assert [one.finish_reason for one in own] == [None] * (len(own) - 1) + ["length"]
    whole = TextDelta.joined(own)
    assert whole.finish_reason == "length"
    assert whole.text == PROMPT + "!"
    data = PROMPT.encode() + b"!"
    assert [entry.symbol - RAW_OFFSET for entry, _ in whole.logprobs] == list(data)
    starts = [len(text.encode()) for text in whole.text]
    assert [offset for _, offset in whole.logprobs] == [
        place for place, count in enumerate(starts) for _ in range(count)
    ]
    assert max(len(one.logprobs) for one in own) <= 1024 + READ_TOGETHER
    assert turns >= len(gained) - 1 > 8


async def generate() -> tuple[int, list[tuple[int, TextDelta]]]:
    """What two choices gained, and how often another task had its turn meanwhile."""
    request = CompletionRequest(model="m", prompt=PROMPT, max_tokens=1, echo=True, logprobs=0, n=2)
    service = SimpleNamespace(scheduler=AllAtOnce(), limits=ServingLimits())
    read = ByteRequest(
        prompt=PROMPT.encode(), options=GenerationOptions(), logprobs=0, score_prompt=True
    )
    opened = [OpenedPrompt(request=read, length=len(read.prompt))]
    choices = Choices(request, opened, cast(Service, service))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(other())
    await asyncio.sleep(0)
    before = turns
    gained = [one async for one in choices.deltas()]
    beside.cancel()
    assert choices.new_bytes == 2, "the prompt's are not new"
    return turns - before, gained
