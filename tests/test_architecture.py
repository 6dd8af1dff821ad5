"""What docs/architecture.md names exists, and no place that computes a block is missing there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "proxylm"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`([\w./]+\.py)::([\w.]+)`", PAGE)))


def names_in(path: Path) -> set[str]:
    """Classes, functions and methods (``Class.method``) of a file."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = [child for child in node.body if isinstance(child, ast.FunctionDef)]
            found |= {f"{node.name}.{method.name}" for method in methods}
    return found


@pytest.mark.parametrize(("file", "name"), NAMES, ids=map("::".join, NAMES))
def test_what_the_page_names_is_there(file: str, name: str) -> None:
    path = (ROOT if file.startswith("tests/") else PACKAGE) / file
    assert name in names_in(path)


def test_every_place_that_computes_a_block_is_on_the_page() -> None:
    named = {file for file, _ in NAMES}
    # The gated activation is what no other part of a model has.
    places = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bsilu\(", path.read_text(encoding="utf-8"))
    }
    # The halves of the training block are reached through ``block.py``.
    places.discard("models/kernels/training/feed_forward.py")
    assert "models/blocks.py" in places
    assert places <= named
