"""``import proxylm as px``: every public name is there, cheap to import and explained."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys

import pytest

import proxylm as px

NAMES = sorted(set(px.__all__) - {"__version__"})


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_explained_and_shown(name: str) -> None:
    value = getattr(px, name)
    text = inspect.getdoc(value) or ""
    assert len(text.splitlines()) > 1, f"px.{name} says too little"
    finder = doctest.DocTestFinder(recurse=inspect.isclass(value))
    # Of a class the example may stand at one of its methods.
    assert any(test.examples for test in finder.find(value, name)), f"px.{name}: no example"


def test_names_are_listed() -> None:
    assert set(px.__all__) <= set(dir(px))


def test_what_is_not_there_is_said_like_python_says_it() -> None:
    with pytest.raises(AttributeError, match=r"module 'proxylm' has no attribute 'trian'"):
        px.trian  # noqa: B018


def test_importing_is_cheap() -> None:
    program = "import proxylm, sys; print({'torch', 'numpy', 'numba'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr
