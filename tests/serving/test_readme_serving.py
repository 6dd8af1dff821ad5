"""The README's server and client, word for word, on a port that is free here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from documents import blocks
from proxylm.serving.lifecycle import listen

SECTION = "Over HTTP"


def test_the_readmes_server_answers_its_client(endless_run: Path, tmp_path: Path) -> None:
    shutil.copytree(endless_run, tmp_path / "runs" / "mine")
    with listen("127.0.0.1", 0) as free:
        port = str(free.getsockname()[1])
    (command,) = blocks("README.md", "sh", section=SECTION)
    (program,) = blocks("README.md", "python", section=SECTION)
    assert "8000" in command and "8000" in program
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    server = subprocess.Popen(
        ["bash", "-c", "exec " + command.replace("8000", port)],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until_well(f"http://127.0.0.1:{port}/healthz", server)
        client = [sys.executable, "-c", program.replace("8000", port)]
        result = subprocess.run(client, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        assert result.stdout
    finally:
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=60)
    assert output == f"model 'mine' at http://127.0.0.1:{port}/v1\n"
    assert server.returncode == 0


def wait_until_well(url: str, server: subprocess.Popen[str]) -> None:
    for _ in range(900):
        assert server.poll() is None, "the server ended"
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")
