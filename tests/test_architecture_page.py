"""docs/architecture.md names file and function of each part of the method, and they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
HEADING = "## Where each part of the method is"


def rows() -> list[tuple[str, str, str]]:
    """(part, file, name) for every name in the table; a row may give several names of a file."""
    section = PAGE.split(HEADING + "\n", 1)[1].split("\n## ", 1)[0]
    found = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not cells[1].startswith("`"):
            continue
        part, file, names = cells
        found += [(part, file.strip("`"), name) for name in re.findall(r"`([\w.]+)`", names)]
    return found


def defined_in(path: Path) -> set[str]:
    """Functions, classes, methods (``Class.method``) and constants of a module."""
    names: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    names.add(prefix + name)
                case ast.ClassDef(name=name, body=inside):
                    names.add(prefix + name)
                    visit(inside, f"{prefix}{name}.")
                case (
                    ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name))
                ):
                    names.add(prefix + name)

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return names


def test_the_table_is_there() -> None:
    assert len(rows()) > 30


@pytest.mark.parametrize(("part", "file", "name"), rows())
def test_a_part_of_the_method_is_where_the_page_says(part: str, file: str, name: str) -> None:
    path = ROOT / "src" / "proxylm" / file
    assert path.is_file(), f"{part}: no file {file}"
    assert name in defined_in(path), f"{part}: no {name} in {file}"
