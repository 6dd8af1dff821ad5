"""What a prompt's integers mean: the server says it, and lm-eval's client scores by it."""

from __future__ import annotations

import json

import httpx
import pytest
from running_server import RunningServer
from scored_prompts import scored_prompt

from proxylm.generation.byte_model import ByteModel

TEXTS = ["", "abc", "naïve \U0001f600", "<bos><raw>\0\u2028"]


def post(server: RunningServer, path: str, **values: object) -> httpx.Response:
    return httpx.post(f"{server.root}{path}", json=values, trust_env=False, timeout=60)


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_bytes_there_and_back(server: RunningServer, text: str) -> None:
    answer = post(server, "/tokenize", prompt=text, add_special_tokens=True).json()
    assert answer["tokens"] == list(text.encode())
    assert answer["count"] == len(text.encode())
    assert post(server, "/detokenize", tokens=answer["tokens"]).json() == {"prompt": text}


def test_there_are_no_special_tokens(server: RunningServer) -> None:
    info = httpx.get(f"{server.root}/tokenizer_info", trust_env=False).json()
    assert info["vocab_size"] == 256
    assert [info[f"{name}_token"] for name in ("bos", "eos", "pad", "unk")] == [None] * 4


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        ("/tokenize", {}, "prompt: Field required"),
        ("/tokenize", {"prompt": ["a"]}, "prompt: "),
        ("/tokenize", {"prompt": "a", "truncate": 3}, "truncate: there is no such parameter"),
        ("/detokenize", {"tokens": [97, 256]}, "tokens.1: "),
        ("/detokenize", {"tokens": [True]}, "tokens.0: "),
        ("/v1/completions", {"model": "small", "prompt": [161, 319]}, "ids of a tokenizer are not"),
    ],
)
def test_mistakes_are_named(
    server: RunningServer, path: str, values: dict[str, object], message: str
) -> None:
    answer = post(server, path, **values)
    assert answer.status_code == 422
    assert message in answer.json()["error"]["message"]


def test_streamed_events_are_whole_lines_for_every_client(server: RunningServer) -> None:
    prompt = "a\u2028b\u2029c\x85d\x0b\x0c\x1c\x1d\x1ee\r\nf"
    values = {"model": "small", "prompt": prompt, "echo": True, "max_tokens": 3, "stream": True}
    text = ""
    with server.client().stream("POST", "/completions", json=values) as answer:
        for line in filter(None, answer.iter_lines()):
            assert line.startswith("data: ")
            if line != "data: [DONE]":
                text += json.loads(line.removeprefix("data: "))["choices"][0]["text"]
    assert text.startswith(prompt)


def test_lm_evals_own_client_scores_and_generates(server: RunningServer, model: ByteModel) -> None:
    completions = pytest.importorskip(
        "lm_eval.models.openai_completions", reason="needs the extra 'lm-eval'"
    )
    from lm_eval.api.instance import Instance

    client = completions.LocalCompletionsAPI(base_url=f"{server.url}/completions", model="small")
    context, answer = "naïve", " détour"
    requests = [Instance("loglikelihood", {}, (context, answer), 0)]
    [(found, _)] = client.loglikelihood(requests, disable_tqdm=True)
    entries = scored_prompt(model, (context + answer).encode(), alternatives=0)
    entries = entries[len(context.encode()) :]
    assert found == pytest.approx(sum(entry.logprob for entry in entries), abs=1e-3)

    settings = {"until": ["never there"], "max_gen_toks": 12}
    [text] = client.generate_until(
        [Instance("generate_until", {}, (context, settings), 0)], disable_tqdm=True
    )
    expected = model.generate(context.encode(), max_new_bytes=12)
    assert text == expected.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("path", "values"), [("/tokenize", {"prompt": "a"}), ("/detokenize", {"tokens": [97]})]
)
def test_the_model_is_the_one_that_is_served(
    server: RunningServer, path: str, values: dict[str, object]
) -> None:
    assert post(server, path, model="small", **values).status_code == 200
    answer = post(server, path, model="another", **values)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
