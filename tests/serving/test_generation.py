"""One request seen from the event loop: in pieces, so that others have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from proxylm.generation.decoding_row import Finish, Piece
from proxylm.generation.logprobs import ByteLogprobs
from proxylm.serving.choice_text import Delta
from proxylm.serving.completion_request import CompletionRequest
from proxylm.serving.generation import ChoiceDelta, Generation
from proxylm.serving.prompt_scoring import PromptLogprobs
from proxylm.serving.scheduler import Job, Scheduler
from proxylm.symbols import RAW_OFFSET
from small_models import small_model

PROMPT = "é€a" * 1000


class AllAtOnce:
    """In the place of the scheduler: all events are there at once."""

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            prompt = job.request.prompt
            entries = [ByteLogprobs(symbol=RAW_OFFSET + value, logprob=-1.0) for value in prompt]
            job.on_event(PromptLogprobs(entries=tuple(entries)))
            entry = ByteLogprobs(symbol=RAW_OFFSET + 33, logprob=-1.0)
            job.on_event(Piece(handle=0, data=b"!", logprobs=(entry,), finish=Finish.LIMIT))


def test_a_long_scored_prompt_does_not_keep_the_event_loop() -> None:
    turns, gained = asyncio.run(generate())
    own = [one for deltas in gained for one in deltas if one.index == 1]
    assert own[-1].finish_reason == "length"
    whole = Delta.joined([one.delta for one in own])
    assert whole.text == PROMPT + "!"
    data = PROMPT.encode() + b"!"
    assert [entry.symbol - RAW_OFFSET for entry, _ in whole.logprobs] == list(data)
    starts = [len(text.encode()) for text in whole.text]
    assert [offset for _, offset in whole.logprobs] == [
        place for place, count in enumerate(starts) for _ in range(count)
    ]
    assert max(len(one.delta.logprobs) for one in own) <= 1100
    assert turns >= len(gained) - 1 > 10


async def generate() -> tuple[int, list[list[ChoiceDelta]]]:
    """What two choices gained, and how often another task had its turn meanwhile."""
    request = CompletionRequest(model="m", prompt=PROMPT, max_tokens=1, echo=True, logprobs=0, n=2)
    generation = Generation(request, cast(Scheduler, AllAtOnce()), small_model())
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.ensure_future(other())
    await asyncio.sleep(0)
    before = turns
    gained = [deltas async for deltas in generation.deltas()]
    beside.cancel()
    return turns - before, gained
