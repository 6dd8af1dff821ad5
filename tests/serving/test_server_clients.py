"""Clients that leave, that are slow, that are too many, and a server that is told to stop."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest
from running_server import RunningServer, running_server

KEY = "secret"
LONG = 90_000
PATIENCE_SECONDS = 2.0
RUNNING, WAITING = "proxylm_running_sequences", "proxylm_waiting_sequences"
CANCELLED = "proxylm_cancelled_sequences_total"
NEW_BYTES = "proxylm_new_bytes_total"


@pytest.fixture(scope="module")
def small_server(endless_run: Path) -> Iterator[RunningServer]:
    """Two rows, two places in the queue, little patience, and a key."""
    options = ["--max-rows", "2", "--max-queue", "2", "--max-length", "100000"]
    options += ["--client-seconds", str(PATIENCE_SECONDS), "--api-key", KEY]
    with running_server(endless_run, *options) as server:
        yield server


@pytest.fixture
def busy(small_server: RunningServer) -> Iterator[RunningServer]:
    """Nobody else is there, before and after."""
    small_server.wait_for_metric(RUNNING, 0)
    yield small_server
    small_server.wait_for_metric(RUNNING, 0)
    small_server.wait_for_metric(WAITING, 0)


def request_bytes(body: dict[str, object], *, key: str = KEY) -> bytes:
    content = json.dumps({"model": "endless", "temperature": 0} | body).encode()
    head = (
        "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def connect(server: RunningServer, **body: object) -> socket.socket:
    """Ask for something long; the caller holds the connection."""
    connection = socket.create_connection((server.host, server.port), timeout=30)
    connection.sendall(request_bytes({"max_tokens": LONG} | body))
    return connection


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    try:
        while piece := connection.recv(1 << 16):
            received += piece
    except ConnectionResetError:
        pass
    return received


def post(server: RunningServer, **body: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"}
    values = {"model": "endless", "temperature": 0, "max_tokens": 5} | body
    with server.client(headers=headers) as client:
        return client.post("/completions", json=values)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_vanishes_frees_its_rows(busy: RunningServer, stream: bool) -> None:
    cancelled = busy.metric(CANCELLED)
    connection = connect(busy, stream=stream, n=2)
    busy.wait_for_metric(RUNNING, 2)
    if stream:
        assert b"200 OK" in connection.recv(4096)
    connection.close()
    busy.wait_for_metric(CANCELLED, cancelled + 2)
    assert post(busy).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_vanishes_from_the_queue_is_forgotten(
    busy: RunningServer, stream: bool
) -> None:
    running = connect(busy, n=2)
    busy.wait_for_metric(RUNNING, 2)
    waiting = connect(busy, stream=stream)
    busy.wait_for_metric(WAITING, 1)
    waiting.close()
    busy.wait_for_metric(WAITING, 0)
    running.close()


def test_a_client_that_vanishes_while_its_prompt_is_scored_frees_its_row(
    busy: RunningServer,
) -> None:
    cancelled, written = busy.metric(CANCELLED), busy.metric(NEW_BYTES)
    connection = connect(busy, prompt="p" * LONG, max_tokens=5, echo=True, logprobs=0)
    busy.wait_for_metric(RUNNING, 1)
    connection.close()
    busy.wait_for_metric(CANCELLED, cancelled + 1)
    assert busy.metric(NEW_BYTES) == written, "it was not yet writing"


def test_beyond_rows_and_queue_the_answer_is_429_with_retry_after(busy: RunningServer) -> None:
    holders = [connect(busy, n=2)]
    busy.wait_for_metric(RUNNING, 2)
    holders.append(connect(busy, n=2))
    busy.wait_for_metric(WAITING, 2)
    refused = post(busy)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "overloaded"
    assert int(refused.headers["retry-after"]) >= 1
    for holder in holders:
        holder.close()
    busy.wait_for_metric(RUNNING, 0)
    assert post(busy).status_code == 200


def test_the_key_is_asked_for_under_v1_only(busy: RunningServer) -> None:
    for given in ("", "Bearer wrong", "Bearer", KEY, f"Basic {KEY}", f"Bearer {KEY}\xff"):
        headers = {"authorization": given.encode("latin-1")} if given else {}
        with busy.client(headers=headers) as client:
            answer = client.get("/models")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer "):
        with busy.client(headers={"authorization": f"{scheme} {KEY}"}) as client:
            assert client.get("/models").status_code == 200, scheme
    assert httpx.get(f"{busy.root}/healthz", trust_env=False).status_code == 200


def test_a_client_that_does_not_read_is_disconnected(busy: RunningServer) -> None:
    cancelled = busy.metric(CANCELLED)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((busy.host, busy.port))
    connection.sendall(request_bytes({"max_tokens": LONG, "stream": True, "logprobs": 5}))
    busy.wait_for_metric(RUNNING, 1)
    busy.wait_for_metric(CANCELLED, cancelled + 1, seconds=60)
    connection.settimeout(30)
    assert b"[DONE]" not in until_closed(connection)
    connection.close()


def test_clients_that_do_not_finish_asking_are_disconnected(busy: RunningServer) -> None:
    pieces = [b"", b"POST /v1/comp", request_bytes({"prompt": "a" * 100})[:-50]]
    connections = [socket.create_connection((busy.host, busy.port), timeout=30) for _ in pieces]
    for connection, sent in zip(connections, pieces, strict=True):
        connection.sendall(sent)
    assert [until_closed(connection) for connection in connections] == [b"", b"", b""]
    for connection in connections:
        connection.close()


def test_a_client_that_asks_drop_by_drop_is_disconnected(busy: RunningServer) -> None:
    start = time.monotonic()
    with socket.create_connection((busy.host, busy.port), timeout=30) as connection:
        with pytest.raises(OSError):
            while time.monotonic() < start + 60:
                connection.sendall(b"P")
                time.sleep(0.2)
        assert time.monotonic() < start + 60


def test_pipelined_requests_are_answered_in_order(busy: RunningServer) -> None:
    first = request_bytes({"max_tokens": 3, "prompt": "one"})
    with socket.create_connection((busy.host, busy.port), timeout=30) as connection:
        connection.sendall(first + request_bytes({"max_tokens": -1}))
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 2 or b"max_tokens" not in answers:
            answers += connection.recv(1 << 16)
    assert answers.index(b"HTTP/1.1 200") < answers.index(b"HTTP/1.1 422")


def test_the_first_sigterm_drains_and_the_second_ends_what_runs(endless_run: Path) -> None:
    with running_server(endless_run, "--max-length", "100000") as server:
        answers: list[httpx.Response] = []
        asking = Thread(target=lambda: answers.append(server.complete(max_tokens=700)))
        asking.start()
        streaming = connect(server, stream=True, max_tokens=700)
        whole, stream = connect(server), connect(server, stream=True)
        server.wait_for_metric(RUNNING, 4)
        server.signal()
        while httpx.get(f"{server.root}/healthz", trust_env=False).status_code != 503:
            time.sleep(0.02)
        refused = server.complete(max_tokens=1)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "draining"
        assert int(refused.headers["retry-after"]) >= 1
        asking.join()
        assert answers[0].status_code == 200
        assert answers[0].json()["usage"]["completion_tokens"] == 700
        events = b""
        while b"data: [DONE]" not in events:
            received = streaming.recv(1 << 16)
            assert received, events[-1000:]
            events += received
        streaming.close()
        assert b'"finish_reason": "length"' in events
        server.signal()
        assert_ended_with_an_error(server, whole, stream)


def test_what_does_not_end_in_time_is_ended(endless_run: Path) -> None:
    options = ["--max-length", "100000", "--drain-seconds", "0.3"]
    with running_server(endless_run, *options) as server:
        whole, stream = connect(server), connect(server, stream=True)
        server.wait_for_metric(RUNNING, 2)
        server.signal()
        assert_ended_with_an_error(server, whole, stream)


def assert_ended_with_an_error(
    server: RunningServer, whole: socket.socket, stream: socket.socket
) -> None:
    answer, events = until_closed(whole), until_closed(stream)
    whole.close()
    stream.close()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "stopped"
    assert b'"code": "stopped"' in events
    assert b"[DONE]" not in events
    assert server.wait() == 0
    assert server.stderr == ""
