"""Statuses of a running server, for what goes wrong below and around the parameters."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest
from running_server import RunningServer

MEBIBYTE = 1 << 20


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error object, which every failure has in the same form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].count("\n") == 0
    return error


def post(server: RunningServer, body: bytes, **headers: str) -> httpx.Response:
    with server.client() as client:
        headers = {"content-type": "application/json"} | headers
        return client.post("/completions", content=body, headers=headers)


def exchange(server: RunningServer, *pieces: bytes) -> bytes:
    """Raw bytes there and back, until the server closes."""
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
        answer = b""
        while received := connection.recv(1 << 16):
            answer += received
        return answer


def test_malformed_json_is_400(server: RunningServer) -> None:
    assert error_of(post(server, b"{]"), 400)["code"] == "malformed_json"


def test_a_wrong_parameter_is_422(server: RunningServer) -> None:
    body = json.dumps({"model": server.model, "temperature": float("nan")}).encode()
    assert error_of(post(server, body), 422)["param"] == "temperature"


def test_an_oversized_body_is_413_with_and_without_its_length(server: RunningServer) -> None:
    body = b'{"prompt": "' + b"a" * (5 * MEBIBYTE) + b'"}'
    assert error_of(post(server, body), 413)["code"] == "body_too_large"
    with server.client() as client:
        chunked = client.post(
            "/completions",
            content=(body[i : i + MEBIBYTE] for i in range(0, len(body), MEBIBYTE)),
            headers={"content-type": "application/json"},
        )
    assert error_of(chunked, 413)["code"] == "body_too_large"


def test_an_absurd_length_is_413_before_anything_is_sent(server: RunningServer) -> None:
    head = (
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"connection: close\r\ncontent-length: %s\r\n\r\n"
    )
    for length in (b"99999999", b"9" * 19):
        assert exchange(server, head % length).startswith(b"HTTP/1.1 413 ")


def test_other_content_types_are_415(server: RunningServer) -> None:
    body = json.dumps({"model": server.model, "max_tokens": 1}).encode()
    for given in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert error_of(post(server, body, **{"content-type": given}), 415)["param"]
    fine = post(server, body, **{"content-type": "Application/JSON; charset=utf-8"})
    assert fine.status_code == 200


def test_unknown_paths_and_methods_have_the_same_form(server: RunningServer) -> None:
    with server.client() as client:
        error_of(client.get("/nowhere"), 404)
        error_of(client.get("/completions"), 405)
        error_of(client.delete("/models"), 405)
        assert client.head("/completions").status_code == 405


def test_what_is_no_http_is_400(server: RunningServer) -> None:
    answer = exchange(server, b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_broken_chunk_after_a_good_head_is_400(server: RunningServer) -> None:
    head = (
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    assert exchange(server, head, b"zz\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_broken_chunk_behind_an_answer_ends_the_connection(server: RunningServer) -> None:
    head = (
        b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(head)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 415 ")
        connection.sendall(b"zz\r\n")
        while received := connection.recv(1 << 16):
            assert b"HTTP/1.1" not in received
    assert "Traceback" not in server.stderr


def test_health_and_metrics_answer(server: RunningServer) -> None:
    before = server.metric('proxylm_requests_total{path="/v1/completions",status="200"}')
    assert server.complete(max_tokens=7, prompt="abc").status_code == 200
    after = server.metric('proxylm_requests_total{path="/v1/completions",status="200"}')
    assert after == before + 1
    assert server.metric("proxylm_forward_passes_total") > 0
    health = httpx.get(f"{server.root}/healthz", trust_env=False)
    assert (health.status_code, health.json()) == (200, {"status": "ok"})


def test_unknown_paths_do_not_become_labels(server: RunningServer) -> None:
    httpx.get(f"{server.root}/v1/secret-{'x' * 50}", trust_env=False)
    assert "secret" not in httpx.get(f"{server.root}/metrics", trust_env=False).text


@pytest.mark.parametrize("prompt", ["", [[]], None])
def test_the_empty_prompt_starts_a_document(server: RunningServer, prompt: Any) -> None:
    answer = server.complete(prompt=prompt, temperature=0, max_tokens=9).json()
    assert answer["usage"]["prompt_tokens"] == 0
    same = server.complete(temperature=0, max_tokens=9).json()
    assert answer["choices"] == same["choices"]
