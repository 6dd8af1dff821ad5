"""``proxylm inspect``: where it listens, how it ends, how it is used wrongly."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from proxylm.cli.main import run as run_command

COMMAND = [sys.executable, "-c", "from proxylm.cli.main import main; main()", "inspect"]


@pytest.mark.long
def test_the_page_is_answered_until_it_is_ended() -> None:
    process = subprocess.Popen(
        [*COMMAND, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().split()[0]
        assert url.startswith("http://127.0.0.1:")
        assert "proxylm" in httpx.get(url, trust_env=False).text
        held = httpx.get(f"{url}api/holdings", trust_env=False).json()
        assert held["compressors"][0]["name"] == "bytes"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read().startswith("nothing given: ")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-run"], "no-such-run: no such folder"),
        (["--compressor", "no-such"], "no-such: no such folder or file"),
        (["--store", "no-such"], "no-such"),
        (["--port", "99999"], "--port"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["inspect", *arguments, *([] if "--port" in arguments else ["--port", "0"])])
    output = capsys.readouterr()
    assert output.out == "" and message in output.err and output.err.count("\n") == 1


def test_a_port_that_is_taken_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run_command(["inspect", "--compressor", "gzip", "--port", port]) == 2
    assert f"--port {port}: Address already in use" in capsys.readouterr().err


def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert run_command(["inspect"]) == 2
    assert "inspect needs uvicorn: install it with pip install 'proxylm[inspect]'" in (
        capsys.readouterr().err
    )
