"""The habits of the code that a tool can check: short functions, modules that say what they do."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

from proxylm.symbols import COMPRESSED_OFFSET

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MAX_FUNCTION_LINES = 80
SHORT_FUNCTION_LINES = 40


def functions(path: Path) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (node.end_lineno - node.lineno + 1, f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    ]


def test_no_function_is_long_and_nine_in_ten_are_short():
    sizes = [size for path in SOURCES for size in functions(path)]
    assert len(sizes) > 50, "the sources were not found"
    assert [name for lines, name in sizes if lines > MAX_FUNCTION_LINES] == []
    short = sum(lines < SHORT_FUNCTION_LINES for lines, _ in sizes)
    assert short >= 0.9 * len(sizes)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_tests_are_at_least_half_the_size_of_the_source():
    def lines(paths):
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)

    assert lines((ROOT / "tests").rglob("*.py")) >= 0.5 * lines(SOURCES)


def words_compared(path: Path) -> set[str]:
    """Fields of a configuration that a module compares with a word (``mixing.overflow == "x"``)."""
    return {
        left.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        for left, right in itertools.permutations([node.left, *node.comparators], 2)
        if isinstance(left, ast.Attribute)
        and isinstance(right, ast.Constant)
        and isinstance(right.value, str)
    }


def test_no_mode_is_told_by_its_word_in_two_modules():
    modules: dict[str, list[str]] = {}
    for path in SOURCES:
        for field in words_compared(path) - {"type"}:  # the type of a torch device is no mode
            modules.setdefault(field, []).append(str(path.relative_to(ROOT)))
    assert "overflow" in modules, "the comparisons were not found"
    assert {field: places for field, places in modules.items() if len(places) > 1} == {}


def test_the_bounds_of_the_symbol_layout_are_written_once():
    # 320, where compressed symbols start, is never spelled out (a preset's sizes apart).
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if path.name != "presets.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and type(node.value) is int
        and node.value in (COMPRESSED_OFFSET - 1, COMPRESSED_OFFSET)
    ]
    assert spelled == []
