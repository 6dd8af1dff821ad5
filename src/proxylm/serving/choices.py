"""One request on its way, seen from the event loop: what its sequences yield, choice by choice."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from proxylm.generation.decoding_row import ByteDelta, Finish
from proxylm.generation.drafts import Drafter
from proxylm.generation.options import GenerationOptions
from proxylm.generation.request import ByteRequest
from proxylm.serving.api_errors import ApiError
from proxylm.serving.choice_text import ChoiceText, TextDelta
from proxylm.serving.completion_request import CompletionRequest
from proxylm.serving.scheduler import Event, ScheduledSequence
from proxylm.serving.service import Service

_FINISH_REASONS = {None: None, Finish.END: "stop", Finish.STOP: "stop", Finish.LIMIT: "length"}
_BYTES_TOGETHER = 1024
"""Of a request, made ready before others have their turn: the event loop is everybody's."""


@dataclass(slots=True, kw_only=True)
class ChoiceDelta:
    """What a choice gained; ``finish_reason`` is set on its last."""

    index: int
    delta: TextDelta
    finish_reason: str | None

    @classmethod
    def joined(cls, deltas: Sequence[ChoiceDelta]) -> ChoiceDelta:
        """All of one choice's, one after the other; there is at least one."""
        delta, last = TextDelta.joined([one.delta for one in deltas]), deltas[-1]
        return cls(index=last.index, delta=delta, finish_reason=last.finish_reason)


class Choices:
    """The choices of one request, ``n`` for each prompt, numbered as OpenAI does.

    Attributes:
        new_bytes: generated so far and handed out, over all choices.

    Raises:
        ApiError: (on construction) the server cannot take the request on now.
    """

    def __init__(self, request: CompletionRequest, service: Service) -> None:
        self.new_bytes = 0
        self._request = request
        self._scheduler = service.scheduler
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._texts = [ChoiceText() for _ in range(request.sequence_count)]
        self._unfinished = request.sequence_count
        self._sequences = [
            self._sequence(index, decoding)
            for index, decoding in enumerate(_decoding_requests(request, service.drafter))
        ]
        self._scheduler.submit(self._sequences)

    async def deltas(self) -> AsyncIterator[ChoiceDelta]:
        """What becomes certain, until the end of every choice.

        Raises:
            ApiError: the server failed or stopped.
        """
        if self._request.echo and not self._request.scores_prompts:  # nothing to wait for
            for index, sequence in enumerate(self._sequences):
                echoed = self._texts[index].feed(sequence.request.prompt)
                yield ChoiceDelta(index=index, delta=echoed, finish_reason=None)
        while self._unfinished:
            for delta in self._merge(await self._next_events()):
                yield delta
            await asyncio.sleep(0)  # other requests have their turn

    def close(self) -> None:
        """Give up whatever has not ended."""
        if self._unfinished:
            self._scheduler.cancel(self._sequences)

    def _sequence(self, index: int, decoding: ByteRequest) -> ScheduledSequence:
        def hand_over(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

        return ScheduledSequence(request=decoding, on_event=hand_over)

    async def _next_events(self) -> list[tuple[int, Event]]:
        """Those that are there, but not many more bytes than are made ready at once."""
        events: list[tuple[int, Event]] = []
        count = 0
        while not events or (count < _BYTES_TOGETHER and not self._events.empty()):
            index, event = await self._events.get()
            events.append((index, event))
            count += 0 if isinstance(event, ApiError) else len(event.data)
        return events

    def _merge(self, events: list[tuple[int, Event]]) -> list[ChoiceDelta]:
        """What the events add, one value per choice."""
        gained: dict[int, list[ChoiceDelta]] = {}
        for index, event in events:
            if isinstance(event, ApiError):
                raise event
            gained.setdefault(index, []).append(self._choice_delta(index, event))
        return [ChoiceDelta.joined(deltas) for deltas in gained.values()]

    def _choice_delta(self, index: int, event: ByteDelta) -> ChoiceDelta:
        text = self._texts[index]
        delta = text.feed(event.data, event.logprobs)
        if not event.of_prompt:
            self.new_bytes += len(event.data)
        if event.finish is not None:
            delta = TextDelta.joined([delta, text.finish()])
            self._unfinished -= 1
        reason = _FINISH_REASONS[event.finish]
        return ChoiceDelta(index=index, delta=delta, finish_reason=reason)


def _decoding_requests(request: CompletionRequest, drafter: Drafter | None) -> list[ByteRequest]:
    """Those of all choices, in order."""
    requests = []
    for prompt in request.prompt:
        # Of each prompt: equal ones differ unless a seed is given.
        seed = secrets.randbits(63) if request.seed is None else request.seed
        options = GenerationOptions(
            max_new_bytes=request.max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=seed,
            stop=request.stop,
            drafter=drafter,
        )
        for sample in range(request.n):
            requests.append(
                ByteRequest(
                    prompt=prompt,
                    options=options,
                    sample=sample,
                    logprobs=request.logprobs,
                    score_prompt=request.scores_prompts,
                )
            )
    return requests
