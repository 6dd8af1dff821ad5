"""A server that reads prompts mixed: the same bytes as the library, and room counted as read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import numpy as np
import pytest

from mixed_reference import TEXT, bits_after, compressor_of_kind, laid_by_hand, model_over
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.byte_model import ByteModel
from proxylm.serving.app import create_app
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics
from proxylm.serving.scheduler import Scheduler
from proxylm.serving.service import Service
from small_models import endless

LIMITS = ServingLimits(max_rows=3, max_length_bytes=160)


@pytest.fixture(scope="module")
def model() -> ByteModel:
    compressor = compressor_of_kind("bpe")
    return ByteModel(endless(model_over(compressor))).read_mixed(compressor)


@pytest.fixture
def service(model: ByteModel) -> Iterator[Service]:
    metrics = ServingMetrics()
    decoder = partial(BatchDecoder, model.module, max_rows=LIMITS.max_rows)
    with Scheduler(decoder, limits=LIMITS, metrics=metrics) as scheduler:
        yield Service(
            name="m", scheduler=scheduler, limits=LIMITS, metrics=metrics, reading=model.reading
        )


def ask(service: Service, **values: Any) -> httpx.Response:
    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            body = {"model": "m", "temperature": 0, "max_tokens": 8, **values}
            return await client.post("/v1/completions", json=body)

    return asyncio.run(one())


def test_prompts_are_read_mixed_and_answered_in_bytes(model: ByteModel, service: Service) -> None:
    prompts = [TEXT[:200], "", TEXT[:3], TEXT[:150]]
    answer = ask(service, prompt=prompts, logprobs=0).json()
    tokens = [choice["logprobs"]["tokens"] for choice in answer["choices"]]
    texts = [choice["text"] for choice in answer["choices"]]
    expected = model.generate_batch([one.encode() for one in prompts], max_new_bytes=8)
    assert texts == [one.decode("utf-8", "replace") for one in expected]
    assert [len(one) for one in tokens] == [8] * 4
    for prompt, choice, written in zip(prompts, answer["choices"], expected, strict=True):
        read = laid_by_hand(compressor_of_kind("bpe"), prompt.encode(), sentinels=True)
        nats = bits_after(model.module, read, written, of_bytes=True) * np.log(2)
        assert choice["logprobs"]["token_logprobs"] == pytest.approx(-nats, abs=1e-4)
    assert answer["usage"]["prompt_tokens"] == sum(len(one.encode()) for one in prompts)
    [echoed] = ask(service, prompt=TEXT[:200], echo=True).json()["choices"]
    assert echoed["text"] == TEXT[:200] + texts[0]


def test_room_counts_what_is_read(model: ByteModel, service: Service) -> None:
    prefix, covered = model.reading.opened(TEXT[:200].encode())
    read = len(prefix) - 2 + len(TEXT[:200].encode()) - covered
    assert read < 160 < len(TEXT[:200])
    fits = ask(service, prompt=TEXT[:200], max_tokens=160 - read)
    assert fits.status_code == 200
    refused = ask(service, prompt=TEXT[:200], max_tokens=161 - read)
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert f"prompt: {read} bytes and symbols" in refused.json()["error"]["message"]


def test_symbols_have_no_log_probabilities_of_bytes(service: Service) -> None:
    refused = ask(service, prompt=TEXT[:100], echo=True, logprobs=1)
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "echo")
