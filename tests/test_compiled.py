"""Kernels: they compile anywhere, and a change of anything they are made of renames their cache."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

import pytest
from numba.core import config

import proxylm
from proxylm.compressors.neural.coder import compiled as coder
from proxylm.data.packing import compiled as packing
from proxylm.generation.lookup import compiled as lookup
from proxylm.models.kernels.decoding import compiled as decoding

SOURCE = Path(proxylm.__file__).parent


def add(a, b):
    return a + b


def test_where_nothing_can_be_cached_kernels_still_compile():
    # A function that no file holds: numba finds no place for its cache.
    homeless = type(add)(add.__code__.replace(co_filename="<nowhere>"), {})
    assert packing.compiled(homeless)(2, 3) == 5


def test_numbas_own_settings_are_left_alone():
    before = config.CACHE_DIR
    assert packing.compiled(add)(2, 3) == 5
    assert before == config.CACHE_DIR


@cache
def defined(path: Path) -> dict[str, ast.stmt]:
    """What the names at the top of a module stand for."""
    found: dict[str, ast.stmt] = {}
    for statement in ast.parse(path.read_text()).body:
        match statement:
            case ast.ImportFrom(names=names):
                found |= {one.asname or one.name: statement for one in names}
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = statement
            case ast.Assign() | ast.AnnAssign():
                stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
                found |= {node.id: statement for node in stored if isinstance(node.ctx, ast.Store)}
    return found


def trace(path: Path, name: str, seen: set[tuple[Path, str]]) -> None:
    """Add where a name is defined, and all that its definition reads (no annotations)."""
    statement = defined(path).get(name)
    if statement is None or (path, name) in seen:
        return
    if isinstance(statement, ast.ImportFrom):
        module = SOURCE.parent / f"{(statement.module or '').replace('.', '/')}.py"
        if module.is_file():
            trace(module, name, seen)
        return
    seen.add((path, name))
    for part in getattr(statement, "body", [statement]):
        for node in ast.walk(part):
            if isinstance(node, ast.Name):
                trace(path, node.id, seen)


def kernels_of(group: str) -> list[tuple[Path, str]]:
    """The functions that a module's ``compiled`` and ``inlined`` decorate."""
    return [
        (path, name)
        for path in SOURCE.rglob("*.py")
        if ".compiled import" in path.read_text()
        for name, statement in defined(path).items()
        if isinstance(statement, ast.FunctionDef)
        for decorator in statement.decorator_list
        if isinstance(decorator, ast.Name) and decorator.id in ("compiled", "inlined")
        if getattr(defined(path).get(decorator.id), "module", None) == group
    ]


@pytest.mark.parametrize(
    "group", [coder, packing, lookup, decoding], ids=lambda group: group.__name__
)
def test_every_file_of_a_kernel_counts_in_the_caches_name(group):
    seen: set[tuple[Path, str]] = set()
    kernels = kernels_of(group.__name__)
    for path, name in kernels:
        trace(path, name, seen)
    assert len(kernels) >= 3
    folder = Path(group.__file__).parent
    needed = {os.path.relpath(path, folder) for path, _ in seen}
    assert needed <= set(group.KERNEL_FILES)
    assert all((folder / name).is_file() for name in group.KERNEL_FILES)
