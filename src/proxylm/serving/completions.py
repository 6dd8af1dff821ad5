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
from proxylm.serving.choice_text import TextDelta, chat_logprobs_object, logprobs_object
from proxylm.serving.choices import Choices
from proxylm.serving.completion_request import CompletionRequest

_Result = TypeVar("_Result")


class Answer:
    """One answer, whole or in events; all its objects share a frame.

    Attributes:
        id_prefix: of the answer's id.
        whole_object, event_object: what the objects call themselves.
    """

    id_prefix = "cmpl"
    whole_object = event_object = "text_completion"

    def __init__(self, request: CompletionRequest, choices: Choices) -> None:
        self._request = request
        self._choices = choices
        self._frame = {
            "id": f"{self.id_prefix}-{uuid.uuid4().hex}",
            "object": self.event_object if request.stream else self.whole_object,
            "created": int(time.time()),
            "model": request.model,
        }

    @property
    def streams(self) -> bool:
        """Whether it is asked for in events."""
        return self._request.stream

    def close(self) -> None:
        """Give up whatever has not ended."""
        self._choices.close()

    async def whole(self) -> bytes:
        """The one object of an answer that is not streamed, as JSON."""
        gained: list[list[TextDelta]] = [[] for _ in range(self._request.sequence_count)]
        async for index, delta in self._choices.deltas():
            gained[index].append(delta)
        # In a thread: with many log-probabilities this takes long, and the event loop is needed.
        return await asyncio.to_thread(self._whole_json, gained)

    def _whole_json(self, gained: list[list[TextDelta]]) -> bytes:
        choices = [self._whole(i, TextDelta.joined(deltas)) for i, deltas in enumerate(gained)]
        return to_json({**self._frame, "choices": choices, "usage": self._usage()})

    async def events(self) -> AsyncIterator[bytes]:
        """The server-sent events of a streamed answer; an error becomes the last event."""
        for opening in self._openings():
            yield _event({**self._frame, "choices": [opening]})
        try:
            async for index, delta in self._choices.deltas():
                if delta.text or delta.finish_reason:
                    yield _event({**self._frame, "choices": [self._piece(index, delta)]})
        except ApiError as error:
            yield _event(error.body())
            return
        if self._request.stream_options.include_usage:
            yield _event({**self._frame, "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    def _openings(self) -> list[dict[str, Any]]:
        """What a stream begins with: choices of events before the first text."""
        return []

    def _whole(self, index: int, delta: TextDelta) -> dict[str, Any]:
        """A choice of a whole answer."""
        asked, logprobs = self._request.logprobs, None
        if asked is not None:
            logprobs = logprobs_object(delta.logprobs, with_alternatives=asked > 0)
        return {
            "index": index,
            "text": delta.text,
            "logprobs": logprobs,
            "finish_reason": delta.finish_reason,
        }

    def _piece(self, index: int, delta: TextDelta) -> dict[str, Any]:
        """A choice of an event."""
        return self._whole(index, delta)

    def _usage(self) -> dict[str, int]:
        prompt = sum(map(len, self._request.prompt))
        new = self._choices.new_bytes
        return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


class ChatAnswer(Answer):
    """One answer in a chat: the same text as an assistant's message."""

    id_prefix = "chatcmpl"
    whole_object, event_object = "chat.completion", "chat.completion.chunk"

    def _openings(self) -> list[dict[str, Any]]:
        opening = {"role": "assistant", "content": ""}
        return [
            self._chosen(index, "delta", opening, TextDelta(text=""))
            for index in range(self._request.sequence_count)
        ]

    def _whole(self, index: int, delta: TextDelta) -> dict[str, Any]:
        message = {"role": "assistant", "content": delta.text, "refusal": None}
        return self._chosen(index, "message", message, delta)

    def _piece(self, index: int, delta: TextDelta) -> dict[str, Any]:
        return self._chosen(index, "delta", {"content": delta.text} if delta.text else {}, delta)

    def _chosen(
        self, index: int, kind: str, said: dict[str, Any], delta: TextDelta
    ) -> dict[str, Any]:
        asked = self._request.logprobs is not None
        return {
            "index": index,
            kind: said,
            "logprobs": chat_logprobs_object(delta.logprobs) if asked else None,
            "finish_reason": delta.finish_reason,
        }


async def answer(answering: Answer, receive: Receive) -> Response:
    """The response; the choices are closed when it is over, however it ends.

    Raises:
        ApiError: (of a whole answer) the server failed or stopped.
        ClientDisconnect: (of a whole answer) the client left before it was done.
    """
    if answering.streams:
        return _EventStream(answering.events(), on_end=answering.close)
    try:
        content = await _unless_client_leaves(answering.whole(), receive)
        return Response(content, media_type="application/json")
    finally:
        answering.close()


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
