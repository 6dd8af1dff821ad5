"""Structured output of real decoding: every output is, and drafts change nothing."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from proxylm.errors import UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding_row import Finish
from proxylm.generation.drafts import Chain, Tree
from proxylm.generation.options import generation_options
from proxylm.generation.structured_output.guidance import JsonSchema, Regex
from small_models import small_model
from trained_models import trained_model

PROMPTS = [b"", b"area of ", "radius é".encode(), b"\xe2\x82", b"\xff\xfe"]
WIDE_OPEN: dict[str, Any] = {"temperature": 3.0, "max_new_bytes": 60}
"""So hot that bytes which the model has never seen come up often."""


@pytest.fixture(scope="module")
def model() -> ByteModel:
    return ByteModel(trained_model("eva", "raw"))


def valid_prefix(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True


def test_without_structure_the_output_is_not_text(model: ByteModel) -> None:
    outputs = model.generate_batch([b"area"] * 8, **WIDE_OPEN)
    assert not all(map(valid_prefix, outputs))


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 60])
def test_strict_utf8_is_whole_text_at_every_limit(model: ByteModel, limit: int) -> None:
    options = WIDE_OPEN | {"max_new_bytes": limit}
    for seed in range(6):
        outputs = model.generate_batch(PROMPTS, utf8="strict", seed=seed, **options)
        for prompt, data in zip(PROMPTS, outputs, strict=True):
            if prompt == b"\xe2\x82":  # the prompt's open character comes first
                data = prompt + data
            data.decode("utf-8")


def test_every_streamed_prefix_begins_a_text(model: ByteModel) -> None:
    data = b""
    for piece in model.stream(b"area", utf8="strict", seed=7, **WIDE_OPEN):
        data += piece
        assert valid_prefix(data)
    assert len(data) > 10


def test_a_prompts_open_character_that_cannot_be_finished_ends_the_row(model: ByteModel) -> None:
    options = generation_options(max_new_bytes=1, utf8="strict")
    [completion] = model.complete([b"\xf0\x9f"], options)
    assert (completion.data, completion.finish) == (b"", Finish.LIMIT)


@pytest.mark.parametrize("drafter", [Chain(least_probability=0), Tree(least_probability=0)])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_drafts_change_nothing_in_structured_output(
    model: ByteModel, drafter: Chain | Tree, temperature: float
) -> None:
    options: dict[str, Any] = {"temperature": temperature, "max_new_bytes": 40, "seed": 5}
    options |= {"utf8": "strict", "structured_output": Regex(pattern="(area|of|é| |\\(x\\))+")}
    one = model.generate_batch(PROMPTS, drafter=None, **options)
    assert model.generate_batch(PROMPTS, drafter=drafter, **options) == one
    assert len({len(data) for data in one}) >= 1
    assert all(len(data) > 4 for data in one[1:3])


def test_a_regex_that_must_end_ends_the_text(model: ByteModel) -> None:
    pattern = r"[0-9]{2}-(ab|é)"
    options = generation_options(
        structured_output=Regex(pattern=pattern), temperature=1.0, max_new_bytes=50
    )
    for completion in model.complete(PROMPTS, options):
        assert completion.finish == Finish.END
        assert re.fullmatch(pattern, completion.data.decode())


def test_json_by_a_schema_parses(model: ByteModel) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "of": {"enum": ["a", "b"]}},
        "required": ["n", "of"],
        "additionalProperties": False,
    }
    options = generation_options(
        structured_output=JsonSchema(definition=schema), temperature=4.0, max_new_bytes=200
    )
    completions = model.complete([b"area"] * 6, options)
    ended = [completion for completion in completions if completion.finish == Finish.END]
    assert ended, "integers and blanks may go on to the limit, but not all of them"
    for completion in ended:
        value = json.loads(completion.data)
        assert isinstance(value["n"], int)
        assert value["of"] in ("a", "b")


def test_samples_follow_head_0_among_what_is_allowed() -> None:
    """First bytes under a regex: their share is head 0's, renormalized over the two allowed."""
    model = ByteModel(small_model(sharpness=1.0))
    options: dict[str, Any] = {"temperature": 1.0, "max_new_bytes": 1}
    free = model.generate_batch([b"x"] * 4000, **options)
    kept = [data for data in free if data in (b"a", b"b")]
    guided = model.generate_batch([b"x"] * 600, structured_output=Regex(pattern="a|b"), **options)
    assert set(guided) == {b"a", b"b"}
    share = np.mean([data == b"a" for data in guided])
    expected = expected_share(model)
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / len(guided))
    assert len(kept) < len(free) / 4, "the structure should matter here"


def expected_share(model: ByteModel) -> float:
    from proxylm.generation.request import prompt_symbols
    from proxylm.symbols import RAW_OFFSET

    ids = prompt_symbols(b"x", sentinels=model.config.sentinels)
    logits = model.logits(ids[None])[0, -1, 0].double().numpy()
    a, b = logits[RAW_OFFSET + ord("a")], logits[RAW_OFFSET + ord("b")]
    return float(1 / (1 + np.exp(b - a)))


def test_options_refuse_what_is_no_structure(model: ByteModel) -> None:
    with pytest.raises(UsageError, match="utf8"):
        model.generate(b"a", utf8="loose")  # type: ignore[typeddict-item]
