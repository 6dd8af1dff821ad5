"""Answering a completion request: as one object, or as a stream of events."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from proxylm.json_lines import json_line
from proxylm.serving.api_errors import ApiError
from proxylm.serving.choice_text import TextDelta, logprobs_object
from proxylm.serving.choices import Choices
from proxylm.serving.completion_request import CompletionRequest

_Result = TypeVar("_Result")


class Answer:
    """One answer, whole or in events; all its objects share a frame."""

    def __init__(self, request: CompletionRequest, choices: Choices) -> None:
        self._request = request
        self._choices = choices
        self._frame = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": request.model,
        }

    async def whole(self) -> bytes:
        """The one object of an answer that is not streamed, as JSON."""
        gained: list[list[TextDelta]] = [[] for _ in range(self._request.sequence_count)]
        async for index, delta in self._choices.deltas():
            gained[index].append(delta)
        # In a thread: with many log-probabilities this takes long, and the event loop is needed.
        return await asyncio.to_thread(self._whole_json, gained)

    def _whole_json(self, gained: list[list[TextDelta]]) -> bytes:
        choices = [self._choice(i, TextDelta.joined(deltas)) for i, deltas in enumerate(gained)]
        return to_json({**self._frame, "choices": choices, "usage": self._usage()})

    async def events(self) -> AsyncIterator[bytes]:
        """The server-sent events of a streamed answer; an error becomes the last event."""
        try:
            async for index, delta in self._choices.deltas():
                if delta.text or delta.finish_reason:
                    yield _event({**self._frame, "choices": [self._choice(index, delta)]})
        except ApiError as error:
            yield _event(error.body())
            return
        if self._request.stream_options.include_usage:
            yield _event({**self._frame, "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _choice(self, index: int, delta: TextDelta) -> dict[str, Any]:
        asked, logprobs = self._request.logprobs, None
        if asked is not None:
            logprobs = logprobs_object(delta.logprobs, with_alternatives=asked > 0)
        return {
            "index": index,
            "text": delta.text,
            "logprobs": logprobs,
            "finish_reason": delta.finish_reason,
        }

    def _usage(self) -> dict[str, int]:
        prompt = sum(map(len, self._request.prompt))
        new = self._choices.new_bytes
        return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


async def answer(request: CompletionRequest, choices: Choices, receive: Receive) -> Response:
    """The response; the choices are closed when it is over, however it ends.

    Raises:
        ApiError: (of a whole answer) the server failed or stopped.
        ClientDisconnect: (of a whole answer) the client left before it was done.
    """
    answering = Answer(request, choices)
    if request.stream:
        return _EventStream(answering.events(), on_end=choices.close)
    try:
        content = await _unless_client_leaves(answering.whole(), receive)
        return Response(content, media_type="application/json")
    finally:
        choices.close()


class _EventStream(StreamingResponse):
    """Server-sent events; a client that leaves ends it, and ``on_end`` is called in any case."""

    def __init__(self, events: AsyncIterator[bytes], *, on_end: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()


async def _unless_client_leaves(work: Coroutine[Any, Any, _Result], receive: Receive) -> _Result:
    """The work's result; when the client leaves first, the work is cancelled."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_until_client_leaves(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _until_client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json_line(value).encode() + b"\n\n"
