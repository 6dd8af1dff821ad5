"""One request on its way, seen from the event loop: what its sequences yield, choice by choice."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

from proxylm.generation.decoding_row import Finish
from proxylm.generation.request import DecodingRequest
from proxylm.serving.api_errors import ApiError
from proxylm.serving.choice_text import ChoiceText, TextDelta
from proxylm.serving.completion_request import CompletionRequest
from proxylm.serving.mailbox import Mailbox
from proxylm.serving.opening import OpenedPrompt
from proxylm.serving.scheduler import Event, ScheduledSequence
from proxylm.serving.service import Service

_FINISH_REASONS = {Finish.END: "stop", Finish.STOP: "stop", Finish.LIMIT: "length"}
_BYTES_TOGETHER = 1024
"""Of a request, made ready before others have their turn: the event loop is everybody's."""


class Choices:
    """The choices of one request, ``n`` for each prompt, numbered as OpenAI does.

    Args:
        request: asks for them.
        opened: its prompts as they are read.
        service: decodes them.

    Attributes:
        new_bytes: generated so far and handed out, over all choices.

    Raises:
        ApiError: (on construction) the server cannot take the request on now.
    """

    def __init__(
        self, request: CompletionRequest, opened: Sequence[OpenedPrompt], service: Service
    ) -> None:
        longest = service.limits.max_length_bytes
        self.new_bytes = 0
        self._request = request
        self._scheduler = service.scheduler
        self._mailbox = Mailbox.here()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._texts = [ChoiceText() for _ in range(request.sequence_count)]
        self._unfinished = request.sequence_count
        self._sequences = [
            self._sequence(index, decoding)
            for index, decoding in enumerate(_decoding_requests(request, opened, longest))
        ]
        self._scheduler.submit(self._sequences)

    async def deltas(self) -> AsyncIterator[tuple[int, TextDelta]]:
        """What becomes certain, with its choice's number, until the end of every choice.

        Raises:
            ApiError: the server failed or stopped.
        """
        if self._request.echo and not self._request.scores_prompts:  # nothing to wait for
            for index, text in enumerate(self._texts):
                yield index, text.feed(self._request.prompt[index // self._request.n])
        while self._unfinished:
            for index, gained in self._merge(await self._next_events()).items():
                yield index, TextDelta.joined(gained)
            await asyncio.sleep(0)  # other requests have their turn

    def close(self) -> None:
        """Give up whatever has not ended."""
        if self._unfinished:
            self._scheduler.cancel(self._sequences)

    def _sequence(self, index: int, decoding: DecodingRequest) -> ScheduledSequence:
        def hand_over(event: Event) -> None:
            self._mailbox.put(self._events, (index, event))

        prompt = b"" if index % self._request.n else self._request.prompt[index // self._request.n]
        return ScheduledSequence(request=decoding, on_event=hand_over, prompt_bytes=len(prompt))

    async def _next_events(self) -> list[tuple[int, Event]]:
        """Those that are there, but not many more bytes than are made ready at once."""
        events: list[tuple[int, Event]] = []
        count = 0
        while not events or (count < _BYTES_TOGETHER and not self._events.empty()):
            index, event = await self._events.get()
            events.append((index, event))
            count += 0 if isinstance(event, ApiError) else len(event.data)
        return events

    def _merge(self, events: list[tuple[int, Event]]) -> dict[int, list[TextDelta]]:
        """What the events add, by choice."""
        gained: dict[int, list[TextDelta]] = {}
        for index, event in events:
            if isinstance(event, ApiError):
                raise event
            if not event.of_prompt:
                self.new_bytes += len(event.data)
            deltas, text = gained.setdefault(index, []), self._texts[index]
            deltas.append(text.feed(event.data, event.logprobs))
            if event.finish is not None:
                deltas.append(text.finish(_FINISH_REASONS[event.finish]))
                self._unfinished -= 1
        return gained


def _decoding_requests(
    request: CompletionRequest, opened: Sequence[OpenedPrompt], longest: int
) -> list[DecodingRequest]:
    """Those of all choices, in order."""
    requests = []
    for prompt in opened:
        # Of each prompt: equal ones differ unless a seed is given.
        seed = secrets.randbits(63) if request.seed is None else request.seed
        requests += [
            prompt.asked(request, longest=longest, seed=seed, sample=sample)
            for sample in range(request.n)
        ]
    return requests
