"""Chats by a template, structured output and ways to read, through OpenAI's client."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from socket import socket
from typing import Any

import openai
import pytest
from threaded_server import NAME, threaded_server

import proxylm
from foreign_models import written
from proxylm.cli.main import run as run_command
from proxylm.errors import DamagedFileError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.decoding import complete
from proxylm.generation.options import SymbolOptions
from proxylm.generation.token_reading import TokenReading
from proxylm.interchange.importing import import_model
from proxylm.interchange.source import SOURCE_FOLDER
from proxylm.serving import lifecycle
from proxylm.serving.chat_template import ChatTemplate, chat_template_of
from proxylm.serving.limits import ServingLimits

TEMPLATE = """{%- for message in messages %}
{%- if message.role not in ("system", "user", "assistant") %}
{{- raise_exception("no such role: " + message.role) }}
{%- endif %}
{{- bos_token + message.role[0] + ": " + message.content | trim + eos_token + "\\n" }}
{%- endfor %}
{%- if add_generation_prompt %}{{ "a: " }}{% endif %}"""
MESSAGES: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": " the "}, {"type": "text", "text": "é?"}],
    },
]
RENDERED = "s: Be brief.</s>\nu: the é?</s>\na: "


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat")
    written(folder / "foreign", "llama", scale=4.0)
    settings = {
        "chat_template": TEMPLATE,
        "eos_token": {"content": "</s>"},
        "bos_token": "<s>",
        "added_tokens_decoder": {"257": {"content": "</s>", "special": True}},
    }
    (folder / "foreign" / "tokenizer_config.json").write_text(json.dumps(settings))
    import_model(folder / "foreign", folder / "imported")
    return folder / "imported"


@pytest.fixture(scope="module")
def model(imported: Path) -> ByteModel:
    return proxylm.load(imported)


@pytest.fixture(scope="module")
def tokens(imported: Path, model: ByteModel) -> TokenReading:
    return TokenReading(model, proxylm.load_compressor(imported / "compressor"))


@pytest.fixture(scope="module")
def client(imported: Path, model: ByteModel, tokens: TokenReading) -> Iterator[openai.OpenAI]:
    others = [model.read_mixed(tokens.compressor).reading, tokens]
    template = chat_template_of(imported)
    with (
        threaded_server(model, other_readings=others, chat_template=template) as url,
        openai.OpenAI(base_url=url, api_key="any", max_retries=0) as opened,
    ):
        yield opened


def refusal(client: openai.OpenAI, **values: Any) -> openai.APIStatusError:
    asked: dict[str, Any] = {"model": NAME, "prompt": "the ", "max_tokens": 4, **values}
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/completions", body=asked, cast_to=dict[str, Any])
    assert "\n" not in caught.value.message
    return caught.value


def test_a_chat_is_the_completion_of_what_the_template_writes(
    client: openai.OpenAI, model: ByteModel
) -> None:
    answer = client.chat.completions.create(
        model=NAME, messages=MESSAGES, max_completion_tokens=40, seed=3, n=2, logprobs=True,
        top_logprobs=2,
    )  # fmt: skip
    expected = [
        completion.data.decode("utf-8", "replace")
        for completion in model.complete(
            [RENDERED.encode()] * 2,
            proxylm.generation.options.generation_options(
                max_new_bytes=40, temperature=1.0, seed=3, stop=(b"</s>",)
            ),
            samples=[0, 1],
        )
    ]
    assert [choice.message.content for choice in answer.choices] == expected
    assert answer.object == "chat.completion" and answer.choices[0].message.role == "assistant"
    assert answer.usage is not None and answer.usage.prompt_tokens == len(RENDERED.encode())
    assert answer.choices[0].logprobs is not None and answer.choices[0].logprobs.content
    spelled = bytes(
        value for one in answer.choices[0].logprobs.content for value in one.bytes or ()
    )
    assert spelled.decode("utf-8", "replace") == expected[0]
    first = answer.choices[0].logprobs.content[0]
    assert len(first.top_logprobs) == 2 and first.logprob < 0


def test_a_streamed_chat_has_the_same_text_and_begins_with_the_role(client: openai.OpenAI) -> None:
    asked: Any = {"model": NAME, "messages": MESSAGES, "max_tokens": 40, "seed": 3}
    whole = client.chat.completions.create(**asked)
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(said) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}


def test_stops_and_the_end_of_the_turn(client: openai.OpenAI) -> None:
    asked: Any = {"model": NAME, "messages": MESSAGES, "seed": 1, "max_tokens": 60}
    text = client.chat.completions.create(**asked).choices[0].message.content or ""
    letter = [character for character in text if "!" <= character <= "~"][1]
    stopped = client.chat.completions.create(**asked, stop=[letter]).choices[0]
    assert stopped.message.content == text[: text.index(letter)]
    assert stopped.finish_reason == "stop"
    ended = client.chat.completions.create(
        **asked, extra_body={"regex": "(yes|no)</s> and on"}
    ).choices[0]
    assert ended.message.content in ("yes", "no") and ended.finish_reason == "stop"


def test_what_a_chat_cannot_be(client: openai.OpenAI, model: ByteModel) -> None:
    with pytest.raises(openai.BadRequestError, match=r"refuses them .no such role: judge"):
        client.chat.completions.create(model=NAME, messages=[{"role": "judge", "content": "?"}])  # type: ignore[list-item,misc]
    with pytest.raises(openai.UnprocessableEntityError, match="parts of the type text"):
        picture: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]
        client.chat.completions.create(model=NAME, messages=picture)
    with pytest.raises(openai.BadRequestError, match="more than the 400 bytes"):
        client.chat.completions.create(
            model=NAME, messages=[{"role": "user", "content": "x" * 500}]
        )
    limits = ServingLimits(max_length_bytes=400)
    with (
        threaded_server(model, limits=limits) as url,
        openai.OpenAI(base_url=url, api_key="any", max_retries=0) as other,
        pytest.raises(openai.BadRequestError, match="has no chat template") as caught,
    ):
        other.chat.completions.create(model=NAME, messages=MESSAGES)
    assert caught.value.code == "no_chat_template"


def test_output_by_schema_by_regular_expression_and_by_grammar(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}},
        "required": ["n", "ok"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False},
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    answer = client.chat.completions.create(
        model=NAME, messages=MESSAGES, response_format=form, max_tokens=200, seed=2
    )
    found = json.loads(answer.choices[0].message.content or "")
    assert found.keys() == {"n", "ok"} and isinstance(found["ok"], bool)
    for field, value in (("regex", "[0-9]{3}-x"), ("grammar", 'start: /[0-9]{3}/ "-x"')):
        completion = client.completions.create(
            model=NAME, prompt="the ", max_tokens=20, extra_body={field: value}
        )
        assert re.fullmatch("[0-9]{3}-x", completion.choices[0].text)


def test_structures_that_are_none_are_refused_by_name(client: openai.OpenAI) -> None:
    assert refusal(client, regex="(").param == "regex"
    assert refusal(client, grammar="start: nothing").param == "grammar"
    bad = {"type": "json_schema", "json_schema": {"schema": {"type": "numeral"}}}
    assert refusal(client, response_format=bad).param == "response_format"
    assert (
        "json_schema goes with" in refusal(client, response_format={"type": "json_schema"}).message
    )
    assert "one of response_format" in refusal(client, regex="a", grammar="b").message


def test_each_request_says_how_its_prompt_is_read(
    client: openai.OpenAI, model: ByteModel, tokens: TokenReading
) -> None:
    prompt = "the thethe then the"
    for name in ("bytes", "mixed", "tokens"):
        for _ in range(2):
            answer = client.completions.create(
                model=NAME,
                prompt=prompt,
                max_tokens=12,
                temperature=0,
                extra_body={"read_as": name},
            )
            if name == "tokens":
                options = SymbolOptions(max_new_symbols=12)
                [expected] = tokens.complete([prompt.encode()], options, samples=[0])
                data = expected.data
            else:
                reader = model if name == "bytes" else model.read_mixed(tokens.compressor)
                data = reader.generate(prompt.encode(), max_new_bytes=12)
            assert answer.choices[0].text == data.decode("utf-8", "replace")
    assert "bytes or mixed or tokens" in refusal(client, read_as="view").message
    assert refusal(client, read_as="tokens", logprobs=1).param == "logprobs"
    assert refusal(client, read_as="tokens", regex="a").param == "regex"


def test_where_tokens_are_read_a_chat_has_the_special_ones(
    client: openai.OpenAI, imported: Path, tokens: TokenReading
) -> None:
    said = [{"role": "user", "content": "the"}]
    answer = client.chat.completions.create(
        model=NAME,
        messages=said,
        max_tokens=9,
        temperature=0,
        extra_body={"read_as": "tokens"},  # type: ignore[arg-type]
    )
    template = chat_template_of(imported)
    assert template is not None and template.specials == {b"</s>": 257}
    options = SymbolOptions(max_new_symbols=9, stop=(b"</s>",))
    prompt = template.render(said).encode()
    request = tokens.with_specials(prompt, template.specials, options)
    spelled = [tokens.compressor.decompress([request.prompt])[0]]
    assert spelled == [prompt] and request.prompt.tolist().count(257) == 1
    [expected] = complete(tokens.model.module, [request])
    assert answer.choices[0].message.content == expected.data.decode("utf-8", "replace")


def test_a_chat_has_the_room_that_what_is_read_leaves(
    client: openai.OpenAI, imported: Path, tokens: TokenReading
) -> None:
    said = [{"role": "user", "content": "the " * 120}]
    asked: Any = {"model": NAME, "messages": said, "temperature": 0}
    answer = client.chat.completions.create(**asked, extra_body={"read_as": "tokens"})
    template = chat_template_of(imported)
    assert template is not None
    options = SymbolOptions(stop=(b"</s>",))
    request = tokens.with_specials(template.render(said).encode(), template.specials, options)
    room = options.model_copy(update={"max_new_symbols": 400 - len(request.prompt)})
    [expected] = complete(tokens.model.module, [replace(request, options=room)])
    assert answer.choices[0].message.content == expected.data.decode("utf-8", "replace")
    with pytest.raises(openai.BadRequestError, match="more than the 400 bytes"):
        client.chat.completions.create(**asked, extra_body={"read_as": "bytes"})


@pytest.mark.parametrize(
    ("read_as", "names"),
    [("bytes", ["bytes", "mixed", "tokens"]), ("tokens", ["tokens", "bytes", "mixed"])],
)
def test_the_command_serves_all_that_an_import_brings(
    imported: Path, read_as: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: dict[str, Any] = {}

    def serve(model: ByteModel, listening: socket, **given: Any) -> None:
        listening.close()
        served.update(given)

    monkeypatch.setattr(lifecycle, "serve", serve)
    assert run_command(["serve", str(imported), "--port", "0", "--read-as", read_as]) == 0
    assert [one.name for one in (served["reading"], *served["other_readings"])] == names
    assert served["chat_template"].turn_end == "</s>"


def test_templates_that_are_none(tmp_path: Path) -> None:
    assert chat_template_of(tmp_path) is None
    with pytest.raises(DamagedFileError, match="no chat template"):
        ChatTemplate("{% if %}", turn_end=None, origin="here")


def test_settings_without_what_they_should_hold_are_told_of_in_one_line(
    imported: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(imported, tmp_path / "damaged")
    for settings in (
        [],
        {"chat_template": [{"template": "no name"}]},
        {"chat_template": "", "added_tokens_decoder": {"x": {"content": "<a>", "special": True}}},
    ):
        file = damaged / SOURCE_FOLDER / "tokenizer_config.json"
        file.write_text(json.dumps(settings), encoding="utf-8")
        with pytest.raises(DamagedFileError, match=r"tokenizer_config.json: cannot be read"):
            chat_template_of(damaged)
