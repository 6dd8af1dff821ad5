"""``proxylm serve`` used wrongly: one line, status 2. Running servers: ``tests/serving``."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest

from proxylm.cli.main import run as run_command
from proxylm.cli.serve import _announcement
from proxylm.serving.lifecycle import listen
from small_models import save_small_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    save_small_run(folder)
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-rows", "0"], "serve: --max-rows: "),
        (["--max-queue", "-1"], "serve: --max-queue: "),
        (["--max-length", "0"], "serve: --max-length: "),
        (["--client-seconds", "nan"], "serve: --client-seconds: "),
        (["--drain-seconds", "-1"], "serve: --drain-seconds: "),
        (["--api-key", ""], "--api-key"),
        (["--api-key", "key\n"], "--api-key"),
        (["--api-key", "schlüssel"], "--api-key"),
        (["--port", "99999"], "--port"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid, --port"),
        (["--device", "tpu"], "device"),
        (["--drafter", "forest"], "forest"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    run: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["serve", str(run), *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("key", ["", " ", " key", "key ", "k\x7fy", "ключ"])
def test_a_key_in_the_environment_that_is_none_starts_no_open_server(
    run: Path, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROXYLM_API_KEY", key)
    # Were the key taken or passed over, it would be the address that is refused.
    assert run_command(["serve", str(run), "--host", "no.such.host.invalid"]) == 2
    error = capsys.readouterr().err
    assert "PROXYLM_API_KEY: " in error
    assert error.count("\n") == 1


def test_a_port_that_is_taken_is_said_so(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run_command(["serve", str(run), "--port", port]) == 2
    assert f"--port {port}: Address already in use" in capsys.readouterr().err


def test_a_run_that_is_not_there_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["serve", str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err


def test_a_missing_package_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run_command(["serve", str(run)]) == 2
    assert "serve needs uvicorn: install it with pip install 'proxylm[serve]'" in (
        capsys.readouterr().err
    )


def test_it_listens_on_loopback_and_on_a_free_port() -> None:
    with listen("127.0.0.1", 0) as listening:
        host, port = listening.getsockname()
    assert host == "127.0.0.1"
    assert port > 0


@pytest.mark.parametrize(
    ("host", "has_key", "warned"),
    [("0.0.0.0", False, True), ("0.0.0.0", True, False), ("127.0.0.1", False, False)],
)
def test_an_open_address_without_a_key_is_warned_about(
    host: str, has_key: bool, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen(host, 0) as listening:
        port = listening.getsockname()[1]
        _announcement(listening, "mine", has_key=has_key, json=True)()
    output = capsys.readouterr()
    assert json.loads(output.out) == {"url": f"http://{host}:{port}/v1", "model": "mine"}
    assert ("can be reached from outside" in output.err) == warned
