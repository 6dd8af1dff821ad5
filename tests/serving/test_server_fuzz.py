"""Thousands of bad requests to a running server: no crash, no hang, no 5xx but overload."""

from __future__ import annotations

import re
import socket
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fuzzed_requests import KINDS, FuzzedRequest, fuzzed_request
from running_server import RunningServer

SEED = 20261124
THREADS = 8
HANG_SECONDS = 60
OVERLOAD = {429, 503}


def statuses(server: RunningServer, request: FuzzedRequest) -> list[int]:
    """Of all answers in the connection; none where the client did not wait for one."""
    received = b""
    try:
        with socket.create_connection((server.host, server.port), HANG_SECONDS) as connection:
            for piece in request.pieces:
                connection.sendall(piece)
            if request.reads == 0:
                return []
            if request.kind in ("cut off", "no HTTP", "odd headers"):
                connection.shutdown(socket.SHUT_WR)  # nothing more comes
            while piece := connection.recv(1 << 16):
                received += piece
                if request.reads is not None and len(received) >= request.reads:
                    break
    except (ConnectionResetError, BrokenPipeError):
        pass  # the server may close on a client that it has answered
    return [int(status) for status in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", received)]


def fuzz(server: RunningServer, count: int) -> Counter[tuple[str, int]]:
    """Send so many; count (kind, status), with status 0 where no answer was waited for or given."""
    with ThreadPoolExecutor(THREADS) as pool:
        requests = [fuzzed_request(SEED, number, server.model) for number in range(count)]
        answers = pool.map(lambda request: statuses(server, request), requests)
        pairs = zip(requests, answers, strict=True)
        return Counter(
            (request.kind, status) for request, found in pairs for status in found or [0]
        )


def assert_well(server: RunningServer, before: httpx.Response) -> None:
    assert server.process.poll() is None, server.stderr
    server.wait_for_metric("proxylm_running_sequences", 0)
    server.wait_for_metric("proxylm_waiting_sequences", 0)
    after = server.complete(prompt="still well?", temperature=0)
    assert after.json()["choices"] == before.json()["choices"]
    assert "Traceback" not in server.stderr
    assert "decoding failed" not in server.stderr


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
)
def test_fuzzed_requests_do_no_harm(server: RunningServer, count: int) -> None:
    before = server.complete(prompt="still well?", temperature=0)
    found = fuzz(server, count)
    for (kind, status), number in sorted(found.items()):
        sys.stdout.write(f"{kind:16} {status:3} {number}\n")
    assert_well(server, before)
    total = Counter[int]()
    for (_, status), number in found.items():
        total[status] += number
    assert [status for status in total if status >= 500 and status not in OVERLOAD] == []
    assert {kind for kind, _ in found} == set(KINDS), "every kind was sent"
    assert {200, 400, 404, 405, 413, 415, 422} <= set(total), "every answer was provoked"
    assert {status for kind, status in found if kind == "content type"} <= {0, 415}
    assert all(found["valid", status] == 0 for status in range(400, 429))
