"""The programs of docs/library.md and of the README's part on Python run as a reader types them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from documents import ROOT, blocks

PAGE = ROOT / "docs" / "library.md"


def printed(program: str, folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_page_is_one_program(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(programs) >= 6
    output = printed("\n".join(programs), tmp_path)
    assert "segments of" in output
    assert "<bos>" in output


def test_the_readmes_program(tmp_path: Path) -> None:
    (program,) = blocks("README.md", "python", section="In Python")
    output = printed(program, tmp_path)
    assert "<bos>" in output
    assert "bits per byte" in output
    assert not list(tmp_path.iterdir()), "nothing is written unless a folder is given"
