"""Requests that nobody should send, and some that one may: a function of (seed, number).

Each is a list of raw pieces for one connection, and whether the client waits for the answer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Pieces = list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzedRequest:
    """What goes over the wire.

    Attributes:
        kind: the sort of mischief, for counting.
        pieces: sent one after the other.
        reads: bytes of the answer that the client reads before it leaves; None: all.
    """

    kind: str
    pieces: Pieces
    reads: int | None


def fuzzed_request(seed: int, number: int, model: str) -> FuzzedRequest:
    """The request with that number."""
    draw = random.Random(f"{seed}/{number}")
    [kind] = draw.choices(list(KINDS), weights=[_WEIGHTS.get(kind, 1) for kind in KINDS])
    pieces = KINDS[kind](draw, model)
    reads = None
    if draw.random() < 0.15:
        reads = draw.choice([0, 0, 1, 100, 1000])
    return FuzzedRequest(kind=kind, pieces=pieces, reads=reads)


def _text(draw: random.Random) -> str:
    alphabet = ["a", "é", "\n", "\0", "日", "\U0001f600", '"', "\\", " ", "\u2028", "\ufffd"]
    return "".join(draw.choices(alphabet, k=draw.choice([0, 1, 3, 20, 200])))


def _number(draw: random.Random) -> Any:
    whole = [0, 1, 2, 3, 5, 255, 256, -1, 2**31, 2**63, -(2**63), 10**40]
    return draw.choice([*whole, 0.0, 0.5, 1.0, -0.5, 1e300, float("nan"), float("inf")])


def _anything(draw: random.Random, depth: int = 0) -> Any:
    makers: list[Callable[[], Any]] = [
        lambda: None,
        lambda: draw.random() < 0.5,
        lambda: _number(draw),
        lambda: _text(draw),
        lambda: [_anything(draw, depth + 1) for _ in range(draw.randrange(4))],
        lambda: {_text(draw): _anything(draw, depth + 1) for _ in range(draw.randrange(3))},
    ]
    return draw.choice(makers[: 4 if depth > 3 else 6])()


def _prompt(draw: random.Random) -> Any:
    one = [_text(draw), [draw.randrange(256) for _ in range(draw.randrange(1, 30))]]
    return draw.choice([*one, [_text(draw) for _ in range(draw.randrange(1, 4))], [one[1]]])


_PARAMETERS: dict[str, Callable[[random.Random], Any]] = {
    "max_tokens": lambda draw: draw.randrange(12),
    "temperature": lambda draw: draw.choice([0, 0.0, 0.7, 1, 2.0, 1e-300]),
    "top_p": lambda draw: draw.choice([1, 0.5, 1e-9, 0.999]),
    "n": lambda draw: draw.randrange(1, 4),
    "seed": lambda draw: draw.choice([0, -1, 2**63 - 1, -(2**63), None]),
    "stop": lambda draw: draw.choice(["a", ["b", "é"], "\n", [], None]),
    "logprobs": lambda draw: draw.choice([0, 1, 5, None]),
    "echo": lambda draw: draw.random() < 0.5,
    "stream": lambda draw: draw.random() < 0.5,
    "stream_options": lambda draw: draw.choice([None, {}, {"include_usage": True}]),
    "user": _text,
}


def _good(draw: random.Random, model: str) -> dict[str, Any]:
    chosen = draw.sample(sorted(_PARAMETERS), draw.randrange(len(_PARAMETERS)))
    values = {name: _PARAMETERS[name](draw) for name in chosen}
    return {"model": model, "prompt": _prompt(draw), "max_tokens": 4} | values


def _post(body: bytes, *headers: bytes, path: bytes = b"/v1/completions") -> bytes:
    lines = [
        b"POST " + path + b" HTTP/1.1",
        b"host: x",
        b"content-type: application/json",
        b"connection: close",
        b"content-length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _valid(draw: random.Random, model: str) -> Pieces:
    return [_post(json.dumps(_good(draw, model)).encode())]


def _wrong_parameter(draw: random.Random, model: str) -> Pieces:
    values = _good(draw, model)
    names = [*_PARAMETERS, "prompt", "model", "best_of", "suffix", "logit_bias", _text(draw)]
    for _ in range(draw.randrange(1, 4)):
        values[draw.choice(names)] = _anything(draw)
    return [_post(json.dumps(values).encode())]


def _other_json(draw: random.Random, model: str) -> Pieces:
    return [_post(json.dumps(_anything(draw)).encode())]


def _damaged_json(draw: random.Random, model: str) -> Pieces:
    body = bytearray(json.dumps(_good(draw, model)).encode())
    for _ in range(draw.randrange(1, 6)):
        place = draw.randrange(len(body))
        action = draw.randrange(3)
        if action == 0:
            body[place] = draw.randrange(256)
        elif action == 1:
            del body[place : place + draw.randrange(1, 9)]
        else:
            body[place:place] = draw.randbytes(draw.randrange(1, 9))
        body = body or bytearray(b"{")
    return [_post(bytes(body))]


def _nested(draw: random.Random, model: str) -> Pieces:
    depth = draw.choice([50, 500, 20_000])
    opening = draw.choice([b"[", b'{"a":'])
    return [_post(opening * depth)]


def _random_body(draw: random.Random, model: str) -> Pieces:
    return [_post(draw.randbytes(draw.randrange(300)))]


def _large(draw: random.Random, model: str) -> Pieces:
    text = "p" * draw.choice([3000, 5000, 70_000])
    values = _good(draw, model) | {"prompt": text, "max_tokens": 1}
    return [_post(json.dumps(values).encode())]


def _oversized(draw: random.Random, model: str) -> Pieces:
    length = draw.choice([b"4194305", b"99999999999", b"9" * 30])
    body = json.dumps(_good(draw, model)).encode()
    return [_post(body).replace(b"content-length: %d" % len(body), b"content-length: " + length)]


def _other_route(draw: random.Random, model: str) -> Pieces:
    paths = [b"/v1/models", b"/v1/models/x", b"/metrics", b"/healthz", b"/v1/chat/completions"]
    path = draw.choice([*paths, b"/", b"//", b"/%00", b"/v1/%ff%fe", b"/v1/completions?x=1", b"*"])
    method = draw.choice([b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"POST", b"X"])
    return [_post(b"{}", path=path).replace(b"POST", method, 1)]


def _odd_headers(draw: random.Random, model: str) -> Pieces:
    headers = [
        b"authorization: Bearer \xff\xfe",
        b"x-long: " + b"a" * draw.choice([10, 5000, 70_000]),
        b"content-type: text/plain",  # a second one
        b"transfer-encoding: chunked",
        b"expect: 100-continue",
        b"upgrade: websocket",
        b"connection: upgrade",
        b"content-length: -1",
        b"no colon",
        b": no name",
        b"x: \x00",
    ]
    body = json.dumps(_good(draw, model)).encode()
    return [_post(body, *draw.sample(headers, draw.randrange(1, 4)))]


def _other_content_type(draw: random.Random, model: str) -> Pieces:
    ours = b"content-type: application/json\r\n"
    given = [b"text/plain", b"multipart/form-data; boundary=x", b"application/jsonp", b"", b"\xff;"]
    line = draw.choice([b"content-type: %s\r\n" % one for one in given] + [b""])
    return [_valid(draw, model)[0].replace(ours, line, 1)]


def _chunked(draw: random.Random, model: str) -> Pieces:
    body = json.dumps(_good(draw, model)).encode()
    head = _post(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    pieces = [head]
    while body:
        count = draw.randrange(1, 60)
        pieces.append(b"%x\r\n%s\r\n" % (len(body[:count]), body[:count]))
        body = body[count:]
    return [*pieces, draw.choice([b"0\r\n\r\n", b"0\r\n\r\n", b"zz\r\n"])]


def _cut_off(draw: random.Random, model: str) -> Pieces:
    whole = _valid(draw, model)[0]
    return [whole[: draw.randrange(len(whole))]]


def _no_http(draw: random.Random, model: str) -> Pieces:
    return [draw.choice([draw.randbytes(draw.randrange(1, 400)), b"\x16\x03\x01\x00", b"\r\n" * 9])]


KINDS: dict[str, Callable[[random.Random, str], Pieces]] = {
    "valid": _valid,
    "wrong parameter": _wrong_parameter,
    "other JSON": _other_json,
    "damaged JSON": _damaged_json,
    "nested": _nested,
    "random body": _random_body,
    "large": _large,
    "oversized": _oversized,
    "other route": _other_route,
    "odd headers": _odd_headers,
    "content type": _other_content_type,
    "chunked": _chunked,
    "cut off": _cut_off,
    "no HTTP": _no_http,
}

_WEIGHTS = {"valid": 4, "wrong parameter": 3}
