"""examples/byteify_smollm2.sh from the model to the file for llama.cpp, on a small stand-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from foreign_models import written

SCRIPT = Path(__file__).parents[1] / "examples" / "byteify_smollm2.sh"


def test_it_can_be_run_by_its_name() -> None:
    subprocess.run(["sh", "-n", SCRIPT], check=True)
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.long
def test_it_runs_to_its_end_and_again(tmp_path: Path) -> None:
    model, text = tmp_path / "foreign", tmp_path / "text"
    written(model, "llama-tied")
    text.mkdir()
    for n in range(60):
        (text / f"{n}.py").write_text(f"def add_{n}(x):\n    return x + {n}\n" * 9)
    settings = {
        "MODEL": str(model),
        "TEXT": str(text),
        "SYMBOLS": "106_496",
        "BYTES": "500",
        "WORK": "work",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def measured() -> list[str]:
        command = ["sh", str(SCRIPT)]
        result = subprocess.run(
            command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        return re.findall(r"^total .*\d\.\d+", result.stdout, re.MULTILINE)

    first = measured()
    assert len(first) == 3  # the original as tokens, the byte model as bytes and mixed
    assert (tmp_path / "work" / "bytes.gguf").stat().st_size > 10_000
    assert measured() == first  # nothing is trained again
