"""Completions of a running server, asked with the official ``openai`` client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from greedy import assert_same_greedy
from openai.types import Completion, CompletionChoice
from running_server import RunningServer
from scored_prompts import scored_prompt

from proxylm.generation.byte_model import ByteModel

PROMPT = "def area(radius):\n"
PROMPTS = [PROMPT, "", "é", "import os\n" * 30, "x", "\x00\x01", "class A:\n    pass\n", "日本語"]


@pytest.fixture(scope="module")
def client(server: RunningServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=60)


def choice_bytes(choice: CompletionChoice) -> bytes:
    """The exact bytes, as the documentation says to read them from the tokens."""
    assert choice.logprobs is not None
    tokens = choice.logprobs.tokens or []
    return b"".join(
        bytes([int(token[-2:], 16)]) if token.startswith("bytes:") else token.encode()
        for token in tokens
    )


def complete(client: openai.OpenAI, prompt: object = PROMPT, **options: object) -> Completion:
    values = {"model": "small", "temperature": 0, "max_tokens": 40, "logprobs": 0} | options
    return client.completions.create(prompt=prompt, **values)  # type: ignore[call-overload]


def test_models_are_listed_and_shown(client: openai.OpenAI) -> None:
    assert [found.id for found in client.models.list()] == ["small"]
    assert client.models.retrieve("small").owned_by == "proxylm"
    with pytest.raises(openai.NotFoundError, match="this server has 'small'"):
        client.models.retrieve("gpt")


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_bytes_are_those_of_generate(
    client: openai.OpenAI, model: ByteModel, prompt: str
) -> None:
    answer = complete(client, prompt)
    [choice] = answer.choices
    expected = model.generate(prompt.encode(), max_new_bytes=40)
    assert_same_greedy(model, prompt.encode(), choice_bytes(choice), expected)
    assert choice.text == choice_bytes(choice).decode("utf-8", "replace")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == len(prompt.encode())
    assert answer.usage.completion_tokens == len(choice_bytes(choice))
    assert answer.model == "small"
    assert choice.finish_reason == "length" if len(expected) == 40 else "stop"


def test_bytes_as_a_prompt(client: openai.OpenAI, model: ByteModel) -> None:
    prompt = b"\xff\x00\xc3"
    [choice] = complete(client, list(prompt)).choices
    assert choice_bytes(choice) == model.generate(prompt, max_new_bytes=40)


@pytest.mark.parametrize("seed", [0, 7])
def test_sampling_depends_on_the_seed_and_the_number_of_the_choice(
    client: openai.OpenAI, model: ByteModel, seed: int
) -> None:
    sampled = {"temperature": 0.9, "top_p": 0.95}
    answer = complete(client, n=3, seed=seed, **sampled)
    made = [choice_bytes(choice) for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert made == model.generate_batch(
        [PROMPT.encode()] * 3, max_new_bytes=40, seed=seed, **sampled
    )
    assert len(set(made)) == 3


def test_without_a_seed_samples_differ(client: openai.OpenAI) -> None:
    made = {complete(client, temperature=1.5).choices[0].text for _ in range(4)}
    assert len(made) > 1


def test_without_a_seed_equal_prompts_of_one_request_differ(client: openai.OpenAI) -> None:
    prompts = [PROMPT] * 3
    made = [choice_bytes(c) for c in complete(client, prompts, temperature=1.5, n=2).choices]
    assert len(set(made)) == 6
    seeded = complete(client, prompts, temperature=1.5, n=2, seed=1).choices
    assert len({choice_bytes(choice) for choice in seeded}) == 2


def test_several_prompts_times_n_are_numbered_as_openai_does(
    client: openai.OpenAI, model: ByteModel
) -> None:
    answer = complete(client, ["one", "two"], n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    expected = [model.generate(prompt, max_new_bytes=40) for prompt in (b"one", b"two")]
    assert [choice_bytes(c) for c in answer.choices] == [expected[i] for i in (0, 0, 1, 1)]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 6
    assert answer.usage.completion_tokens == 2 * sum(map(len, expected))


def test_a_stop_string_ends_the_text_before_it(client: openai.OpenAI, model: ByteModel) -> None:
    whole = model.generate(PROMPT.encode(), max_new_bytes=200)
    place = next(i for i, value in enumerate(whole) if i > 4 and 33 <= value < 127)
    stop = chr(whole[place])
    [choice] = complete(client, max_tokens=200, stop=["never there", stop]).choices
    assert choice.finish_reason == "stop"
    assert choice_bytes(choice) == whole[: whole.index(stop.encode())]
    streamed = complete(client, max_tokens=200, stop=stop, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == choice.text


def test_a_stream_joins_to_the_whole_and_cuts_no_character(
    client: openai.OpenAI, model: ByteModel
) -> None:
    options = {"max_tokens": 300, "n": 2, "temperature": 1.2, "seed": 5, "logprobs": 1}
    answer = complete(client, **options)
    usage = {"stream_options": {"include_usage": True}}
    chunks = list(complete(client, stream=True, **options, **usage))
    assert len(chunks) > 10, "bytes come as they are made"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == answer.usage
    for choice in answer.choices:
        own = [c.choices[0] for c in chunks[:-1] if c.choices[0].index == choice.index]
        assert "".join(chunk.text for chunk in own) == choice.text
        assert [chunk.finish_reason for chunk in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1].finish_reason == choice.finish_reason
        for chunk in own:
            assert choice_bytes(chunk).decode("utf-8", "replace") == chunk.text
        assert choice.logprobs is not None
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            joined = [value for chunk in own for value in getattr(chunk.logprobs, name)]
            assert joined == getattr(choice.logprobs, name)


def test_a_character_whose_bytes_are_split_between_prompt_and_completion(
    client: openai.OpenAI, model: ByteModel
) -> None:
    prompt = list("é".encode()[:1])
    [choice] = complete(client, prompt, echo=True).choices
    expected = bytes(prompt) + model.generate(bytes(prompt), max_new_bytes=40)
    assert choice.text == expected.decode("utf-8", "replace")
    assert choice_bytes(choice) == expected


@pytest.mark.parametrize("stream", [False, True])
def test_echo_scores_the_prompt(client: openai.OpenAI, model: ByteModel, stream: bool) -> None:
    options = {"max_tokens": 0, "echo": True, "logprobs": 2}
    answer = complete(client, "naïve prompt", **options, stream=stream)
    choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices
    assert "".join(choice.text for choice in choices) == "naïve prompt"
    assert choices[-1].finish_reason == "length"
    [scored] = [choice for choice in choices if choice.text]
    assert scored.logprobs is not None and scored.logprobs.token_logprobs is not None
    assert choice_bytes(scored) == "naïve prompt".encode()
    assert scored.logprobs.text_offset == [0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    entries = scored_prompt(model, "naïve prompt".encode(), alternatives=2)
    assert scored.logprobs.token_logprobs == pytest.approx([entry.logprob for entry in entries])
    assert scored.logprobs.top_logprobs is not None
    for top, entry in zip(scored.logprobs.top_logprobs, entries, strict=True):
        assert list(top.values())[:2] == pytest.approx([value for _, value in entry.alternatives])


def test_logprobs_of_new_bytes_are_those_of_the_same_bytes_echoed(client: openai.OpenAI) -> None:
    [made] = complete(client, "abc", temperature=1.3, seed=1, logprobs=3).choices
    exact = b"abc" + choice_bytes(made)
    [scored] = complete(client, list(exact), max_tokens=0, echo=True, logprobs=3).choices
    assert made.logprobs is not None and scored.logprobs is not None
    assert made.logprobs.token_logprobs == pytest.approx(
        scored.logprobs.token_logprobs[3:], abs=1e-3
    )
    for top, token in zip(made.logprobs.top_logprobs, made.logprobs.tokens, strict=True):
        assert 3 <= len(top) <= 4
        assert token in top


def test_eight_at_once_get_the_same_bytes_as_one_by_one(
    client: openai.OpenAI, model: ByteModel
) -> None:
    def ask(prompt: str) -> bytes:
        return choice_bytes(complete(client, prompt, max_tokens=150).choices[0])

    one_by_one = [ask(prompt) for prompt in PROMPTS]
    assert len(set(one_by_one)) > 4
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        for _ in range(3):
            together = list(pool.map(ask, PROMPTS))
            for prompt, alone, beside in zip(PROMPTS, one_by_one, together, strict=True):
                assert_same_greedy(model, prompt.encode(), alone, beside)


def test_errors_are_the_clients_own_types(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="temperature") as caught:
        complete(client, temperature=9)
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as too_long:
        complete(client, "p" * 5000)
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="other", prompt="a")
