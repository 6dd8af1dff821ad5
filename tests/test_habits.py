"""The habits of the code that a tool can check: short functions, modules that say what they do."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from proxylm.symbols import COMPRESSED_OFFSET

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MAX_FUNCTION_LINES = 80
SHORT_FUNCTION_LINES = 25


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


Function = ast.FunctionDef | ast.AsyncFunctionDef


def users_errors(trees: Iterable[ast.AST]) -> set[str]:
    """Names of the errors that a user can cause: ``ProxylmError`` and what derives from it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    names = {"ProxylmError"}
    while more := {name for name, above in bases.items() if above & names} - names:
        names |= more
    return names


def public_functions(tree: ast.AST, place: str = "") -> Iterator[tuple[str, Function, str]]:
    """Name, function and documentation; what makes an object is documented at its class."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node, f"{node.name}.")
        elif isinstance(node, Function):
            makes = isinstance(tree, ast.ClassDef) and node.name in ("__init__", "__post_init__")
            if makes or not node.name.startswith("_"):
                documented = [node, tree] if makes else [node]
                texts = [ast.get_docstring(each) or "" for each in documented]
                yield place + node.name, node, "\n".join(texts)


def raised_in(body: ast.AST) -> Iterator[str]:
    """Names of the exceptions that a function's own statements raise."""
    for node in ast.iter_child_nodes(body):
        if isinstance(node, ast.Raise):
            match node.exc:
                case ast.Call(func=ast.Name(id=name)) | ast.Name(id=name):
                    yield name
        if not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            yield from raised_in(node)


def test_public_functions_say_what_they_raise():
    # The command line's are told in its help, not in a section of a docstring.
    paths = [path for path in SOURCES if "cli" not in path.relative_to(ROOT).parts]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    errors = users_errors(trees.values())
    raising = {
        (str(path.relative_to(ROOT)), name): text
        for path, tree in trees.items()
        for name, node, text in public_functions(tree)
        if errors & set(raised_in(node))
    }
    assert len(raising) > 100, "the functions that raise were not found"
    silent = {place for place, text in raising.items() if "Raises:" not in text}
    assert silent == set()
