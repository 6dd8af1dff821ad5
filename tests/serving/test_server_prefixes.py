"""What one request had read, others go on from; nobody can see it but in time and metrics."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from running_server import RunningServer

from proxylm.generation.byte_model import ByteModel

INSTRUCTIONS = "Say what the capital of a country is, and nothing else.\n" * 4


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url, api_key="any", max_retries=0) as opened:
        yield opened


@pytest.mark.parametrize("drawing", [{"temperature": 0.0}, {"temperature": 0.8, "seed": 7}])
def test_prompts_that_begin_alike_get_what_they_get_alone(
    server: RunningServer, client: openai.OpenAI, model: ByteModel, drawing: dict[str, float]
) -> None:
    before = server.metric("proxylm_prefix_hits_total")
    for country in ("France", "Chad", "France"):
        prompt = f"{INSTRUCTIONS}{country}:"
        answer = client.completions.create(
            model=server.model, prompt=prompt, max_tokens=30, extra_body=drawing
        )
        alone = model.generate(prompt.encode(), max_new_bytes=30, **drawing)
        assert answer.choices[0].text == alone.decode("utf-8", "replace")
    assert server.metric("proxylm_prefix_hits_total") - before >= 2
    assert server.metric("proxylm_prefix_reused_symbols_total") >= 2 * 192
    assert 0 < server.metric("proxylm_prefix_bytes") <= 256 << 20
