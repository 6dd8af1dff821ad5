"""What a request may hold, and with which status each mistake is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxylm.serving.api_errors import ApiError
from proxylm.serving.completion_request import (
    CompletionRequest,
    parse_completion_request,
    require_room,
)
from proxylm.serving.limits import MAX_SCORED_BYTES, ServingLimits

LIMITS = ServingLimits(max_rows=4, max_queue=6, max_length_bytes=100)


def parse(**values: Any) -> CompletionRequest:
    return parse_completion_request(json.dumps({"model": "m", **values}).encode(), LIMITS)


def refused(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse_completion_request(body, LIMITS)
    return caught.value


@pytest.mark.parametrize(
    ("given_prompt", "prompts"),
    [
        ("é", (b"\xc3\xa9",)),
        ("", (b"",)),
        (None, (b"",)),
        ([[]], (b"",)),
        (["", ""], (b"", b"")),
        ([0, 255, 195], (b"\x00\xff\xc3",)),
        (["a", [98]], (b"a", b"b")),
        ("nul\0", (b"nul\0",)),
    ],
)
def test_prompts_are_texts_or_bytes(given_prompt: Any, prompts: tuple[bytes, ...]) -> None:
    assert parse(prompt=given_prompt).prompt == prompts


def test_no_prompt_is_the_empty_prompt() -> None:
    assert parse().prompt == (b"",)


def test_null_is_the_default_of_every_parameter_but_the_model() -> None:
    names = set(CompletionRequest.model_fields) - {"model"}
    assert parse(**dict.fromkeys(names)) == parse()
    assert refused(b'{"model": null}').status == 422


@pytest.mark.parametrize(
    ("name", "neutral", "other"),
    [
        ("best_of", 1, 2),
        ("suffix", "", "end"),
        ("logit_bias", {}, {"50256": 1}),
        ("frequency_penalty", 0, 1),
        ("presence_penalty", 0.0, 1),
        ("stream_options", {"include_obfuscation": False}, {"include_obfuscation": True}),
    ],
)
def test_of_what_is_not_supported_the_neutral_value_is_taken(
    name: str, neutral: Any, other: Any
) -> None:
    assert parse(**{name: neutral}) == parse()
    error = refused(json.dumps({"model": "m", name: other}).encode())
    assert str(error).startswith(name)
    assert str(error).endswith(" is supported; leave it out")


def test_stop_is_one_text_or_up_to_four() -> None:
    assert parse(stop="é").stop == ("é".encode(),)
    assert parse(stop=list("abcd")).stop == (b"a", b"b", b"c", b"d")
    assert parse(stop=[]).stop == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model": "m",}',
        b"\xff",
        b'{"model": "\xff"}',
        b'{"prompt": "\\ud800", "model": "m"}',
        b"[" * 100_000,
        b'{"model": "m", "seed": ' + b"9" * 5000 + b"}",
        b"{'model': 'm'}",
        b"undefined",
    ],
)
def test_what_is_no_json_is_400(body: bytes) -> None:
    error = refused(body)
    assert (error.status, error.code) == (400, "malformed_json")
    assert str(error).count("\n") == 0


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"null", b"12", b"NaN"])
def test_json_that_is_no_object_is_422(body: bytes) -> None:
    assert refused(body).status == 422


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", 3),
        ("model", "m" * 1000),
        ("prompt", 3),
        ("prompt", []),
        ("prompt", {"a": 1}),
        ("prompt", [256]),
        ("prompt", [-1]),
        ("prompt", [1.5]),
        ("prompt", [True]),
        ("prompt", [1, "a"]),
        ("prompt", [[1], [[2]]]),
        ("prompt", [None]),
        ("max_tokens", -1),
        ("max_tokens", 101),
        ("max_tokens", 10**30),
        ("max_tokens", 1.0),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("temperature", "warm"),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_p", float("nan")),
        ("n", 0),
        ("n", 11),
        ("n", 10**9),
        ("n", 1.5),
        ("seed", 2**63),
        ("seed", 1.5),
        ("stop", ""),
        ("stop", list("abcde")),
        ("stop", [1]),
        ("stop", "s" * 300),
        ("logprobs", -1),
        ("logprobs", 6),
        ("logprobs", True),
        ("echo", 1),
        ("stream", "yes"),
        ("stream_options", {"include_usage": 1}),
        ("stream_options", {"other": True}),
        ("user", 5),
        ("stream_options", {"include_obfuscation": True}),
        ("best_of", 2),
        ("best_of", True),
        ("best_of", 1.0),
        ("suffix", "end"),
        ("suffix", []),
        ("logit_bias", {"50256": -100}),
        ("logit_bias", []),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -0.5),
        ("temprature", 1),
    ],
)
def test_parameters_of_wrong_type_or_range_are_422_and_named(name: str, value: Any) -> None:
    error = refused(json.dumps({"model": "m", name: value}).encode())
    assert error.status == 422
    assert (error.param or "").split(".")[0] == name
    assert str(error).startswith(name)
    assert len(str(error)) < 400


def test_a_name_with_a_line_break_is_refused_in_one_line() -> None:
    error = refused(b'{"model": "m", "stream_options": {"a\\nb": 1}, "c\\rd": 2}')
    assert str(error).splitlines() == [str(error)]


def test_a_prompt_that_is_too_long_is_400() -> None:
    require_room(parse(prompt="p" * 84, max_tokens=16), [84], LIMITS)
    for longer in ({"prompt": "p" * 85}, {"prompt": ["a", "p" * 101], "max_tokens": 0}):
        request = parse(**longer)
        with pytest.raises(ApiError) as caught:
            require_room(request, list(map(len, request.prompt)), LIMITS)
        assert (caught.value.status, caught.value.code, caught.value.param) == (
            400,
            "context_length_exceeded",
            "prompt",
        )


def test_prompts_with_logprobs_have_a_bound_together() -> None:
    large = LIMITS.model_copy(update={"max_length_bytes": MAX_SCORED_BYTES})
    half = "p" * (MAX_SCORED_BYTES // 2)
    values: dict[str, Any] = {"model": "m", "prompt": half, "max_tokens": 0, "logprobs": 0}
    for accepted in ({"n": 2, "echo": True}, {"n": 3, "echo": False}):
        assert parse_completion_request(json.dumps(values | accepted).encode(), large)
    for more in ({"n": 3}, {"prompt": [half, half, "p"]}):
        with pytest.raises(ApiError) as caught:
            parse_completion_request(json.dumps(values | {"echo": True} | more).encode(), large)
        assert (caught.value.status, caught.value.param) == (422, "echo")


def test_more_sequences_than_the_server_ever_takes_are_422() -> None:
    assert parse(prompt=["a"] * 5, n=2).sequence_count == 10
    assert refused(json.dumps({"model": "m", "prompt": ["a"] * 6, "n": 2}).encode()).status == 422


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(CompletionRequest.model_fields)), any_json))
def test_any_json_is_read_or_refused_in_one_line(values: dict[str, Any]) -> None:
    try:
        parse_completion_request(json.dumps({"model": "m"} | values).encode(), LIMITS)
    except ApiError as error:
        assert error.status in (400, 422)
        assert "\n" not in str(error)
