"""What a shell is told when it completes a command: by the script that it sources itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROXYLM = Path(sys.executable).with_name("proxylm")


@pytest.fixture(scope="module")
def script() -> str:
    if shutil.which("bash") is None or not PROXYLM.exists():
        pytest.skip("needs bash and the installed command")
    asks = os.environ | {"_PROXYLM_COMPLETE": "source_bash"}  # as --show-completion does
    return subprocess.run(
        [str(PROXYLM)], capture_output=True, text=True, check=True, env=asks
    ).stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["proxylm", "byt"], ["byteify"]),
        (["proxylm", "train", "paper/late"], ["paper/late-raw-stage"]),
        (["proxylm", "recipe", "run", "figure4"], ["figure4"]),
        (["proxylm", "generate", "runs/x", "--prompt-end", "h"], ["heal"]),
    ],
)
def test_bash_completes(script: str, typed: list[str], offered: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in typed)
    asks = f"COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}\n_proxylm_completion {PROXYLM}\n"
    shows = 'printf "%s\\n" "${COMPREPLY[@]}"'
    environment = os.environ | {"PATH": f"{PROXYLM.parent}{os.pathsep}{os.environ['PATH']}"}
    found = subprocess.run(
        ["bash", "-c", script + asks + shows],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert found.stdout.splitlines() == offered
