"""The routes, asked as the page asks, and as nobody should."""

from __future__ import annotations

import base64
import re

import pytest
from starlette.testclient import TestClient

from proxylm.inspector.app import create_app
from proxylm.inspector.guard import SECURITY_HEADERS
from proxylm.inspector.page_files import PAGE, page_files
from proxylm.inspector.requests import MAX_BODY_BYTES, MAX_TEXT_BYTES

HOME = "http://127.0.0.1:8001"
TEXT = base64.b64encode(b"def area(x):\n").decode()
OF_MODEL = {"model": "run", "read_as": "bytes", "text": TEXT}
QUESTIONS = {
    "views": {"text": TEXT, "reference": base64.b64encode(b"def are").decode()},
    "deletions": {"text": TEXT, "place": 3},
    "collisions": {"compressor": "gzip", "segment": TEXT},
    "read": OF_MODEL,
    "surprisal": OF_MODEL,
    "next": OF_MODEL,
    "exact-next": OF_MODEL | {"read_as": "tokens"},
    "continuation": OF_MODEL | {"num_bytes": 3},
    "drafts": OF_MODEL | {"num_bytes": 3, "drafter": "tree"},
    "context": {"store": "store", "mixture": "paper", "step": 0, "number": 0, "context": 32},
}


@pytest.fixture(scope="module")
def client(holdings):
    return TestClient(create_app(holdings), base_url=HOME)


def test_the_page_and_its_files_come_with_headers_that_allow_nothing_else(client):
    for path in ["/", *page_files()]:
        answer = client.get(path)
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert client.get("/").text == (PAGE / "index.html").read_text()
    for path in ("/../app.py", "/%2e%2e/app.py", "/page/index.html", "/LICENSE", "/api/no"):
        assert client.get(path).status_code == 404


def test_the_page_names_only_files_that_are_there_and_nothing_remote():
    known = page_files()
    for path in PAGE.iterdir():
        text = path.read_text()
        named = re.findall(r'(?:src|href)="(/[^"]+)"', text)
        named += ["/" + one for one in re.findall(r'from "\./([^"]+)"', text)]
        assert not [one for one in named if one not in known]
        remote = re.findall(r"(?:https?:)?//[\w.]+\.\w+", re.sub(r"(?m)^\s*//.*$", "", text))
        assert set(remote) <= {"http://www.w3.org"}, path
        # The policy allows neither.
        assert " style=" not in text and 'onclick="' not in text


def test_every_question_has_an_answer(client):
    held = client.get("/api/holdings").json()
    assert held["max_text_bytes"] == MAX_TEXT_BYTES
    for path, asked in QUESTIONS.items():
        answer = client.post(f"/api/{path}", json=asked, headers={"Origin": HOME})
        assert answer.status_code == 200, (path, answer.text)
    whole = QUESTIONS["context"] | {"model": "run"}
    assert client.post("/api/context", json=whole).json()["chunk"] == 4


def test_bytes_come_as_base64(client):
    written = client.post("/api/continuation", json=QUESTIONS["continuation"]).json()["bytes"]
    assert len(base64.urlsafe_b64decode(written)) <= 3


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:8001"}, 200),
        ({"Host": "LOCALHOST:9"}, 200),
        ({"Host": "[::1]:8001"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "rebound.example:8001"}, 403),
        ({"Host": "127.0.0.1.example"}, 403),
        ({"Host": "localhost.example:80"}, 403),
        ({"Host": "user@localhost"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "http://127.0.0.1:8001"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8002"}, 403),
        ({"Origin": "https://127.0.0.1:8001"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_only_this_machines_own_page_is_answered(client, headers, status):
    for answer in (
        client.get("/", headers=headers),
        client.get("/api/holdings", headers=headers),
        client.post("/api/views", json={"text": TEXT}, headers=headers),
    ):
        assert answer.status_code == status
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("path", "asked", "status", "message"),
    [
        ("views", {}, 422, "text: Field required"),
        ("views", {"text": "%%"}, 422, "text: "),
        ("views", {"text": [1]}, 422, "text: "),
        ("views", {"text": TEXT, "more": 1}, 422, "more: there is no such parameter"),
        ("views", {"text": "A" * (2 * MAX_TEXT_BYTES)}, 422, "text: Value should have at most"),
        ("views", {"text": "A" * MAX_BODY_BYTES}, 413, "the body is larger than"),
        ("next", OF_MODEL | {"model": "none"}, 400, "'none': there is none of that name"),
        ("next", OF_MODEL | {"read_as": "letters"}, 400, "must be one of bytes, tokens, mixed"),
        ("next", OF_MODEL | {"model": "bytes", "read_as": "tokens"}, 400, "raw bytes alone"),
        ("surprisal", OF_MODEL | {"text": ""}, 400, "empty"),
        ("continuation", OF_MODEL | {"num_bytes": 10**9}, 422, "num_bytes: "),
        ("continuation", OF_MODEL | {"num_bytes": 1.5}, 422, "num_bytes: "),
        ("drafts", QUESTIONS["drafts"] | {"drafter": "x"}, 400, "unknown drafter"),
        ("context", QUESTIONS["context"] | {"step": -1}, 422, "step: "),
        ("context", QUESTIONS["context"] | {"context": 10**6}, 422, "context: "),
        ("context", QUESTIONS["context"] | {"mixture": "x"}, 400, "mixture"),
    ],
)
def test_wrong_questions_are_one_clear_line(client, path, asked, status, message):
    answer = client.post(f"/api/{path}", json=asked)
    assert answer.status_code == status
    told = answer.json()["error"]["message"]
    assert message in told and "\n" not in told


def test_other_bodies_are_refused(client):
    kind = {"Content-Type": "text/plain"}
    assert client.post("/api/views", content=b"{}", headers=kind).status_code == 415
    kind = {"Content-Type": "application/json"}
    assert client.post("/api/views", content=b"{", headers=kind).status_code == 400
    assert client.get("/api/views").status_code == 405
