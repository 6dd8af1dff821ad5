"""One request on its way, seen from the event loop: what its sequences yield, choice by choice."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from proxylm.generation.decoding_row import Finish
from proxylm.generation.options import GenerationOptions
from proxylm.generation.request import ByteRequest
from proxylm.models.language_model import LanguageModel
from proxylm.serving.api_errors import ApiError
from proxylm.serving.choice_text import ChoiceText, Delta
from proxylm.serving.completion_request import CompletionRequest
from proxylm.serving.prompt_scoring import PromptLogprobs, PromptScorer
from proxylm.serving.scheduler import Event, Job, Scheduler

_FINISH_REASONS = {Finish.END: "stop", Finish.STOP: "stop", Finish.LIMIT: "length"}
_PIECE_BYTES = 1024
"""Of a scored prompt, made ready at once: the event loop is everybody's."""


@dataclass(slots=True, kw_only=True)
class ChoiceDelta:
    """What a choice gained; ``finish_reason`` is set on its last."""

    index: int
    delta: Delta
    finish_reason: str | None


class Generation:
    """The choices of one request, ``n`` for each prompt, numbered as OpenAI does.

    Attributes:
        new_bytes: generated so far and handed out, over all choices.

    Raises:
        ApiError: (on construction) the server cannot take the request on now.
    """

    def __init__(
        self, request: CompletionRequest, scheduler: Scheduler, model: LanguageModel
    ) -> None:
        self.new_bytes = 0
        self._request = request
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._texts = [ChoiceText() for _ in range(request.sequence_count)]
        self._unfinished = request.sequence_count
        self._jobs = self._make_jobs(model)
        scheduler.submit(self._jobs)

    async def deltas(self) -> AsyncIterator[list[ChoiceDelta]]:
        """What has become certain since the last time, at most one value per choice, until the end.

        Raises:
            ApiError: the server failed or stopped.
        """
        for index, delta in self._echoed():
            yield [ChoiceDelta(index=index, delta=delta, finish_reason=None)]
        while self._unfinished:
            events = [await self._events.get()]
            while not self._events.empty():
                events.append(self._events.get_nowait())
            for index, delta in self._scored_prompts(events):
                yield [ChoiceDelta(index=index, delta=delta, finish_reason=None)]
                await asyncio.sleep(0)  # other requests have their turn
            yield self._merge(events)

    def close(self) -> None:
        """Give up whatever has not ended."""
        if self._unfinished:
            self._scheduler.cancel(self._jobs)

    def _make_jobs(self, model: LanguageModel) -> list[Job]:
        request = self._request
        jobs: list[Job] = []
        for prompt in request.prompt:
            options = _options(request)  # of each prompt: equal ones differ unless a seed is given
            scorer = None
            if request.prompt_logprobs is not None:
                scorer = PromptScorer(model, prompt, alternatives=request.prompt_logprobs)
            for sample in range(request.n):
                decoding = ByteRequest(
                    prompt=prompt, options=options, sample=sample, logprobs=request.logprobs
                )
                jobs.append(self._make_job(len(jobs), decoding, scorer))
        return jobs

    def _make_job(self, index: int, decoding: ByteRequest, scorer: PromptScorer | None) -> Job:
        def hand_over(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody listens
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, event))

        return Job(request=decoding, on_event=hand_over, scorer=scorer)

    def _echoed(self) -> list[tuple[int, Delta]]:
        """Prompts to be shown without log-probabilities: nothing to wait for."""
        if not self._request.echo or self._request.logprobs is not None:
            return []
        prompts = [prompt for prompt in self._request.prompt for _ in range(self._request.n)]
        return [(i, self._texts[i].feed(prompt)) for i, prompt in enumerate(prompts)]

    def _scored_prompts(self, events: list[tuple[int, Event]]) -> Iterator[tuple[int, Delta]]:
        """Prompts that are shown with log-probabilities, in pieces that take a moment each."""
        for index, event in events:
            if not isinstance(event, PromptLogprobs):
                continue
            prompt = self._jobs[index].request.prompt
            for start in range(0, len(prompt), _PIECE_BYTES):
                piece = slice(start, start + _PIECE_BYTES)
                yield index, self._texts[index].feed(prompt[piece], event.entries[piece])

    def _merge(self, events: list[tuple[int, Event]]) -> list[ChoiceDelta]:
        """What the events add, but for scored prompts (each the first event of its choice)."""
        gained: dict[int, list[Delta]] = {}
        reasons: dict[int, str] = {}
        for index, event in events:
            if isinstance(event, ApiError):
                raise event
            if isinstance(event, PromptLogprobs):
                continue
            text, deltas = self._texts[index], gained.setdefault(index, [])
            deltas.append(text.feed(event.data, event.logprobs))
            self.new_bytes += len(event.data)
            if event.finish is not None:
                deltas.append(text.finish())
                reasons[index] = _FINISH_REASONS[event.finish]
                self._unfinished -= 1
        return [
            ChoiceDelta(index=index, delta=Delta.joined(deltas), finish_reason=reasons.get(index))
            for index, deltas in gained.items()
        ]


def _options(request: CompletionRequest) -> GenerationOptions:
    seed = secrets.randbits(63) if request.seed is None else request.seed
    return GenerationOptions(
        max_new_bytes=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=seed,
        stop=request.stop,
    )
